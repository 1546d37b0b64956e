"""Maps of basins: against the gradient flow, closed forms and NumPy; and what a wrong descent looks like."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.figures import basins as picture
from gradlab.losses import Booth, Himmelblau, Quadratic, Rastrigin, Rosenbrock, Saddle, StyblinskiTang
from gradlab.probes import ArrivalProbe
from gradlab.records import Array, Hparams
from gradlab.sinks import MemorySink
from gradlab.studies.again import RULES, again, descend, rule_of
from gradlab.studies.base import Finished
from gradlab.studies.basin_map import GONE, NOWHERE, Map, known, reached_by
from gradlab.studies.basins import BasinMaps
from gradlab.studies.minimizers import minimizers

HIMMELBLAU = Himmelblau()


class Setting:
    """Moves every point by plain NumPy; ``slip`` is added to the momentum behind the study's back."""

    def __init__(self, surface=HIMMELBLAU, slip=0.0, steps=200):
        self.surface = surface
        self.slip = slip
        self.steps = steps

    def parts(self):
        raise NotImplementedError

    def run(self, variants):
        given = {name: dict(text.split("=", 1) for text in overrides) for name, overrides in variants.items()}
        return [self._run(name, overrides) for name, overrides in given.items()]

    def _run(self, name, given):
        assert given["model.starts"] == "grid"
        goals, near = np.array(json.loads(given["probes.arrivals.goal"])), float(given["probes.arrivals.near"])
        side = round(int(given["model.population"]) ** 0.5)
        x, y = (np.linspace(low, high, side) for low, high in json.loads(given["model.window"]))
        points = np.array([(a, b) for a in x for b in y])
        rate, momentum = float(given["optimizer.lr"]), float(given.get("optimizer.momentum", 0.0))
        velocity, arrival = np.zeros_like(points), np.full(len(points), -1)
        with np.errstate(all="ignore"):
            for step in range(self.steps):
                near_one = (np.linalg.norm(points[:, None] - goals, axis=-1) <= near).any(axis=1)
                arrival = np.where(near_one, np.where(arrival < 0, step, arrival), -1)
                velocity = (momentum + self.slip) * velocity + self.slope(points)
                points = points - rate * velocity
        memory = MemorySink()
        memory.write([Array("population/arrival", self.steps - 1, arrival)])
        numbers = {"optimizer.lr": rate, "optimizer.momentum": momentum} if momentum else {"optimizer.lr": rate}
        memory.write([Hparams({"optimizer": given["optimizer"], **numbers}, {})])
        model = torch.nn.Module()
        model.theta = torch.nn.Parameter(torch.from_numpy(points))
        return Finished(name, "agree", {"steps": self.steps}, memory, model, self.surface, Path())

    def slope(self, points):
        theta = torch.from_numpy(points).requires_grad_()
        return torch.autograd.grad(self.surface(theta).sum(), theta)[0].numpy()


def finished(surface, optimizer, steps=0, **numbers):
    memory = MemorySink()
    memory.write([Hparams({"optimizer": optimizer, **{f"optimizer.{k}": v for k, v in numbers.items()}}, {})])
    return Finished("one", "agree", {"steps": steps}, memory, torch.nn.Identity(), surface, Path())


SHORT = ["optimizer=sgd", "optimizer.lr=0.003"]
LONG = ["optimizer=sgd", "optimizer.lr=0.02"]
HEAVY = ["optimizer=momentum", "optimizer.lr=0.01", "optimizer.momentum=0.9"]

# --- minimizers ---------------------------------------------------------------------------------------------------


def test_local_minimizers_are_where_the_slope_of_each_coordinate_has_its_roots():
    roots = np.sort(np.roots([4, 0, -32, 5]))  # of 2 f′(x) = 4x³ − 32x + 5; the middle one is a maximum
    found = minimizers(StyblinskiTang(), StyblinskiTang().box)
    expected = {(a, b) for a in roots[[0, 2]] for b in roots[[0, 2]]}
    assert len(found) == 4
    for place in expected:
        assert np.linalg.norm(found - place, axis=1).min() < 1e-9
    np.testing.assert_allclose(found[0], [roots[0]] * 2, atol=1e-9)  # the global one first


def test_each_of_rastrigins_dimples_is_found():
    def slope(x):
        return 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)

    axis = [brentq(slope, k - 0.24, k + 0.24) for k in range(-5, 6)]
    found = minimizers(Rastrigin(), Rastrigin().box)
    assert len(found) == 121
    gaps = np.linalg.norm(found[:, None] - np.array([(a, b) for a in axis for b in axis]), axis=-1)
    assert gaps.min(axis=1).max() < 1e-8
    assert gaps.min(axis=0).max() < 1e-8


@pytest.mark.parametrize("surface", [Rosenbrock(), Booth(), Quadratic()])
def test_a_single_valley_has_one_minimizer(surface):
    np.testing.assert_allclose(minimizers(surface, surface.box), surface.minimizers, atol=1e-12)


def test_a_window_beside_the_minimizers_keeps_those_of_the_surface():
    assert len(known(HIMMELBLAU, [(8.0, 9.0), (8.0, 9.0)])) == 4


def test_a_saddle_has_no_basins():
    with pytest.raises(BadInput, match="saddle has no minimizer: choose another surface"):
        BasinMaps({"one": SHORT})(Setting(Saddle()))


# --- maps ---------------------------------------------------------------------------------------------------------


def flow_end(start):
    """Where the gradient flow, θ′ = −∇f(θ), goes: by SciPy's solver of differential equations."""

    def slope(_, p):
        return -HIMMELBLAU.gradient_at(p)

    return solve_ivp(slope, (0, 3), start, rtol=1e-8, atol=1e-8, method="LSODA").y[:, -1]


def shares(numbers, name, letters="ABCD"):
    return [numbers[f"share {letter}, {name}"] for letter in letters]


def test_short_steps_come_to_the_minimizers_of_the_gradient_flow():
    found = BasinMaps({"short": SHORT}, resolution=9)(Setting(steps=250))
    axis = np.linspace(-5, 5, 9)
    ends = np.array([flow_end((x, y)) for x in axis for y in axis])
    gaps = np.linalg.norm(ends[:, None] - np.array(HIMMELBLAU.minimizers), axis=-1)
    assert gaps.min(axis=1).max() < 0.01
    np.testing.assert_allclose(shares(found.numbers, "short"), np.bincount(gaps.argmin(axis=1), minlength=4) / 81)
    assert found.errors["the closed form, short"] < 1e-12
    assert found.numbers["descended again, short"] == 10


def test_a_minimizer_keeps_a_descent_only_below_two_over_its_curvature():
    numbers = BasinMaps({"long": LONG}, resolution=15)(Setting()).numbers
    largest = [np.linalg.eigvalsh(HIMMELBLAU.hessian_at(place))[-1] for place in HIMMELBLAU.minimizers]
    np.testing.assert_allclose([numbers[f"2/lambda max, {letter}"] for letter in "ABCD"], 2 / np.array(largest))
    assert [share > 0 for share in shares(numbers, "long")] == [2 / curvature > 0.02 for curvature in largest]
    assert sum(shares(numbers, "long")) + numbers["share at none, long"] == pytest.approx(1)


def test_the_map_stands_upright():
    maps = []
    study = BasinMaps({"short": SHORT}, resolution=11)
    read = study._map
    study._map = lambda *arguments: maps.append(read(*arguments)) or maps[-1]
    study(Setting(steps=250))
    # Rows count y from below, columns x: the pixel at x = 4, y = 2 is in the basin of A (3, 2).
    assert maps[0].reached[7, 9] == 0
    assert maps[0].reached[[8, 2, 2], [2, 2, 9]].tolist() == [1, 2, 3]


def test_a_descent_with_another_momentum_than_said_is_noticed():
    maps = BasinMaps({"heavy": HEAVY}, resolution=30)
    assert maps(Setting()).errors["the closed form, heavy"] < 1e-9
    wrong = maps(Setting(slip=0.02))
    assert wrong.errors["the closed form, heavy"] > wrong.tolerance


def test_points_that_run_away_are_gone():
    found = BasinMaps({"wild": ["optimizer=sgd", "optimizer.lr=0.5"]}, resolution=3)(Setting())
    assert found.numbers["share diverged, wild"] == 1.0
    assert math.isnan(found.numbers["median steps, wild"])
    assert found.errors["the closed form, wild"] == 0.0


def test_steps_on_a_round_bowl_are_those_of_the_closed_form(tmp_path):
    # f = ½ (x² + y²): the distance is multiplied by 1 − η at each step; near from the first t with d (1 − η)ᵗ ≤ 0.1 on.
    arguments = ["experiment=basins", "loss=quadratic", "loss.condition=1", "study.resolution=20"]
    variants = 'study.variants={one:["optimizer=manual_sgd","optimizer.lr=0.1"]}'
    assert main([*arguments, "~study.variants", f"+{variants}", f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    made = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    axis = np.linspace(-1.5, 1.5, 20)
    steps = np.ceil(np.log(0.1 / np.hypot(*np.meshgrid(axis, axis))) / np.log(0.9)).clip(0)
    assert made["metrics"]["share A, one"] == 1.0
    assert made["metrics"]["median steps, one"] == np.median(steps)
    assert made["status"] == "agree"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 1}, "study.resolution=1: give a whole number from 2 on"),
        ({"near": 0.0}, "study.near=0.0: give a distance above 0"),
        ({"window": [[1, 0], [0, 1]]}, "an interval for x and one for y"),
        ({"window": [[0, 1]]}, "an interval for x and one for y"),
    ],
)
def test_settings_that_make_no_map_are_refused(arguments, message):
    with pytest.raises(BadInput, match=message):
        BasinMaps({"one": SHORT}, **arguments)(Setting())


def test_a_map_needs_the_plane():
    with pytest.raises(BadInput, match=r"loss\.dimension=2"):
        BasinMaps({"one": SHORT})(Setting(Quadratic(dimension=3)))


# --- arrivals at several goals ------------------------------------------------------------------------------------


def test_the_nearest_of_several_goals_counts():
    theta = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 0.0]], dtype=torch.float64)
    probe = ArrivalProbe(goal=[[1.0, 1.0], [0.0, 0.0]], near=0.5)
    step = type("Step", (), {"parameters": {"theta": theta}, "index": 4})()
    list(probe.measure(step))
    (record,) = probe.drain()
    assert record.values.tolist() == [4, 4, -1]
    with pytest.raises(ValueError, match="near=0: the distance that counts as near is above 0"):
        ArrivalProbe(near=0)


# --- the second witness -------------------------------------------------------------------------------------------


@given(x=st.floats(-4, 4), y=st.floats(-4, 4), name=st.sampled_from(list(RULES)))
@settings(max_examples=30, deadline=None)
def test_a_descent_by_closed_forms_is_that_of_autograd_and_torch(x, y, name):
    torchs = {
        "sgd": torch.optim.SGD,
        "momentum": partial(torch.optim.SGD, momentum=0.9),
        "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
        "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "nadam": torch.optim.NAdam,
    }
    theta = torch.nn.Parameter(torch.tensor([[x, y]], dtype=torch.float64))
    optimizer = torchs[name]([theta], lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        HIMMELBLAU(theta).sum().backward()
        optimizer.step()
    numbers = {"lr": 1e-3} | ({"momentum": 0.9} if name in ("momentum", "nesterov") else {})
    rule = rule_of(finished(HIMMELBLAU, name, **numbers))
    np.testing.assert_allclose(descend(HIMMELBLAU, [[x, y]], rule, 20), theta.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [
        ("custom", {"lr": 0.1}),
        ("sgd", {"lr": "[0.1, 0.2]"}),
        ("sgd", {"lr": 0.1, "dampening": 0.5}),
        ("lbfgs", {"lr": 1}),
    ],
)
def test_an_optimizer_without_a_rule_of_its_own_has_no_witness(optimizer, numbers):
    run = finished(HIMMELBLAU, optimizer, **numbers)
    assert rule_of(run) is None
    assert again(run, np.zeros((1, 2)), np.zeros((1, 2))) is None


def test_the_flag_of_nesterov_is_no_number():
    assert rule_of(finished(HIMMELBLAU, "nesterov", lr=0.1, momentum=0.9, nesterov=True)) is not None


def test_where_rounding_decides_nothing_is_compared():
    # In rastrigin's dimples the curvature is about 400: steps of 0.02 never settle.
    found = again(finished(Rastrigin(), "sgd", steps=300, lr=0.02), np.array([[1.3, 2.1]]), np.array([[0.0, 0.0]]))
    assert (found.compared, found.by_chance, found.error) == (0, 1, 0.0)


def test_an_end_in_another_valley_is_an_error():
    run = finished(HIMMELBLAU, "sgd", steps=200, lr=0.005)
    right, wrong = (again(run, np.array([[2.0, 2.0]]), np.array([place])) for place in HIMMELBLAU.minimizers[:2])
    assert right.error < 1e-12
    assert wrong.error == pytest.approx(np.hypot(5.805118, 1.131313) / 10, rel=1e-5)  # the window is 10 wide


# --- the picture --------------------------------------------------------------------------------------------------


def test_places_reached_are_the_nearest_within_reach():
    ends = torch.tensor([[0.0, 0.05], [2.0, 0.0], [math.inf, 0.0]], dtype=torch.float64)
    assert reached_by(ends, np.array([[0.0, 1.0], [0.0, 0.0]]), 0.1).tolist() == [1, NOWHERE, GONE]


def test_pixels_have_the_colour_of_their_minimizer_and_darken():
    reached = np.array([[0, 0, 1], [1, NOWHERE, GONE]])
    steps = np.array([[1.0, 90.0, 1.0], [90.0, np.nan, np.nan]])
    blue, orange = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.5, 0.0])
    colors = picture.pixels(Map("one", reached, steps, None), np.array([blue, orange]))
    assert colors[1, 1].tolist() == [1, 1, 1]
    assert colors[1, 2].tolist() == [0, 0, 0]
    assert colors[0, 0].sum() > blue.sum() > colors[0, 1].sum()
    assert colors[0, 2].sum() > orange.sum() > colors[1, 0].sum()
    np.testing.assert_allclose(colors[1, 0] / colors[1, 0].max(), orange)  # darker, of the same hue


def test_neighbours_differ_in_colour_where_there_are_more_minimizers_than_colours():
    places = np.array([(x, y) for x in range(-5, 6) for y in range(-5, 6)], dtype=float)
    colors = picture.colors_of(places)
    assert len(np.unique(colors, axis=0)) == len(picture.COLORS)
    for place, color in zip(places, colors, strict=True):
        near = np.abs(places - place).sum(axis=1) == 1
        assert not (colors[near] == color).all(axis=1).any()


def test_the_picture_names_the_minimizers_and_has_a_panel_for_each_descent():
    found = BasinMaps({"short": SHORT, "long": LONG}, resolution=12)(Setting()).figures["basins"]
    assert [axes.get_title(loc="left") for axes in found.axes[:2]] == ["short", "long"]
    names = [text.get_text() for text in found.legends[0].get_texts()]
    assert names[0] == "A (3, 2)"
    assert names[-1] == "at no minimizer after the last step"
