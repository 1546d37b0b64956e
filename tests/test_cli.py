"""The command line as people use it: exit codes, files, messages. Jobs are short, and run in this process."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import shipped
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gradlab.build import options
from gradlab.cli import main

BAD = """
import torch
from torch import nn

class WrongSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x * 1.9

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.a, self.b = nn.Linear(64, width), nn.Linear(width, 10)

    def forward(self, x):
        return self.b(WrongSquare.apply(self.a(x)))

class Log(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(64, 10)

    def forward(self, x):
        return self.a(x).log()

class RootAtZero(nn.Module):
    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([0.0, 1.0], dtype=torch.float64))

    def forward(self, x=None):
        return (self.theta * self.theta).sqrt() * 1.0
"""


@pytest.fixture
def here(tmp_path, monkeypatch, quiet_lightning):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    (tmp_path / "user_net.py").write_text(BAD)
    sys.modules.pop("user_net", None)
    return tmp_path


def summaries(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("summary.json"))]


def run_of(folder):
    (summary,) = folder.rglob("summary.json")
    return summary.parent, json.loads(summary.read_text())


def scalars(run):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def test_bare_run_is_the_main_job(here, capsys):
    assert main(["trainer.max_steps=12"]) == 0
    run, summary = run_of(here)
    assert run.parent == here / "runs" / "backprop"
    assert (summary["status"], summary["exit_code"], summary["experiment"]) == ("agree", 0, "backprop")
    assert summary["metrics"]["steps_compared"] == 12
    # 64·32 + 32 + 32·16 + 16 + 16·10 + 10 weights and biases, at each of 12 steps
    assert summary["metrics"]["partials_compared"] == 12 * 2778
    assert {"final.pt", "overview.png", "summary.json"} <= {p.name for p in run.iterdir()}
    out = capsys.readouterr().out
    assert f"tensorboard --logdir {run}" in out
    assert "…" not in out.split("gradlab: backprop")[1]
    (events,) = run.glob("events.out.tfevents.*")
    tags = scalars(run).Tags()
    assert "loss/train" in tags["scalars"]
    for tag in ("gradient/0.weight/l2", "chain/2/gain", "agreement/4.bias/log10_error", "partial/4.bias[3]"):
        assert tag in tags["scalars"], tag
    assert sum(t.startswith("partial/0.weight[") for t in tags["scalars"]) == 8
    assert "gradient/0.weight/histogram" in tags["tensors"]
    assert any(t.startswith("chain/table") for t in tags["tensors"])


def test_choosing_parts_inherits_nothing(here):
    arguments = ["loss=rosenbrock", "model=point", "optimizer=adam", "data=none", "trainer.max_steps=5"]
    assert main(arguments) == 0
    run, summary = run_of(here)
    assert run.parent.name == "free"
    assert (run / "contour.png").exists()
    assert summary["metrics"]["distance"] > 0


def test_a_users_function_with_a_wrong_backward_is_named(here, capsys):
    code = main(["model=custom", "model._target_=user_net.Net", "+model.width=3", "trainer.max_steps=3"])
    assert code == 3
    _, summary = run_of(here)
    first = summary["disagreements"][0]
    assert first["function"] == "WrongSquare"
    assert (first["parameter"], first["step"]) == ("a.bias", 0) or first["parameter"] == "a.weight"
    assert first["autograd"] == pytest.approx(0.95 * first["manual"], rel=1e-4)
    out = capsys.readouterr().out
    assert "WrongSquare" in out
    assert "DISAGREE in 3 of 3" in out


def test_probes_none_compares_nothing_and_exits_0(here):
    assert main(["probes=none", "trainer.max_steps=3"]) == 0
    run, summary = run_of(here)
    assert summary["status"] == "not compared"
    assert len(scalars(run).Scalars("loss/train")) == 3
    assert not list(run.glob("*.png"))


def final_state(here, arguments):
    before = set(here.rglob("final.pt"))
    assert main(arguments) == 0
    (path,) = set(here.rglob("final.pt")) - before
    losses = [event.value for event in scalars(path.parent).Scalars("loss/train")]
    return torch.load(path), losses


def is_single_run(experiment):
    return not {"check", "precision", "study"} & set(shipped.load("experiment", experiment))


@pytest.mark.parametrize("experiment", [name for name in options("experiment") if is_single_run(name)])
def test_observing_changes_nothing(here, experiment):
    arguments = [f"experiment={experiment}", "trainer.max_steps=15"]
    watched, losses = final_state(here, arguments)
    alone, losses_alone = final_state(here, [*arguments, "probes=none"])
    assert losses == losses_alone
    assert watched.keys() == alone.keys()
    for name in watched:
        assert torch.equal(watched[name], alone[name]), name


@pytest.mark.parametrize(
    "more",
    [
        ["optimizer=lbfgs"],
        ["model=convnet"],
        ["model=transformer", "data=characters", "model.dropout=0.1"],
        ["model=recurrent", "data=characters"],
        ["trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=0.1"],
    ],
)
def test_observing_changes_nothing_in_unusual_runs(here, more):
    arguments = ["trainer.max_steps=4", *more]
    watched, losses = final_state(here, arguments)
    alone, losses_alone = final_state(here, [*arguments, "probes=none"])
    assert losses == losses_alone
    assert all(torch.equal(watched[name], alone[name]) for name in watched)


def test_every_closure_of_lbfgs_is_compared(here):
    assert main(["experiment=himmelblau", "optimizer=lbfgs", "trainer.max_steps=3", "loss=rosenbrock"]) == 0
    _, summary = run_of(here)
    assert summary["metrics"]["steps_compared"] == 3
    assert summary["metrics"]["partials_compared"] > 2 * 3


def test_a_nan_loss_stops_the_run_and_says_where(here, capsys):
    assert main(["model=custom", "model._target_=user_net.Log", "trainer.max_steps=9"]) == 4
    run, summary = run_of(here)
    assert summary["status"] == "non-finite"
    assert "at step 0: first made by log in Log" in summary["reason"]
    assert not (run / "final.pt").exists()


def test_a_nan_gradient_stops_the_run_and_says_where(here):
    arguments = ["loss=quadratic", "model=custom", "model._target_=user_net.RootAtZero", "data=none"]
    assert main([*arguments, "trainer.max_steps=9"]) == 4
    _, summary = run_of(here)
    assert "gradient of model.theta" in summary["reason"]
    assert "sqrt" in summary["reason"]


def test_a_loss_of_ones_own_on_a_point_is_evaluated(here):
    (here / "user_net.py").write_text(
        "import torch\nclass Bowl(torch.nn.Module):\n    forward = lambda s, p, y: p @ p\n"
    )
    own = ["loss=custom", "loss._target_=user_net.Bowl", "model=point", "model.start=[3,4]", "data=none"]
    assert main([*own, "optimizer=sgd", "optimizer.lr=0.25", "trainer.max_steps=2", "probes=none"]) == 0
    _, summary = run_of(here)
    assert summary["metrics"]["loss"] == 25 / 16  # each step halves the point: θ − ¼ · 2θ


def test_divergence_can_be_expected(here):
    arguments = ["loss=rosenbrock", "model=point", "optimizer=sgd", "optimizer.lr=1", "data=none"]
    assert main(arguments) == 4
    assert main([*arguments, "expect=diverge"]) == 0


MESSAGES = {
    "unknown option": (["optimizer=foo"], ["optimizer/foo", "adam", "lbfgs"]),
    "misspelt key": (["optimizer.lrr=1"], ["optimizer.lrr", "Did you mean optimizer.lr?"]),
    "misspelt group": (["los=mse"], ["los", "Did you mean loss?"]),
    "negative learning rate": (["optimizer.lr=-1"], ["optimizer", "learning rate", "-1"]),
    "negative batch size": (["data.batch_size=-4"], ["data.batch_size", "-4", "from 1"]),
    "float targets": (["loss=cross_entropy", "data=diabetes"], ["class numbers", "float32", "loss=mse"]),
    "point with data": (["loss=quadratic", "model=point", "data=digits"], ["model=point", "data=none"]),
    "wrong dimension": (["loss=himmelblau", "loss.dimension=3", "model=point", "data=none"], ["dimension 2 only"]),
    "no folder": (["hydra.run.dir=/proc/nowhere/run"], ["/proc/nowhere", "hydra.run.dir"]),
    "no import": (["model=custom", "model._target_=nowhere.Net"], ["nowhere.Net", "cannot be imported"]),
    "no target": (["model=custom"], ["model._target_="]),
    "network without data": (["model=mlp", "data=none"], ["data.features", "digits"]),
    "features without features": (["model=mlp", "data=characters"], ["data.features", "digits", "transformer"]),
    "text network without text": (["model=transformer"], ["data.vocabulary", "characters"]),
    "no text": (["model=recurrent", "data=characters", "data.path=nowhere.txt"], ["data.path=nowhere.txt"]),
    "parentheses": (["experiment=derivative", "study.kink=Max(x, 0)"], ["quotes", "'study.kink=\"Max(x, 0)\"'"]),
    "seed": (["seed=-1"], ["seed=-1"]),
    "no end": (["loss=quadratic", "model=point", "data=none", "trainer.max_steps=-1"], ["trainer.max_steps"]),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_bad_input_gets_one_clear_message(here, capsys, case):
    arguments, words = MESSAGES[case]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert "config search path" not in error.lower()
    for word in words:
        assert word in error, error
    assert all(s["exit_code"] == 2 for s in summaries(here))
    assert not list(here.rglob("final.pt"))


def test_traceback_only_when_asked_for(here, capsys, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert main(["optimizer.lr=-1"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_the_environment_is_as_before(here, capsys):
    assert main(["optimizer.lr=-1"]) == 2
    assert "HYDRA_FULL_ERROR" not in os.environ
    assert main(["optimizer.lr=-1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_sweep_runs_all_jobs_and_exits_with_the_first_failure(here, capsys):
    code = main(
        ["-m", "loss=cross_entropy,quadratic", "optimizer=sgd,adam", "trainer.max_steps=2", "probes=[agreement]"]
    )
    assert code == 2
    found = summaries(here)
    assert sorted(s["status"] for s in found) == ["agree", "agree", "bad input", "bad input"]
    folders = {path.parent.name for path in here.rglob("summary.json")}
    assert "loss=cross_entropy,optimizer=sgd" in folders
    assert "sweep: 4 jobs" in capsys.readouterr().out


def test_same_seed_same_numbers(here):
    state, losses = final_state(here, ["trainer.max_steps=5", "seed=3", "probes=none"])
    again, losses_again = final_state(here, ["trainer.max_steps=5", "seed=3", "probes=none"])
    other, losses_other = final_state(here, ["trainer.max_steps=5", "seed=4", "probes=none"])
    assert losses == losses_again
    assert losses != losses_other
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_ctrl_c_ends_cleanly_with_everything_flushed(here):
    command = [sys.executable, "-m", "gradlab", "trainer.max_steps=1000000", "trainer.enable_progress_bar=false"]
    process = subprocess.Popen(command, cwd=here, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 120
    while not list(here.rglob("events.out.tfevents.*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    run, summary = run_of(here)
    assert summary["status"] == "interrupted"
    losses = scalars(run).Scalars("loss/train")
    assert losses[-1].step >= 10
    assert [event.step for event in losses] == list(range(len(losses)))
    assert all(math.isfinite(event.value) for event in losses)
