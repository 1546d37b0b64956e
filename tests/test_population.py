"""Populations of points: each goes the way that it would go alone."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from shipped import load

from gradlab import grids
from gradlab.build import options
from gradlab.cli import main
from gradlab.descent import DescentModule
from gradlab.losses import Quadratic, Surface
from gradlab.models import Point
from gradlab.optimizers import Adam, AdamW, Handwritten, Momentum, Nesterov, Sgd
from gradlab.optimizers.elementwise import moves_rows_alone

TOGETHER = {"lbfgs", "newton", "gauss_newton", "custom"}
ALONE = sorted(set(options("optimizer")) - TOGETHER)
SURFACES = [
    name for name in options("loss") if name != "custom" and isinstance(instantiate(load("loss", name)), Surface)
]


def descended(surface, model, make, steps):
    """Where a plain loop over gradlab's own training step ends."""
    module = DescentModule(model, surface, make)
    optimizer = module.configure_optimizers()
    for step in range(steps):
        optimizer.zero_grad()
        module.training_step((None, None), step).backward()
        optimizer.step()
    return model.theta.detach()


def around(surface, count, spread=0.2):
    """Starts near the usual one: there no descent overflows within a few steps."""
    draw = torch.Generator().manual_seed(3)
    start = torch.tensor(surface.start, dtype=torch.float64)
    return start + spread * torch.rand(count, len(start), generator=draw, dtype=torch.float64)


def population_at(starts):
    model = Point([0.0] * starts.shape[1], population=len(starts), starts="same")
    model.theta.data.copy_(starts)
    return model


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("optimizer", ALONE)
def test_each_point_goes_the_way_of_a_single_run(surface, optimizer):
    f = instantiate(load("loss", surface))
    lr = 1e-5 if surface == "cliff" else 1e-3  # from a cliff's edge a larger step leaves for infinity
    make = instantiate(OmegaConf.merge(load("optimizer", optimizer), {"lr": lr}))
    starts = around(f, 5)
    together = descended(f, population_at(starts), make, 50)
    alone = torch.stack([descended(f, Point(start.tolist()), make, 50) for start in starts])
    assert not torch.allclose(together, starts, rtol=0, atol=1e-4)
    # Both make the same operations entry by entry; only the order of a sum over coordinates may differ, by a few units
    # in the last place, which 50 small steps keep small.
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "several"),
    [
        (Sgd, {"lr": [1e-3, 1e-2, 5e-2], "weight_decay": [0.0, 0.1, 0.2]}),
        (Momentum, {"lr": [1e-3, 1e-2, 5e-2], "momentum": [0.0, 0.5, 0.9]}),
        (Nesterov, {"lr": [1e-3, 1e-2, 5e-2], "momentum": [0.0, 0.5, 0.9]}),
        (Adam, {"lr": [1e-3, 1e-2, 5e-2], "betas": ([0.0, 0.5, 0.9], [0.9, 0.99, 0.999]), "eps": [1e-8, 1e-4, 1e-2]}),
        (AdamW, {"lr": [1e-3, 1e-2, 5e-2], "weight_decay": [0.0, 0.1, 0.2]}),
    ],
)
def test_each_point_has_settings_of_its_own(rule, several):
    f = Quadratic(dimension=2, condition=10.0)
    starts = around(f, 3)
    together = descended(f, population_at(starts), lambda p: rule(p, **several), 40)
    for i, start in enumerate(starts):
        one = {k: tuple(v[i] for v in value) if k == "betas" else value[i] for k, value in several.items()}
        alone = descended(f, Point(start.tolist()), lambda p, one=one: rule(p, **one), 40)
        torch.testing.assert_close(together[i], alone, rtol=1e-12, atol=1e-12)


def test_a_population_in_single_precision_keeps_it():
    theta = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = Momentum([theta], lr=[0.1, 0.2], momentum=[0.5, 0.9])
    theta.grad = torch.ones(2, 3)
    optimizer.step()
    assert theta.dtype == optimizer.state[theta]["v"].dtype == torch.float32
    assert theta.tolist() == torch.tensor([[0.9] * 3, [0.8] * 3]).tolist()


@pytest.mark.parametrize("lr", [[0.1, 0.2], [[0.1, 0.2, 0.3]]])
def test_settings_of_another_number_are_refused(lr):
    with pytest.raises(
        ValueError, match=r"lr is .*, and the parameters have 3 rows: give one number, or for a population"
    ):
        Sgd([torch.nn.Parameter(torch.zeros(3, 2))], lr=lr)


@pytest.mark.parametrize("settings", [{"lr": [0.1, -0.1]}, {"lr": 0.1, "momentum": [0.5, 1.0]}])
def test_each_of_several_settings_is_checked(settings):
    with pytest.raises(ValueError, match=r"(lr|momentum) .*at least 0"):
        Momentum([torch.nn.Parameter(torch.zeros(2, 2))], **settings)


@pytest.mark.parametrize(
    ("rule", "settings", "said"),
    [
        (Sgd, {"lr": [0.1, "x"]}, r"lr=\[0.1, 'x'\]: give a number, or a list of numbers"),
        (Adam, {"betas": [0.9, 0.8, 0.7]}, r"betas=\[0.9, 0.8, 0.7\]: there are two"),
    ],
)
def test_settings_that_are_no_numbers_are_named(rule, settings, said):
    with pytest.raises(ValueError, match=said):
        rule([torch.nn.Parameter(torch.zeros(2, 2))], **settings)


# --- what mixes the points ---------------------------------------------------------------------------------------


class ByTheNorm(Handwritten):
    """Divides by the norm of the whole gradient: each row looks at all."""

    def update(self, p, g, memory, group):
        p -= group["lr"] * g / g.norm()


class LateMixing(Handwritten):
    """Looks at the other rows only from its third step on."""

    def update(self, p, g, memory, group):
        memory["t"] = memory.get("t", 0) + 1
        p -= group["lr"] * (g if memory["t"] < 3 else g - g.mean())


@pytest.mark.parametrize("optimizer", ALONE)
def test_these_move_each_row_alone(optimizer):
    assert moves_rows_alone(instantiate(load("optimizer", optimizer)), torch.Size([6, 2]))


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton", "gauss_newton"])
def test_these_decide_for_all_rows_together(optimizer):
    assert not moves_rows_alone(instantiate(load("optimizer", optimizer)), torch.Size([6, 2]))


@pytest.mark.parametrize("rule", [ByTheNorm, LateMixing, torch.optim.Adafactor])
def test_a_rule_that_mixes_rows_is_caught(rule):
    assert not moves_rows_alone(lambda p: rule(p, lr=0.1), torch.Size([6, 2]))


POINTS = ["loss=rosenbrock", "model=point", "model.population=4", "data=none", "probes=none", "trainer.max_steps=2"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["optimizer=lbfgs"], "torch.optim.LBFGS does not act entry by entry"),
        (["optimizer=sgd", "trainer.gradient_clip_val=1"], "clips by the norm of all gradients together"),
        (["optimizer=sgd", "trainer.precision=16-mixed"], "skips a step for all members"),
        (["optimizer=sgd", "optimizer.lr=[1,2,3,4]"], "optimizer.lr has several numbers"),
        (["optimizer=manual_sgd", "optimizer.lr=[1,2,3]"], "lr is 3 numbers, and the parameters have 4 rows"),
        (["optimizer=sgd", "model.population=0"], "a whole number above 0 as model.population"),
        (["optimizer=sgd", "model.starts=here"], "begin at one of random, grid, same"),
        (["optimizer=sgd", "model.starts=grid", "model.population=5"], "such as 4, 9"),
        (["optimizer=sgd", "model.window=[[0,1]]"], "2 pairs of numbers such as [-2, 2]"),
        (["optimizer=sgd", "probes=[arrivals]", "model.population=null"], "the probe arrivals looks at a population"),
    ],
)
def test_what_cannot_be_a_population_gets_one_clear_message(tmp_path, monkeypatch, capsys, settings, said):
    monkeypatch.chdir(tmp_path)
    assert main([*POINTS, *settings, "trainer.enable_progress_bar=false"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if line.startswith("gradlab: ")]) == 1
    assert said in errors[-1]


# --- a run -------------------------------------------------------------------------------------------------------


def test_a_point_that_diverges_ends_nothing_and_is_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # f = ½ (x² + 10 y²): a point at rate η is multiplied by 1 − η and 1 − 10 η at each step, so that the last one grows
    # by 1.1 a step along y: 1.1^8000 is beyond the largest double, 1.8e308, and the others have long arrived.
    settings = [
        "loss=quadratic",
        "loss.start=[1.0,1.0]",
        "model.starts=same",
        "model.population=3",
        "trainer.max_steps=8000",
    ]
    rates = ["optimizer=manual_sgd", "optimizer.lr=[0.05,0.1,0.21]", "trainer.enable_progress_bar=false"]
    assert main([*POINTS, *settings, *rates]) == 0
    assert "diverged" in capsys.readouterr().out
    summary = OmegaConf.load(next(tmp_path.rglob("summary.json")))
    assert summary.metrics.diverged == 1
    assert summary.metrics.reached == pytest.approx(2 / 3)
    assert summary.metrics.loss < 1e-20


def test_a_run_ends_once_all_have_diverged(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*POINTS, "optimizer=sgd", "optimizer.lr=1", "trainer.max_steps=900"]) == 4
    summary = OmegaConf.load(next(tmp_path.rglob("summary.json")))
    assert summary.reason == "all 4 members of the population have diverged by step 100"


def test_a_short_run_whose_points_have_all_diverged_says_so(tmp_path, monkeypatch, quiet_lightning):
    monkeypatch.chdir(tmp_path)
    more = ["optimizer=sgd", "optimizer.lr=1", "trainer.max_steps=20", "trainer.enable_progress_bar=false"]
    assert main([*POINTS, *more]) == 4
    summary = OmegaConf.load(next(tmp_path.rglob("summary.json")))
    assert summary.reason == "all 4 members of the population have diverged by step 20"


def test_populations_are_reconciled_like_any_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["probes=all", "optimizer=adam", "trainer.max_steps=3", "trainer.enable_progress_bar=false"]
    assert main([*POINTS, *settings]) == 0
    summary = OmegaConf.load(next(tmp_path.rglob("summary.json")))
    assert summary.status == "agree"
    assert summary.metrics.partials_compared == 3 * 4 * 2


def test_arrivals_are_those_of_the_closed_form(tmp_path, monkeypatch):
    from gradlab.loading import load as load_run

    monkeypatch.chdir(tmp_path)
    # Along both axes of ½ (x² + y²) the distance is multiplied by |1 − η|: near from the first t with
    # |1 − η|ᵗ ≤ 1e-3 on.
    rates = [0.05, 0.5, 0.9, 1.0, 1.5, 2.0]
    settings = ["loss=quadratic", "loss.condition=1", "model.population=6", "model.starts=same", "optimizer=manual_sgd"]
    more = ["probes=[arrivals]", f"optimizer.lr={rates}", "trainer.max_steps=300", "trainer.enable_progress_bar=false"]
    assert main([*POINTS, *settings, *more]) == 0
    table = load_run(next(tmp_path.rglob("summary.json")).parent).memory().arrays("population/arrival")[1][-1]
    expected = [
        int(np.ceil(np.log(1e-3) / np.log(abs(1 - r)))) if 0 < abs(1 - r) < 1 else (1 if r == 1 else -1) for r in rates
    ]
    assert table.tolist() == expected


# --- grids -------------------------------------------------------------------------------------------------------


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), data=st.data())
@settings(max_examples=50, deadline=None)
def test_grids_hold_every_combination_once(shape, data):
    ends = [data.draw(st.tuples(st.floats(0.1, 1), st.floats(2, 9))) for _ in shape]
    columns = [grids.linear(*pair, shape=shape, axis=axis) for axis, pair in enumerate(ends)]
    expected = np.meshgrid(*[np.linspace(*pair, n) for pair, n in zip(ends, shape, strict=True)], indexing="ij")
    for column, axis in zip(columns, expected, strict=True):
        np.testing.assert_allclose(column.numpy(), axis.reshape(-1), rtol=1e-12)
    logs = grids.log(*ends[0], shape=shape, axis=0).view(shape)
    np.testing.assert_allclose(
        logs.movedim(0, -1).reshape(-1, shape[0])[0], np.geomspace(*ends[0], shape[0]), rtol=1e-12
    )


@pytest.mark.parametrize("shape", [3, "33", [3, 0], [2.5]])
def test_a_shape_that_is_no_list_of_sizes_is_refused(shape):
    with pytest.raises(ValueError, match="a list of whole numbers above 0"):
        grids.linear(0, 1, shape=shape)


def test_grids_without_such_an_axis_are_refused():
    with pytest.raises(ValueError, match="no axis 2"):
        grids.linear(0, 1, shape=[3, 3], axis=2)
    with pytest.raises(ValueError, match="from a number above 0"):
        grids.log(0, 1, shape=[3])


def test_a_grid_of_settings_comes_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = "{_target_: gradlab.grids.log, low: 0.001, high: 0.1, shape: [4]}"
    settings = [
        "loss=quadratic",
        "optimizer=manual_sgd",
        f"optimizer.lr={grid}",
        "model.starts=same",
        "trainer.max_steps=1",
    ]
    assert main([*POINTS, *settings, "trainer.enable_progress_bar=false"]) == 0
    theta = torch.load(next(tmp_path.rglob("final.pt")))["theta"]
    rates = np.geomspace(1e-3, 0.1, 4)
    start = np.array(instantiate(load("loss", "quadratic")).start)
    expected = start * (1 - rates[:, None] * np.array([1.0, 10.0]))
    np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-12, atol=1e-15)
