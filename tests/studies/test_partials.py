"""Partial derivatives as the slopes of cuts: against formulas worked out by hand, and against NumPy's differences."""

from types import SimpleNamespace

import numpy as np
import pytest

from gradlab.errors import BadInput
from gradlab.losses import Himmelblau, Quadratic, Rosenbrock, Saddle
from gradlab.studies.landscape import landscape
from gradlab.studies.partials import Partials, on_cut, slope_of_cut
from gradlab.studies.witnessed import worst_errors


def found_on(surface, **arguments):
    return Partials(**arguments)(SimpleNamespace(surface=surface))


def himmelblau_by_hand(x, y):
    return 4 * x * (x**2 + y - 11) + 2 * (x + y**2 - 7), 2 * (x**2 + y - 11) + 4 * y * (x + y**2 - 7)


@pytest.mark.parametrize("at", [(-1.0, 2.0), (0.3, -2.7), (4.0, 4.0)])
def test_partials_and_slopes_of_cuts_are_those_worked_out_by_hand(at):
    found = found_on(Himmelblau(), at=at)
    for name, slope in zip("xy", himmelblau_by_hand(*at), strict=True):
        assert found.numbers[f"∂f/∂{name}"] == pytest.approx(slope, rel=1e-12)
        assert found.numbers[f"slope of the cut along {name}"] == pytest.approx(slope, rel=1e-8)
    assert set(found.errors) == {"handwritten", "numeric", "symbolic", "slope of the cut"}
    assert max(found.errors.values()) < found.tolerance


def test_the_table_has_everyones_slopes():
    heading, *rows = found_on(Himmelblau()).rows
    assert heading == ("who", "∂f/∂x", "∂f/∂y")
    assert [who for who, *_ in rows] == ["autograd", "handwritten", "numeric", "symbolic", "slope of the cut"]
    assert {tuple(slopes) for _, *slopes in rows} == {("24", "-48")}


def test_a_cut_holds_the_other_coordinate():
    along = np.array([-2.0, 0.5])
    y, x = 0.25, -1.0
    assert on_cut(Rosenbrock(), (x, y), 0, along) == pytest.approx(100 * (y - along**2) ** 2 + (1 - along) ** 2)
    assert on_cut(Rosenbrock(), (x, y), 1, along) == pytest.approx(100 * (along - x**2) ** 2 + (1 - x) ** 2)


def test_the_slope_of_a_cut_of_a_parabola_is_exact():
    assert slope_of_cut(Quadratic(condition=10.0), (1.5, -2.0), 1, 1e-3) == pytest.approx(-20.0, rel=1e-11)


@pytest.mark.parametrize(
    ("surface", "at"), [(Himmelblau(), (3.0, 2.0)), (Rosenbrock(), (1.0, 1.0)), (Saddle(), (0, 0))]
)
def test_where_all_slopes_are_0_rounding_is_no_disagreement(surface, at):
    found = found_on(surface, at=at)
    assert found.numbers["∂f/∂x"] == found.numbers["∂f/∂y"] == 0
    assert max(found.errors.values()) < found.tolerance


def test_a_wrong_slope_is_noticed_there_too():
    assert worst_errors({"autograd": np.zeros(2), "wrong": np.array([0.0, 0.1])}, 50.0)["wrong"] > 1e-3


def test_a_wrong_backward_pass_is_noticed(monkeypatch):
    monkeypatch.setattr("gradlab.studies.partials.slope_of_cut", lambda *_: 24.001)
    found = found_on(Himmelblau())
    assert found.errors["slope of the cut"] > found.tolerance


@pytest.mark.parametrize(
    ("surface", "arguments", "word"),
    [
        (Quadratic(dimension=3), {}, "loss.dimension=2"),
        (Himmelblau(), {"at": [1.0]}, "study.at"),
        (Himmelblau(), {"at": [np.nan, 1.0]}, "study.at"),
        (Himmelblau(), {"width": 0.0}, "study.width"),
    ],
)
def test_what_is_no_point_of_the_plane_is_refused(surface, arguments, word):
    with pytest.raises(BadInput, match=word):
        found_on(surface, **arguments)


def test_a_landscape_has_its_point_in_the_middle():
    land = landscape(Himmelblau(), (-1.0, 2.0), 2.5)
    assert (land.x[60], land.y[60], land.z[60, 60]) == (-1.0, 2.0, 80.0)
    assert land.z[0, -1] == Himmelblau().formula(np.array([1.5, -0.5]), None)
