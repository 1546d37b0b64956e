"""The map of stability: its factors, its edge, and that a descent which moves otherwise is noticed."""

import numpy as np
import pytest
from bowls import Setting

from gradlab.errors import BadInput
from gradlab.figures import maps, style
from gradlab.losses import Booth, Quadratic
from gradlab.studies.law import Law
from gradlab.studies.span import Span
from gradlab.studies.stability import Stability, long_run_factors

BOWL = Quadratic(dimension=15, condition=100.0, start=2.0)
RATES = Span(0.01, 1.0, 24)


@pytest.fixture(scope="module")
def found():
    return Stability(RATES)(Setting(BOWL, steps=80))


def test_many_laws_at_once_are_powers_of_the_matrix_of_each():
    rates, curvatures, momentum = np.array([[0.1], [0.5]]), np.array([1.0, 3.0, 7.0]), 0.6
    laws = Law(rates, curvatures, momentum)
    found = laws.distances(1.5, 9)
    assert found.shape == (10, 2, 3)
    for place in np.ndindex(2, 3):
        own = Law(float(rates[place[0], 0]), float(curvatures[place[1]]), momentum)
        powers = [(np.linalg.matrix_power(own.matrix, k) @ [1.5, 0.0])[0] for k in range(10)]
        np.testing.assert_allclose(found[(slice(None), *place)], powers, rtol=1e-12)
        product = own.rate * own.curvature
        roots = np.roots([1, product - 1 - momentum, momentum])  # r² − (1 + m − lr λ) r + m = 0
        assert laws.factors[place] == pytest.approx(np.abs(roots).max(), rel=1e-7)


def test_the_edge_lies_where_theory_has_it(found):
    numbers = found.numbers
    assert numbers["cells"] == 24 * 15
    for method, edge in (("gradient descent", 2.0), ("heavy ball", 3.8)):
        assert numbers[f"edge of theory, {method}"] == pytest.approx(edge)
        below, above = (
            numbers[f"{which}, {method}"]
            for which in ("largest lr × curvature that shrinks", "smallest lr × curvature that grows")
        )
        assert 0.95 * edge < below < edge < above < 1.05 * edge
        assert numbers[f"cells on the wrong side, {method}"] == 0
    assert numbers["fastest lr × curvature, gradient descent"] == pytest.approx(1, rel=0.05)


def test_inside_the_edge_momentum_makes_all_alike(found):
    # Complex roots r of r² − (1 + m − lr λ) r + m = 0 have |r|² = m.
    assert found.numbers["predicted median factor, heavy ball"] == pytest.approx(np.sqrt(0.9))
    assert found.numbers["median factor, heavy ball"] == pytest.approx(np.sqrt(0.9), rel=0.01)


def test_all_witnesses_agree(found):
    assert len(found.errors) == 3
    assert max(found.errors.values()) <= found.tolerance


def test_descents_with_other_learning_rates_than_said_are_noticed():
    found = Stability(RATES)(Setting(BOWL, steps=80, slip=1e-8))
    assert min(found.errors.values()) > found.tolerance


def test_the_long_run_begins_after_the_beginning():
    steps = np.arange(0, 40, 2)
    path = 0.9**steps + 5 * 0.1**steps  # the second part is soon gone
    assert long_run_factors(steps, path) == pytest.approx(0.9, rel=1e-9)
    assert long_run_factors(steps, np.zeros((20, 3))).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("surface", "steps", "records", "said"),
    [
        (Booth(), 80, ("snapshot/theta",), "choose loss=quadratic"),
        (BOWL, 80, (), "use the probe snapshots"),
        (BOWL, 7, ("snapshot/theta",), "8 or more snapshots"),
    ],
)
def test_what_cannot_be_mapped_is_refused(surface, steps, records, said):
    with pytest.raises(BadInput, match=said):
        Stability(RATES)(Setting(surface, steps, records=records))


def test_snapshots_at_uneven_distances_are_refused():
    class Thinned(Setting):
        def _records(self, path, within):
            yield from (record for record in super()._records(path, within) if record.step != 5)

    with pytest.raises(BadInput, match="at equal distances"):
        Stability(RATES)(Thinned(BOWL, 80))


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_second_map_needs_a_momentum(momentum):
    with pytest.raises(BadInput, match=r"study\.momentum"):
        Stability(RATES, momentum)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ((0.0, 1.0, 3), "both above 0"),
        ((1.0, 1.0, 3, "linear"), "from low to a larger high"),
        ((0.1, 1.0, 1), "2 or more"),
        ((0.1, 1.0, 3, "cubic"), "one of linear, log"),
    ],
)
def test_a_span_that_cannot_be_is_refused(span, said):
    with pytest.raises(ValueError, match=said):
        Span(*span)


def test_a_map_has_each_value_where_its_pair_is():
    _, (axes,) = style.canvas(4, 3)
    values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    mesh = maps.draw(axes, np.array([1.0, 100.0]), np.array([0.0, 1.0, 2.0]), values, "viridis", None, (True, False))
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0.1, 10, 1000])
    np.testing.assert_allclose(corners[:, 0, 1], [-0.5, 0.5, 1.5, 2.5])
    assert mesh.get_array()[2, 1] == 6.0  # the third row from below, the second column: (100, 2)
