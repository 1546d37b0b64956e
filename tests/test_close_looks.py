"""``experiment=check`` and ``experiment=precision`` as people call them from the shell."""

import json
import sys

import pytest

from gradlab.cli import main

MINE = """
import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, g):
        return g


class Net(nn.Module):
    def __init__(self, wrong=False):
        super().__init__()
        self.fc, self.wrong = nn.Linear(3, 2), wrong

    def forward(self, x):
        return Clip.apply(self.fc(x)) if self.wrong else self.fc(x).clamp(-1, 1)


class Broken(Net):
    def forward(self, x):
        raise RuntimeError("not today")


class Step(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net(wrong=True)

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)


class Data(pl.LightningDataModule):
    def __init__(self, batch_size=64):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, 2 * x[:, :2]), batch_size=self.batch_size)
"""

CUSTOM = ["experiment=check", "data=custom", "data._target_=mine.Data", "data.batch_size=5", "model=custom"]


@pytest.fixture
def here(tmp_path, monkeypatch, quiet_lightning):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(MINE)
    sys.modules.pop("mine", None)
    return tmp_path


def summary_of(folder):
    (path,) = folder.rglob("summary.json")
    return path.parent, json.loads(path.read_text())


def test_a_right_model(here, capsys):
    assert main([*CUSTOM, "model._target_=mine.Net"]) == 0
    run, summary = summary_of(here)
    assert (summary["status"], summary["experiment"]) == ("agree", "check")
    assert summary["metrics"]["entries_numeric"] == 5 * 3 + 3 * 2 + 2
    assert run.parent == here / "runs" / "check"
    assert "ok (3 agree)" in capsys.readouterr().out
    assert json.loads((run / "report.json").read_text())["ok"] is True


@pytest.mark.parametrize("more", [[], ["loss=mse"]], ids=["projection", "mse"])
def test_a_wrong_function_exits_3_and_is_named(here, capsys, more):
    assert main([*CUSTOM, "model._target_=mine.Net", "+model.wrong=true", *more]) == 3
    run, summary = summary_of(here)
    assert summary["status"] == "disagree"
    assert {d["name"] for d in summary["disagreements"]} == {"x", "fc.weight", "fc.bias"}
    assert all("Clip" in d["blame"] and d["alone"] == "autograd" for d in summary["disagreements"])
    assert "the custom Function Clip" in capsys.readouterr().out
    assert "Clip" in (run / "report.html").read_text(encoding="utf-8")


def test_a_lightning_module_is_checked_by_its_training_step(here):
    assert main([*CUSTOM, "model._target_=mine.Step"]) == 3
    _, summary = summary_of(here)
    assert {d["name"] for d in summary["disagreements"]} == {"batch[0]", "net.fc.weight", "net.fc.bias"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model._target_=mine.Broken"], "forward pass failed with RuntimeError: not today"),
        (["model._target_=mine.Missing"], "cannot be imported"),
        (["model._target_=mine.Net", "check.witnesses=[numerical]"], "choose from autograd, manual, numeric"),
    ],
)
def test_bad_input_is_one_message(here, capsys, arguments, said):
    assert main([*CUSTOM, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_precision_draws_both_pictures(here, capsys):
    assert main(["experiment=precision", "precision.dtypes=[float16,float32]", "data.batch_size=8"]) == 0
    run, summary = summary_of(here)
    assert {p.name for p in run.iterdir()} >= {"precision.png", "precision.json", "v_curve.png", "v_curve.json"}
    # float32 has 24 bits: a few roundings of 2⁻²⁴ = 6e-8
    assert 1e-9 < summary["metrics"]["worst_relative_error_in_float32"] < 1e-5
    assert "float16" in capsys.readouterr().out


def test_an_unknown_dtype(here, capsys):
    assert main(["experiment=precision", "precision.dtypes=[float12]"]) == 2
    assert "no dtype 'float12'" in capsys.readouterr().err
