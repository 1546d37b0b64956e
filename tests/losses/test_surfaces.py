"""Surfaces against formulas written down a second time here, SciPy, and numbers from the literature.

``REFERENCE`` states every formula again from the literature, coordinate by coordinate, in sympy; it is
evaluated with 30 digits, so that what is left of a difference is the rounding of float64.
"""

import copy
import math

import mpmath
import numpy as np
import pytest
import scipy.optimize
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import E, Rational, cos, exp, pi, sqrt

from gradlab.losses import (
    Ackley,
    Beale,
    Booth,
    Cliff,
    Himmelblau,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    Saddle,
    StyblinskiTang,
    Surface,
)

BEALE = (Rational(3, 2), Rational(9, 4), Rational(21, 8))

# Each surface, and its formula as a function of the list of its coordinates.
REFERENCE = {
    "quadratic": (Quadratic(), lambda x: (x[0] ** 2 + 10 * x[1] ** 2) / 2),
    "quadratic, 3 coordinates": (
        Quadratic(dimension=3, condition=100),
        lambda x: (x[0] ** 2 + 10 * x[1] ** 2 + 100 * x[2] ** 2) / 2,
    ),
    "quadratic, 1 coordinate": (Quadratic(dimension=1, condition=50), lambda x: x[0] ** 2 / 2),
    "rosenbrock": (Rosenbrock(), lambda x: 100 * (x[1] - x[0] * x[0]) ** 2 + (x[0] - 1) ** 2),
    "rosenbrock, 4 coordinates": (
        Rosenbrock(dimension=4),
        lambda x: sum(100 * (x[i] ** 2 - x[i + 1]) ** 2 + (x[i] - 1) ** 2 for i in range(3)),
    ),
    "himmelblau": (Himmelblau(), lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[1] ** 2 + x[0] - 7) ** 2),
    "beale": (
        Beale(),
        lambda x: sum((c - x[0] * (1 - x[1] ** k)) ** 2 for k, c in zip((1, 2, 3), BEALE, strict=True)),
    ),
    "booth": (
        Booth(),
        lambda x: 5 * x[0] ** 2 + 5 * x[1] ** 2 + 8 * x[0] * x[1] - 34 * x[0] - 38 * x[1] + 74,
    ),
    "saddle": (Saddle(), lambda x: (x[0] - x[1]) * (x[0] + x[1])),
    "cliff": (Cliff(), lambda x: ((x[1] - 1) ** 2 + (x[1] * x[0] ** 9 - 1) ** 2) / 2),
    "rastrigin": (Rastrigin(), lambda x: 20 + sum(c * c - 10 * cos(2 * pi * c) for c in x)),
    "rastrigin, 3 coordinates": (
        Rastrigin(dimension=3),
        lambda x: 30 + sum(c * c - 10 * cos(2 * pi * c) for c in x),
    ),
    "ackley": (
        Ackley(),
        lambda x: (
            -20 * exp(-Rational(1, 5) * sqrt((x[0] ** 2 + x[1] ** 2) / 2))
            - exp((cos(2 * pi * x[0]) + cos(2 * pi * x[1])) / 2)
            + E
            + 20
        ),
    ),
    "styblinski_tang": (StyblinskiTang(), lambda x: sum((c**4 - 16 * c**2 + 5 * c) / 2 for c in x)),
    "styblinski_tang, 3 coordinates": (
        StyblinskiTang(dimension=3),
        lambda x: sum((c**4 - 16 * c**2 + 5 * c) / 2 for c in x),
    ),
}
SURFACES = [surface for surface, _ in REFERENCE.values()]
every_reference = pytest.mark.parametrize("case", REFERENCE)
every_surface = pytest.mark.parametrize("surface", SURFACES, ids=list(REFERENCE))


class Exact:
    """Value, gradient and Hessian of a formula of ``REFERENCE``, to 30 digits."""

    def __init__(self, formula, dimension):
        x = sympy.symbols(f"t0:{dimension}", real=True)
        f = sympy.sympify(formula(x))
        gradient = [sympy.diff(f, s) for s in x]
        self.parts = {
            "value": sympy.lambdify([x], f, "mpmath"),
            "gradient": sympy.lambdify([x], gradient, "mpmath"),
            "hessian": sympy.lambdify([x], [[sympy.diff(g, s) for s in x] for g in gradient], "mpmath"),
        }

    def __call__(self, part, point):
        with mpmath.workdps(30):
            return np.array(self.parts[part]([mpmath.mpf(v) for v in point]), dtype=float)


EXACT = {case: Exact(formula, surface.dimension) for case, (surface, formula) in REFERENCE.items()}


def autograd(surface, point):
    theta = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    loss = surface(theta)
    (gradient,) = torch.autograd.grad(loss, theta)
    return loss.item(), gradient.numpy()


def assert_equal(actual, exact, terms):
    """Equal to 1e-10 of the largest entry; where terms of size ``terms`` cancel, to 1e-13 of those."""
    scale = max(np.abs(exact).max(), 1e-3 * terms)
    assert np.abs(actual - exact).max() <= 1e-10 * scale, (actual, exact)


def assert_as_stated(surface, exact, point):
    """The surface's value, both its gradients and its Hessian are those of the formula stated here."""
    terms = 1 + max(abs(v) for v in point) ** 4
    value, gradient = autograd(surface, point)
    assert_equal(value, exact("value", point), terms)
    assert_equal(gradient, exact("gradient", point), terms)
    assert_equal(surface.gradient_at(point), exact("gradient", point), terms)
    assert_equal(surface.hessian_at(point), exact("hessian", point), terms)


def points(dimension):
    # Ackley's kink is at the origin; its square root loses all digits where squares underflow.
    inside = st.floats(-4, 4, allow_subnormal=False).filter(lambda v: abs(v) > 1e-3)
    return st.lists(inside, min_size=dimension, max_size=dimension)


@every_reference
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_value_and_derivatives_are_those_of_the_literature(case, data):
    surface, _ = REFERENCE[case]
    assert_as_stated(surface, EXACT[case], data.draw(points(surface.dimension)))


class SlightlyWrong(Rosenbrock):
    """100.001 where Rosenbrock has 100."""

    def formula(self, p, m):
        x, y = p[..., 0], p[..., 1]
        return 100.001 * (y - x**2) ** 2 + (1 - x) ** 2


def test_a_damaged_formula_is_noticed():
    with pytest.raises(AssertionError):
        assert_as_stated(SlightlyWrong(), EXACT["rosenbrock"], [-1.2, 1.0])


@pytest.mark.parametrize(
    ("surface", "point", "value"),
    [
        (Rosenbrock(), [-1.2, 1.0], 24.2),  # Moré, Garbow, Hillstrom 1981, problem 1
        (Beale(), [1.0, 1.0], 14.203125),  # 1.5² + 2.25² + 2.625²
        (Himmelblau(), [0.0, 0.0], 170.0),  # 11² + 7²
        (Booth(), [0.0, 0.0], 74.0),  # 7² + 5²
        (Rastrigin(), [1.0, -2.0], 5.0),  # the cosines are 1 at integers, so Σ x²
        (StyblinskiTang(), [1.0, 1.0], -10.0),  # 2 · (1 − 16 + 5) / 2
        (Saddle(), [3.0, 2.0], 5.0),
        (Quadratic(3, 100.0), [1.0, 1.0, 1.0], 55.5),  # (1 + 10 + 100) / 2
        # 20 + e − 20 exp(−0.2) − e, the cosines being 1 at integers
        (Ackley(), [1.0, 1.0], 20 - 20 * math.exp(-0.2)),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_known_values(surface, point, value):
    assert surface(torch.tensor(point, dtype=torch.float64)).item() == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_rosenbrock_is_scipys(dimension):
    surface = Rosenbrock(dimension)
    point = np.random.default_rng(0).uniform(-2, 2, dimension)
    value, gradient = autograd(surface, point)
    assert value == pytest.approx(scipy.optimize.rosen(point), rel=1e-13)
    np.testing.assert_allclose(gradient, scipy.optimize.rosen_der(point), rtol=1e-11)
    np.testing.assert_allclose(surface.gradient_at(point), scipy.optimize.rosen_der(point), rtol=1e-11)
    np.testing.assert_allclose(surface.hessian_at(point), scipy.optimize.rosen_hess(point), rtol=1e-11)


@every_reference
def test_minimizers_are_stationary_with_the_stated_minimum(case):
    surface, _ = REFERENCE[case]
    exact = EXACT[case]
    for point in surface.minimizers:
        assert exact("value", point) == pytest.approx(surface.minimum, abs=1e-13, rel=1e-15)
        assert surface(torch.tensor(point, dtype=torch.float64)).item() == pytest.approx(surface.minimum, abs=1e-12)
        if case != "ackley":  # a kink: the next test
            # A coordinate is right to half a unit in its last place, which curvatures up to 130 multiply.
            np.testing.assert_allclose(exact("gradient", point), 0, atol=1e-13)
            assert np.linalg.eigvalsh(exact("hessian", point)).min() > 0


def test_ackley_has_a_kink_at_its_minimizer():
    surface = Ackley()
    for angle in np.linspace(0, 2 * np.pi, 8):
        point = 1e-6 * np.array([np.cos(angle), np.sin(angle)])
        value, gradient = autograd(surface, point)
        assert value > surface.minimum + 1e-6
        # The first term is a cone with slope 20 · 0.2 / √2 at the tip; the ripple is smooth and flat there.
        assert np.linalg.norm(gradient) == pytest.approx(4 / math.sqrt(2), rel=1e-4)
    assert np.isnan(surface.gradient_at([0.0, 0.0])).all()
    assert np.isnan(autograd(surface, [0.0, 0.0])[1]).all()


def test_how_many_minimizers():
    counts = {surface.name: len(set(surface.minimizers)) for surface in SURFACES}
    assert counts == {**dict.fromkeys(counts, 1), "himmelblau": 4, "saddle": 0}
    assert Saddle().minimum == -math.inf


def test_the_minimum_is_the_lowest_of_the_window():
    for surface in SURFACES:
        if surface.dimension == 2 and surface.minimizers:
            (x0, x1), (y0, y1) = surface.bounds
            x, y = torch.meshgrid(torch.linspace(x0, x1, 201), torch.linspace(y0, y1, 201), indexing="ij")
            values = surface(torch.stack([x, y], dim=-1).double())
            assert values.min() >= surface.minimum - 1e-12, surface.name


@every_surface
def test_window_and_start_fit(surface):
    assert len(surface.start) == surface.dimension
    if surface.dimension == 2:
        for point in (*surface.minimizers, surface.start):
            assert all(low <= v <= high for v, (low, high) in zip(point, surface.bounds, strict=True))


@every_surface
def test_a_batch_is_its_points_one_by_one(surface):
    batch = torch.randn(4, 3, surface.dimension, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = surface(batch)
    assert values.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            torch.testing.assert_close(values[i, j], surface(batch[i, j]), rtol=1e-14, atol=1e-14)


@every_surface
def test_type_follows_the_point_and_the_state_is_empty(surface):
    assert surface(torch.ones(surface.dimension)).dtype == torch.float32
    assert surface(torch.ones(surface.dimension, dtype=torch.float64)).dtype == torch.float64
    assert surface.state_dict() == {}


def test_expression_reads_like_the_formula():
    x, y = sympy.symbols("x y", real=True)
    assert sympy.expand(Booth().expression()[1] - REFERENCE["booth"][1]([x, y])) == 0
    assert [str(s) for s in Rastrigin(dimension=3).expression()[0]] == ["x1", "x2", "x3"]


def test_a_surface_can_be_copied_after_its_derivatives_were_taken():
    surface = Booth()
    surface.gradient_at([0.0, 0.0])
    assert copy.deepcopy(surface).gradient_at([0.0, 0.0]).tolist() == [
        -34.0,
        -38.0,
    ]  # from the expanded formula


def test_start_is_one_number_for_all_or_all_of_them():
    assert Quadratic(3, start=2).start == (2.0, 2.0, 2.0)
    assert Quadratic(2, start=[1, 3]).start == (1.0, 3.0)
    assert Rosenbrock(4).start == (-1.2, 1.0, -1.2, 1.0)


def test_names():
    assert [StyblinskiTang().name, Saddle().name] == ["styblinski_tang", "saddle"]


@pytest.mark.parametrize("shape", [(), (3,), (64, 10), (2, 1)])
def test_a_prediction_of_another_dimension_is_refused(shape):
    message = r"himmelblau takes points of dimension 2, got a prediction of shape .*model=point.*dimension 2 only"
    with pytest.raises(ValueError, match=message):
        Himmelblau()(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"rastrigin takes points of dimension 7.*every dimension from 1 on"):
        Rastrigin(7)(torch.zeros(shape))


def test_a_target_is_refused():
    with pytest.raises(ValueError, match=r"booth is a surface.*data=none"):
        Booth()(torch.zeros(2), torch.zeros(2))


@pytest.mark.parametrize("surface", [Himmelblau, Beale, Booth, Saddle])
@pytest.mark.parametrize("dimension", [1, 3, -2, 2.0, True, "2"])
def test_surfaces_of_the_plane_have_no_other_dimension(surface, dimension):
    message = rf"has no dimension {dimension!r} .*dimension 2 only; any dimension: loss=quadratic, rosenbrock"
    with pytest.raises(ValueError, match=message):
        surface(dimension)


@pytest.mark.parametrize(
    ("surface", "dimension", "smallest"),
    [(Quadratic, 0, 1), (Rosenbrock, 1, 2), (Rastrigin, 0, 1), (Ackley, -1, 1), (StyblinskiTang, 1.5, 1)],
)
def test_too_small_a_dimension_is_refused(surface, dimension, smallest):
    with pytest.raises(ValueError, match=rf"no dimension {dimension} .*every dimension from {smallest} on"):
        surface(dimension)


@pytest.mark.parametrize("condition", [0.5, 0, -1, math.inf, math.nan, "ten"])
def test_a_condition_below_one_is_refused(condition):
    with pytest.raises(ValueError, match=r"quadratic has no condition number .*any finite number from 1 on"):
        Quadratic(condition=condition)


@pytest.mark.parametrize("start", [[1.0], [1.0, 2.0, 3.0], "12"])
def test_a_start_of_another_dimension_is_refused(start):
    with pytest.raises(ValueError, match=r"booth has dimension 2, and loss.start is .*give 2 numbers"):
        Booth(start=start)


def test_a_closed_form_is_for_one_point():
    with pytest.raises(ValueError, match=r"booth takes one point of 2 numbers here, got an array of shape \[3\]"):
        Booth().gradient_at([1.0, 2.0, 3.0])


def test_a_surface_without_formula_says_so():
    with pytest.raises(NotImplementedError, match=r"without a formula\(p, m\): write one"):
        Surface()(torch.zeros(2))


def test_a_cliff_has_as_many_steps_as_it_is_given():
    even = Cliff(steps=4)
    assert even.minimizers == ((1.0, 1.0), (-1.0, 1.0))
    assert [autograd(even, point)[0] for point in even.minimizers] == [0, 0]
    assert autograd(even, (2.0, 1.0))[1].tolist() == [15 * 4 * 8, 15 * 16]  # (2⁴ − 1)·4·2³ and (2⁴ − 1)·2⁴


@pytest.mark.parametrize("steps", [0, -1, 2.0, None, True])
def test_a_cliff_needs_a_whole_number_of_steps(steps):
    with pytest.raises(ValueError, match=r"a whole number of times from 1 on \(loss.steps\), got"):
        Cliff(steps=steps)
