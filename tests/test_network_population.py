"""Runs of many networks at once: each member is the single run of its own seed and settings, to rounding."""

import json
import re

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from shipped import load
from torch import nn

from gradlab.backprop import Tape
from gradlab.build import options
from gradlab.callbacks import finite_members
from gradlab.cli import main
from gradlab.descent import DescentModule
from gradlab.evaluate import evaluate
from gradlab.loading import load as load_run
from gradlab.losses import Bce, CrossEntropy, Huber, Mse
from gradlab.models import Mlp, Population
from gradlab.optimizers import Adagrad, Adam, AdamW, Momentum, Nesterov, Rmsprop, Sgd
from gradlab.probes.dead_units import dead_units

TOGETHER = {"lbfgs", "newton", "gauss_newton", "custom"}
P = 3
X = torch.randn(3, 16, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)  # three batches
Y = torch.randint(0, 3, (3, 16), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def here(tmp_path, monkeypatch, quiet_lightning):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- one way for all ---------------------------------------------------------------------------------------------


def networks(count=P, hidden=(6, 5), outputs=3):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(Mlp(4, hidden, outputs).double())
    return made


def trained(model, loss, make, steps=40):
    """A plain loop over gradlab's own training step."""
    module = DescentModule(model, loss, make)
    optimizer = module.configure_optimizers()
    for step in range(steps):
        optimizer.zero_grad()
        module.training_step((X[step % 3], Y[step % 3]), step).backward()
        optimizer.step()
    return model.state_dict()


def by_torch(model, loss, make, steps=40):
    """A loop of PyTorch's alone: what gradlab has no part in."""
    optimizer = make(model.parameters())
    for step in range(steps):
        optimizer.zero_grad()
        loss(model(X[step % 3]), Y[step % 3]).backward()
        optimizer.step()
    return model.state_dict()


def assert_same_states(together, alone):
    # Products of stacked matrices sum in another order: 1e-16 a step, which 40 steps of training may carry on and an
    # optimizer that divides by the gradient's size may raise. It stays far below what any coupling would do.
    for name, rows in together.items():
        torch.testing.assert_close(rows, torch.stack([state[name] for state in alone]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("option", sorted(set(options("optimizer")) - TOGETHER))
def test_each_member_goes_the_way_of_a_single_network(option):
    make, loss = instantiate(load("optimizer", option)), CrossEntropy()
    together = trained(Population(networks()), loss, make)
    alone = [by_torch(network, loss, make) for network in networks()]
    assert_same_states(together, alone)
    assert not together["0.weight"][0].allclose(networks()[0].state_dict()["0.weight"], atol=1e-3)


@pytest.mark.parametrize("loss", [CrossEntropy(label_smoothing=0.1), Mse(), Huber(delta=0.3), Bce()])
def test_with_every_loss(loss):
    def make(parameters):
        return torch.optim.Adam(parameters, lr=0.01)

    assert_same_states(trained(Population(networks()), loss, make), [by_torch(n, loss, make) for n in networks()])


@pytest.mark.parametrize(
    ("rule", "several"),
    [
        (Sgd, {"lr": [1e-3, 0.01, 0.1], "weight_decay": [0.0, 0.1, 0.2]}),
        (Momentum, {"lr": [1e-3, 0.01, 0.1], "momentum": [0.0, 0.5, 0.9]}),
        (Nesterov, {"lr": [1e-3, 0.01, 0.1], "momentum": [0.0, 0.5, 0.9]}),
        (Adagrad, {"lr": [1e-3, 0.01, 0.1]}),
        (Rmsprop, {"lr": [1e-3, 2e-3, 5e-3], "alpha": [0.9, 0.99, 0.999]}),
        (Adam, {"lr": [1e-3, 0.01, 0.1], "eps": [1e-8, 1e-4, 1e-2]}),
        (AdamW, {"lr": [1e-3, 0.01, 0.1], "weight_decay": [0.0, 0.1, 0.2]}),
    ],
)
def test_each_member_has_settings_of_its_own(rule, several):
    loss = CrossEntropy()
    together = trained(Population(networks()), loss, lambda p: rule(p, **several))
    alone = []
    for member, network in enumerate(networks()):
        own = {key: values[member] for key, values in several.items()}
        alone.append(by_torch(network, loss, lambda p, own=own: rule(p, **own)))
    assert_same_states(together, alone)


def test_what_mixes_the_members_would_not_pass():
    """The comparison sees an optimizer that looks at all rows, and a loss that adds a trace of the others'."""

    class ByTheNorm(Sgd):
        def update(self, p, g, memory, group):
            super().update(p, g / (1 + 1e-6 * g.norm()), memory, group)

    class Mixed(DescentModule):
        def losses(self, prediction, target):
            return super().losses(prediction + 1e-6 * prediction.mean(0, keepdim=True), target)

    alone = [by_torch(network, CrossEntropy(), lambda p: Sgd(p, lr=0.1)) for network in networks()]
    with pytest.raises(AssertionError):
        assert_same_states(trained(Population(networks()), CrossEntropy(), lambda p: ByTheNorm(p, lr=0.1)), alone)
    population = Population(networks())
    module = Mixed(population, CrossEntropy(), lambda p: Sgd(p, lr=0.1))
    optimizer = module.configure_optimizers()
    for step in range(40):
        optimizer.zero_grad()
        module.training_step((X[step % 3], Y[step % 3]), step).backward()
        optimizer.step()
    with pytest.raises(AssertionError):
        assert_same_states(population.state_dict(), alone)


def test_the_sweep_is_independent_of_the_other_members():
    """The handwritten gradient of one member is bit for bit the same beside others with other numbers."""
    rows = []
    for others in (networks(), [networks()[0], *networks(5)[3:]]):
        population = Population(others)
        with Tape() as tape:
            loss = torch.func.vmap(CrossEntropy(), (0, None))(population(X[0]), Y[0]).sum()
        rows.append({name: g[0] for name, g in tape.backward(loss).named(population).items()})
    assert all(rows[0][name].equal(rows[1][name]) for name in rows[0])


# --- whole runs --------------------------------------------------------------------------------------------------

QUIET = ["trainer.precision=64-true", "trainer.enable_progress_bar=false", "probes=none"]
RUN = ["trainer.precision=64-true", "trainer.enable_progress_bar=false", "trainer.max_steps=12", "model.hidden=[6]"]


def run(folder, *overrides):
    """The summary and the folder of a run, by the command line."""
    before = set(folder.rglob("summary.json"))
    assert main([*RUN, *overrides]) == 0
    (path,) = set(folder.rglob("summary.json")) - before
    return json.loads(path.read_text()), path.parent


def scalars(folder):
    """Every curve of the loss: steps and values by tag."""
    return load_run(folder).memory().scalars("loss/")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A population of three with all probes, and the three single runs."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        together = run(folder, "seed=5", "model.population=3")
        alone = [run(folder, f"seed={5 + i}", "data.seed=5", "probes=none") for i in range(P)]
    return together, alone


def test_a_run_is_reconciled_at_every_step(runs):
    (summary, _), alone = runs
    assert summary["status"] == "agree"
    assert summary["metrics"]["parameters"] == P * alone[0][0]["metrics"]["parameters"]
    assert summary["metrics"]["partials_compared"] == 12 * summary["metrics"]["parameters"]


def test_its_end_is_that_of_the_single_runs(runs):
    (_, folder), alone = runs
    together = torch.load(folder / "final.pt")
    assert_same_states(together, [torch.load(path / "final.pt") for _, path in alone])


def test_its_metrics_are_medians_and_the_best(runs):
    (summary, _), alone = runs
    metrics, each = summary["metrics"], [single["metrics"] for single, _ in alone]
    for name in ("loss", "test_loss", "accuracy"):
        assert metrics[name] == pytest.approx(np.median([one[name] for one in each]), rel=1e-9)
    tests = [one["test_loss"] for one in each]
    assert metrics["best_test_loss"] == pytest.approx(min(tests), rel=1e-9)
    assert metrics["best_member"] == np.argmin(tests)
    assert (metrics["members"], metrics["diverged"]) == (3, 0)


def test_every_member_has_a_curve(runs):
    (_, folder), alone = runs
    curves = scalars(folder)
    singles = [scalars(path)["loss/train"] for _, path in alone]
    assert set(curves) == {"loss/train", "loss/median", "loss/member/0", "loss/member/1", "loss/member/2"}
    for member, (steps, values) in enumerate(singles):
        found = curves[f"loss/member/{member}"]
        assert found[0].tolist() == steps.tolist() == list(range(12))
        # events hold single precision
        np.testing.assert_allclose(found[1], values, rtol=1e-6)
    np.testing.assert_allclose(curves["loss/median"][1], np.median([v for _, v in singles], axis=0), rtol=1e-6)
    np.testing.assert_allclose(curves["loss/train"][1], np.sum([v for _, v in singles], axis=0), rtol=1e-6)


def test_several_batches_a_step_are_one_loss(here):
    settings = ["probes=none", "trainer.accumulate_grad_batches=2", "trainer.max_steps=5"]
    _, together = run(here, "model.population=2", *settings)
    curves = scalars(together)
    assert set(curves["loss/train"][0]) == set(range(5))
    for member in range(2):
        _, alone = run(here, f"seed={member}", "data.seed=0", *settings)
        np.testing.assert_allclose(curves[f"loss/member/{member}"][1], scalars(alone)["loss/train"][1], rtol=1e-6)


def test_many_members_have_a_median_alone(here):
    summary, folder = run(here, "model.population=250", "probes=none", "model.hidden=[]", "trainer.max_steps=7")
    curves = scalars(folder)
    assert set(curves) == {"loss/train", "loss/median"}
    assert curves["loss/median"][0].tolist() == [0, 2, 4, 6]  # every (250 / 100)-th step
    assert curves["loss/median"][1][-1] == pytest.approx(summary["metrics"]["loss"], rel=1e-6)


def test_the_progress_bar_shows_the_mean(here, capsys):
    _, folder = run(here, "model.population=2", "probes=none", "trainer.enable_progress_bar=true")
    shown = float(re.findall(r"12/12 mean loss ([\d.]+)", capsys.readouterr().out)[-1])
    assert shown == pytest.approx(scalars(folder)["loss/train"][1][-1] / 2, rel=1e-3)


def test_members_of_single_numbers_are_looked_at_too():
    module = nn.Module()
    module.scale = nn.Parameter(torch.tensor([1.0, float("nan"), 2.0]))
    module.bias = nn.Parameter(torch.tensor([[1.0], [1.0], [float("inf")]]))
    assert finite_members(module).tolist() == [True, False, False]


def test_a_member_that_diverges_is_counted_and_the_others_never_notice(here):
    settings = [*QUIET, "model=linear", "data=diabetes", "loss=mse", "optimizer=manual_sgd", "trainer.max_steps=250"]
    assert main([*settings, "model.population=3", "model.seeds=same", "optimizer.lr=[0.01,10.0,0.02]"]) == 0
    metrics = json.loads(next(here.rglob("summary.json")).read_text())["metrics"]
    final = torch.load(next(here.rglob("final.pt")))
    assert metrics["diverged"] == 1
    assert metrics["best_member"] in (0, 2)
    assert torch.isfinite(final["0.weight"]).flatten(1).all(1).tolist() == [True, False, True]
    before = set(here.rglob("final.pt"))
    assert main([*settings, "optimizer.lr=0.02"]) == 0
    (alone,) = set(here.rglob("final.pt")) - before
    torch.testing.assert_close(final["0.weight"][2], torch.load(alone)["0.weight"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("experiment", ["check", "noise"])
def test_what_looks_closely_at_one_network_refuses_many(here, capsys, experiment):
    assert main([f"experiment={experiment}", "model.population=2"]) == 2
    said = capsys.readouterr().err
    assert "model.population" in said
    assert "leave it out" in said


# --- what is measured of many ------------------------------------------------------------------------------------


class WithoutTests(pl.LightningDataModule):
    """Data to train on, and none to test with."""


def test_without_test_data_the_last_step_speaks():
    module = DescentModule(Population(networks()), CrossEntropy(), lambda p: Sgd(p, lr=0.1))
    assert evaluate(module, WithoutTests()) == {}
    module.members.last = torch.tensor([3.0, float("nan"), 1.0])
    found = evaluate(module, WithoutTests())
    assert found == {"loss": 3.0, "best_loss": 1.0, "best_member": 2, "members": 3, "diverged": 1}


def test_where_all_have_diverged_nobody_is_best():
    module = DescentModule(Population(networks()), CrossEntropy(), lambda p: Sgd(p, lr=0.1))
    module.members.last = torch.full((3,), float("inf"))
    found = evaluate(module, WithoutTests())
    assert np.isnan(found.pop("best_loss"))
    assert found == {"loss": float("inf"), "members": 3, "diverged": 3}


def test_dead_units_are_counted_member_by_member():
    weight = torch.ones(2, 3, 4)
    weight[0, 1] = weight[1, 0] = weight[1, 2] = 0.0
    bias = torch.zeros(2, 3)
    bias[1, 2] = 1.0
    found = dead_units({"0.weight": weight, "0.bias": bias}, members=1)
    assert found["0"].tolist() == [[False, True, False], [True, False, False]]
    assert dead_units({"norm.weight": torch.zeros(2, 3)}, members=1) == {}
