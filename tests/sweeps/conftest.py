"""A folder of one's own, with a model whose instances end in different ways."""

import sys
import warnings

import pytest

POINT = '''
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn


class Point(nn.Module):
    """A point that ends as it is told: well, by an error, by a kill, by Ctrl-C, or once a file `go` is there."""

    def __init__(self, end="well"):
        super().__init__()
        self.end = end
        self.theta = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
        self.calls = 0
        print(torch.get_num_threads(), "threads")

    def forward(self, x=None):
        self.calls += 1
        if self.calls == 2:
            {"fail": self.fail, "die": self.die, "stop": self.stop, "wait": self.wait}.get(self.end, lambda: None)()
        return self.theta * 1.0

    def fail(self):
        raise ZeroDivisionError("on purpose")

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def stop(self):
        if not Path("go").exists():
            raise KeyboardInterrupt

    def wait(self):
        while not Path("go").exists():
            time.sleep(0.05)
'''


@pytest.fixture
def here(tmp_path, monkeypatch, quiet_lightning):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    (tmp_path / "own_point.py").write_text(POINT)
    sys.modules.pop("own_point", None)
    return tmp_path


@pytest.fixture
def quiet_optuna():
    """Optuna 2 asks SQLAlchemy for something by an old name when it is first imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import optuna  # noqa: F401
