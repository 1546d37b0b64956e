"""The gradient among all directions: against trigonometry, SciPy's distributions, and a wrong gradient."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from gradlab.errors import BadInput
from gradlab.losses import Himmelblau, Quadratic, Rosenbrock, Saddle, StyblinskiTang
from gradlab.studies.directions import level_line, rate, unit
from gradlab.studies.gradient import Gradient
from gradlab.studies.random_directions import density, random_directions


def found_on(surface, many=None, **arguments):
    many = many or Quadratic(dimension=20)
    return Gradient(many, samples=200, **arguments)(SimpleNamespace(surface=surface))


def test_the_steepest_of_all_directions_is_the_gradients():
    found = found_on(Himmelblau())  # ∇f = (24, −48) at (−1, 2), worked out by hand
    numbers = found.numbers
    assert numbers["angle of the gradient"] == pytest.approx(360 - np.degrees(np.arctan(2)))
    assert abs(numbers["angle of the largest rate"] - numbers["angle of the gradient"]) <= 0.5
    assert numbers["length of the gradient"] == pytest.approx(24 * 5**0.5)
    assert numbers["rate along the gradient"] == pytest.approx(24 * 5**0.5, rel=1e-9)
    assert numbers["largest rate measured"] == pytest.approx(24 * 5**0.5 * np.cos(np.arctan(2) - np.radians(63)))
    assert numbers["rate at right angles"] < 1e-6
    assert numbers["angle between gradient and contour line"] == pytest.approx(90, abs=1e-3)
    assert max(found.errors.values()) < found.tolerance


@pytest.mark.parametrize("surface", [Rosenbrock(), Saddle(), StyblinskiTang()])
def test_every_measured_rate_is_the_gradients_prediction(surface):
    found = found_on(surface, at=(0.4, 1.3))
    assert set(found.errors) >= {"handwritten", "numeric", "symbolic", "differences in 360 directions"}
    assert max(found.errors.values()) < found.tolerance


def test_a_wrong_gradient_is_noticed(monkeypatch):
    monkeypatch.setattr("gradlab.studies.gradient.gradients", lambda *_: {"autograd": np.array([24.0, -48.01])})
    found = found_on(Himmelblau())
    assert found.errors["differences in 360 directions"] > found.tolerance


def test_a_wrong_gradient_in_many_dimensions_is_noticed(monkeypatch):
    wrong = {"autograd": np.ones(20), "manual": np.ones(20)}
    monkeypatch.setattr("gradlab.studies.random_directions.gradients", lambda *_, **__: wrong)
    assert random_directions(Quadratic(dimension=20), 50, 0).errors["differences"] > 0.1


def test_rates_of_a_plane_bowl():
    angles = np.array([0.0, 30.0, 90.0, 200.0])
    assert rate(Quadratic(condition=10.0), (2.0, 0.5), angles, 1.0) == pytest.approx(
        unit(angles) @ [2.0, 5.0], rel=1e-8
    )


@pytest.mark.parametrize(
    ("at", "angle"), [((1.0, 0.0), 90.0), ((0.0, 3.0), 0.0), ((1.0, 1.0), 135.0), ((-1.0, 2.0), 26.565)]
)
def test_the_contour_lines_of_a_round_bowl_are_circles(at, angle):
    found = level_line(Quadratic(condition=1.0), at, 1e-3)
    assert (found - angle + 90) % 180 == pytest.approx(90, abs=1e-3)


def test_at_a_minimum_and_at_a_saddle_there_is_no_contour_line_of_one_direction():
    assert np.isnan(level_line(Quadratic(), (0.0, 0.0), 1e-3))
    assert np.isnan(level_line(Saddle(), (0.0, 0.0), 1e-3))


@pytest.mark.parametrize("dimension", [2, 3, 4, 10, 1000])
def test_random_directions_are_distributed_as_in_theory(dimension):
    far = random_directions(Quadratic(dimension=dimension), 2000, seed=1)
    beta = stats.beta((dimension - 1) / 2, (dimension - 1) / 2, loc=-1, scale=2)  # the cosine's law, otherwise written
    assert stats.kstest(far.shares, beta.cdf).pvalue > 0.01
    assert beta.std() == pytest.approx(dimension**-0.5)
    t = np.linspace(-0.9, 0.9, 7)
    assert density(t, dimension) == pytest.approx(beta.pdf(t))
    assert max(far.errors.values()) < 1e-7


def test_chunks_change_nothing(monkeypatch):
    whole = random_directions(Rosenbrock(dimension=30), 100, seed=3).shares
    monkeypatch.setattr("gradlab.studies.random_directions.CHUNK", 300)
    assert np.array_equal(random_directions(Rosenbrock(dimension=30), 100, seed=3).shares, whole)


@pytest.mark.parametrize(
    ("surface", "arguments", "word"),
    [
        (Himmelblau(), {"at": (3.0, 2.0)}, "points nowhere"),
        (Himmelblau(), {"directions": 2}, "study.directions"),
        (Himmelblau(), {"many": 3}, "study.many"),
        (Himmelblau(), {"many": Quadratic(dimension=1)}, "study.many.dimension"),
        (Quadratic(dimension=3), {}, "loss.dimension=2"),
    ],
)
def test_what_cannot_be_asked_is_refused(surface, arguments, word):
    with pytest.raises(BadInput, match=word):
        found_on(surface, **arguments)
