"""What every test shares: one thread (toy tensors are fastest so, and helpers do not fight for cores)."""

import warnings

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def quiet_lightning():
    """Lets Lightning's own deprecations pass: they are about its code, not ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        yield
