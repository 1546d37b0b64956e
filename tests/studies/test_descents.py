"""Studies of descents on surfaces: what they predict, and that a run which does otherwise is noticed."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gradlab.errors import BadInput
from gradlab.figures import comparison, contour, style, together
from gradlab.losses import Booth, Himmelblau, Quadratic, Rosenbrock, Saddle
from gradlab.records import Array, Hparams, Scalar
from gradlab.sinks import MemorySink
from gradlab.studies.base import Finished
from gradlab.studies.comparison import Comparison
from gradlab.studies.conditioning import METHODS, Conditioning, best_momentum, best_rate
from gradlab.studies.law import Law, has_constant_curvature
from gradlab.studies.learning_rates import LearningRates, bowl_of, mean_factor
from gradlab.studies.saddle import Saddle as SaddleStudy
from gradlab.studies.saddle import saddle_near
from gradlab.surfaces import surface_records


def settings_in(overrides):
    """The last value of each override, as the command line has it."""
    return dict(text.split("=", 1) for text in overrides)


class Setting:
    """Runs descents with torch's own optimizer; ``slip`` is added to the learning rate behind the study's back."""

    def __init__(self, surface, slip=0.0, steps=30):
        self.surface = surface
        self.slip = slip
        self.steps = steps

    def parts(self):
        raise NotImplementedError

    def run(self, variants):
        return [self._run(name, settings_in(overrides)) for name, overrides in variants.items()]

    def _run(self, name, given):
        rate, momentum = float(given.get("optimizer.lr", 0.05)), float(given.get("optimizer.momentum", 0.0))
        start = eval(given.get("loss.start", str(self.surface.start)))
        surface = self.surface
        if "loss.condition" in given:
            surface = Quadratic(surface.dimension, float(given["loss.condition"]))
        theta = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
        optimizer = torch.optim.SGD([theta], lr=rate + self.slip, momentum=momentum)
        memory = MemorySink()
        for step in range(int(given.get("trainer.max_steps", self.steps)) + 1):
            loss = surface(theta)
            memory.write([Array("path/point", step, theta.detach().numpy().copy())])
            memory.write([Scalar("loss/train", step, float(loss.detach()))])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        settings = {"optimizer": "sgd", "optimizer.lr": rate, "optimizer.momentum": momentum}
        memory.write([*surface_records(surface, memory), Hparams(settings, {})])
        return Finished(name, "agree", {"loss": float(loss.detach())}, memory, torch.nn.Identity(), surface, Path())


# --- the law of one direction -------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("curvature", [3.0, -2.0])
def test_the_law_is_what_torchs_optimizer_does(curvature, momentum):
    theta = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    optimizer = torch.optim.SGD([theta], lr=0.05, momentum=momentum)
    seen = [float(theta.detach())]
    for _ in range(40):
        optimizer.zero_grad()
        (curvature / 2 * theta**2).backward()
        optimizer.step()
        seen.append(float(theta.detach()))
    law = Law(0.05, curvature, momentum)
    np.testing.assert_allclose(law.distances(0.7, 40), seen, rtol=1e-11, atol=1e-14)


def test_the_factor_with_momentum_solves_its_quadratic_equation():
    r = Law(rate=0.05, curvature=-2.0, momentum=0.9).factor
    assert r == pytest.approx(1 + math.sqrt(0.1))  # r² − 2.0 r + 0.9 = 0
    assert Law(0.05, -2.0, 0.9).steps_until(0.0, 1.0) == math.inf


def test_which_surfaces_have_the_same_curvature_everywhere():
    surfaces = [Quadratic(), Booth(), Saddle(), Himmelblau(), Rosenbrock()]
    assert [has_constant_curvature(s) for s in surfaces] == [True, True, True, False, False]


# --- learning rates -----------------------------------------------------------------------------------------------


def test_a_bowl_that_lies_across_the_axes_is_described_in_closed_form():
    bowl = bowl_of(Booth())
    assert bowl.limit == pytest.approx(2 / 18)
    theta = torch.tensor([-4.0, 4.0], dtype=torch.float64)
    path = [theta.numpy().copy()]
    for _ in range(12):
        theta = theta - 0.1 * torch.from_numpy(Booth().gradient_at(theta))
        path.append(theta.numpy().copy())
    np.testing.assert_allclose(bowl.path(path[0], 0.1, 12), path, atol=1e-12)


@pytest.mark.parametrize("surface", [Rosenbrock(), Saddle()])
def test_what_is_no_bowl_is_refused(surface):
    with pytest.raises(BadInput, match="no bowl: choose loss=quadratic"):
        bowl_of(surface)


def test_a_factor_is_measured_up_to_where_rounding_begins():
    sizes = np.maximum(0.1 ** np.arange(30.0), 1e-17)
    assert mean_factor(sizes, np.arange(30)) == pytest.approx(0.1)
    assert mean_factor(np.array([1.0, 0.0, 0.0]), np.arange(3)) == 0.0
    assert math.isnan(mean_factor(np.zeros(3), np.arange(3)))


def test_both_sides_of_the_limit():
    found = LearningRates({"below": 0.99, "beyond": 1.01})(Setting(Quadratic(condition=10.0, start=(1.3, 0.6))))
    numbers = found.numbers
    assert (numbers["lambda max"], numbers["limit"]) == (pytest.approx(10), pytest.approx(0.2))
    assert numbers["steep factor, below"] == pytest.approx(0.98) == numbers["predicted steep factor, below"]
    assert numbers["steep factor, beyond"] == pytest.approx(1.02) == numbers["predicted steep factor, beyond"]
    assert numbers["flat factor, below"] == pytest.approx(0.802) == numbers["predicted flat factor, below"]
    assert max(found.errors.values()) < 1e-12


def test_a_descent_with_another_learning_rate_than_said_is_noticed():
    found = LearningRates({"good": 0.5})(Setting(Quadratic(condition=10.0), slip=1e-5))
    assert found.errors["the closed form, good"] > found.tolerance


# --- saddles ------------------------------------------------------------------------------------------------------


def test_newton_finds_himmelblaus_saddle():
    found = saddle_near(Himmelblau(), (3.4, 0.1))
    np.testing.assert_allclose(Himmelblau().gradient_at(found.place), 0, atol=1e-10)
    hessian = Himmelblau().hessian_at(found.place)
    np.testing.assert_allclose(hessian @ found.downwards, found.falling * found.downwards, atol=1e-9)
    assert found.falling < 0 < found.rising


@pytest.mark.parametrize(("surface", "near"), [(Quadratic(), (0.1, 0.1)), (Himmelblau(), (3.0, 2.0))])
def test_a_minimum_is_no_saddle(surface, near):
    with pytest.raises(BadInput, match="no saddle"):
        saddle_near(surface, near)


def test_leaving_takes_as_many_steps_as_the_logarithm_says():
    starts = {"ridge": 0.0, "beside": 1e-6}
    found = SaddleStudy(starts, {})(Setting(Saddle(), steps=150))
    expected = math.ceil(math.log(1e6) / math.log(1.1))
    assert found.numbers["steps, beside"] == found.numbers["predicted steps, beside"] == expected == 145
    assert found.numbers["steps, ridge"] == math.inf
    assert [row[-2:] for row in found.rows[1:]] == [("not within 150", "never"), ("145", "145")]
    assert found.numbers["end, ridge"] == pytest.approx(1.5 * 0.9**150, rel=1e-9)
    assert max(found.errors.values()) < 1e-11


def test_a_descent_that_leaves_at_another_rate_is_noticed():
    found = SaddleStudy({"beside": 1e-3}, {})(Setting(Saddle(), slip=1e-4))
    assert found.errors["the law of growth, beside"] > found.tolerance


# --- conditioning -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_best_settings_have_the_factor_that_theory_says_and_no_others_a_better_one(method):
    def worst(rate, momentum):
        return max(Law(rate, curvature, momentum).factor for curvature in (1.0, 25.0))

    rate, momentum = method.settings(1.0, 25.0)
    best = worst(rate, momentum)
    assert best == pytest.approx(method.factor(25.0), rel=1e-6)
    for share in (0.97, 1.03):
        assert worst(share * rate, momentum) > best
    if momentum:
        assert min(worst(rate, share * momentum) for share in (0.97, 1.03)) > best


def test_the_best_settings_are_those_of_the_books():
    assert best_rate(1.0, 9.0) == (0.2, 0.0)  # 2 / (L + μ)
    assert best_momentum(1.0, 9.0) == pytest.approx((0.25, 0.25))  # 4 / (√L + √μ)², ((√κ − 1) / (√κ + 1))²


def test_the_steps_are_those_predicted():
    found = Conditioning([4, 16])(Setting(Quadratic(start=(1.0, 1.0))))
    exact = math.ceil(math.log(1e-3) / math.log(15 / 17))  # both directions shrink by (κ − 1)/(κ + 1)
    assert found.numbers["steps, gradient descent, kappa=16"] == exact == 56
    assert found.numbers["steps, heavy ball, kappa=16"] == found.numbers["predicted steps, heavy ball, kappa=16"]
    assert max(found.errors.values()) < 1e-12


def test_a_descent_that_is_slower_than_predicted_is_noticed():
    found = Conditioning([4, 16])(Setting(Quadratic(), slip=-1e-3))
    assert min(found.errors.values()) > found.tolerance


def test_only_a_bowl_with_a_condition_number_will_do():
    with pytest.raises(BadInput, match="loss=quadratic"):
        Conditioning([4, 16])(Setting(Booth()))


# --- pictures -----------------------------------------------------------------------------------------------------


def memory_of(surface, path):
    memory = MemorySink()
    memory.write(Array("path/point", step, np.array(point, float)) for step, point in enumerate(path))
    memory.write(surface_records(surface, memory))
    return memory


def test_a_surface_without_a_minimum_has_a_contour_picture():
    memory = memory_of(Saddle(), [(1.5, 0.0), (1.0, 0.0)])
    assert contour.ready(memory)
    labels = [text.get_text() for text in contour.figure(memory, "saddle").axes[0].get_legend().get_texts()]
    assert "known minimizer" not in labels


def path_of(axes, name):
    """The line of a path, and not the white one below it."""
    (line,) = (each for each in axes.lines if each.get_label() == name)
    return line


def test_paths_on_one_another_are_all_seen():
    way = np.array([(-1.0, 1.0), (0.0, 0.5), (0.5, 0.0)])
    _, (axes,) = style.canvas(5, 5)
    together.draw(axes, {"first": way, "second": way}, memory_of(Quadratic(), way), widen=2.0)
    first, second = path_of(axes, "first"), path_of(axes, "second")
    assert first.get_linewidth() == second.get_linewidth() + 2
    assert axes.lines.index(first) < axes.lines.index(second)  # the wider one below
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_ten_descents_have_ten_colours_in_panels_of_four():
    def run(number):
        memory = memory_of(Quadratic(), [(-1.0, 1.0), (0.0, number / 10)])
        memory.write([Scalar("loss/train", 0, 1.0), Scalar("loss/train", 1, 0.0)])
        return memory

    names = [f"run {number}" for number in range(10)]
    picture = comparison.descents({name: run(number) for number, name in enumerate(names)})
    *panels, losses = picture.axes
    drawn = [[name for name in names if name in axes.get_legend_handles_labels()[1]] for axes in panels]
    assert drawn == [names[:4], names[4:8], names[8:]]
    assert losses.get_yscale() == "log"  # a loss of 0, which has arrived to all digits, does not change that
    assert len({path_of(losses, name).get_color() for name in names}) == 10
    for axes, group in zip(panels, drawn, strict=True):
        assert all(path_of(axes, name).get_color() == path_of(losses, name).get_color() for name in group)


def test_the_animation_shows_every_ball_where_it_is():
    fast = [(-1.0 + step / 5, -1.0 + step / 10) for step in range(11)]
    runs = {"fast": memory_of(Quadratic(), fast), "slow": memory_of(Quadratic(), [(-1.0, 1.0)] * 4)}
    picture = Image.open(io.BytesIO(together.animation(runs)))
    assert picture.n_frames == 11
    assert picture.info["loop"] == 0

    def blue_at(frame):
        picture.seek(frame)
        pixels = np.asarray(picture.convert("RGB")).astype(int)[:, : int(0.75 * picture.width)]
        return np.argwhere(np.abs(pixels - [0x00, 0x72, 0xB2]).sum(axis=2) < 40).mean(axis=0)

    rows, columns = zip(*(blue_at(frame) for frame in (0, 5, 10)), strict=True)
    assert columns[0] < columns[1] < columns[2]
    assert rows[0] > rows[1] > rows[2]


def test_an_unknown_animation_is_named():
    with pytest.raises(BadInput, match=r"study.animations: there is no animation 'uphill': choose from downhill"):
        Comparison({"a": []}, animations=["uphill"])(Setting(Quadratic()))


def test_a_picture_from_above_says_that_it_needs_the_plane():
    start = (1.0, 1.0, 1.0)
    with pytest.raises(BadInput, match=r"loss\.dimension=2"):
        Comparison({"a": []}, figures=["descents"])(Setting(Quadratic(dimension=3, start=start)))
    with pytest.raises(BadInput, match=r"loss\.dimension=2"):
        LearningRates({"good": 0.5})(Setting(Quadratic(dimension=3, start=start)))
