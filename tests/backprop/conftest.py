"""The oracle of these tests: autograd's own gradients of the very same forward pass."""

import pytest
import torch

from gradlab.backprop import Tape


@pytest.fixture
def agree():
    """``agree(forward, *leaves)``: runs once, sweeps twice, compares every leaf, None included."""

    def compare(forward, *leaves, tolerance=1e-10):
        with Tape() as tape:
            loss = forward(*leaves)
        expected = torch.autograd.grad(loss, leaves, allow_unused=True)
        found = tape.backward(loss)
        for place, (leaf, theirs) in enumerate(zip(leaves, expected, strict=True)):
            ours = found.get(leaf)
            if theirs is None or ours is None:
                assert (theirs is None) == (ours is None), f"leaf {place}: autograd {theirs}, tape {ours}"
            else:
                assert ours.shape == theirs.shape
                assert ours.dtype == theirs.dtype
                torch.testing.assert_close(
                    ours,
                    theirs,
                    rtol=tolerance,
                    atol=tolerance,
                    equal_nan=True,
                    msg=lambda m, p=place: f"leaf {p}: {m}",
                )
        return found

    return compare


@pytest.fixture
def leaf():
    """``leaf(3, 4)``: a random float64 leaf."""
    generator = torch.Generator().manual_seed(0)

    def make(*shape, dtype=torch.float64):
        return torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()

    return make
