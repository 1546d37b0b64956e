"""Differences: their errors against closed forms, and what a sweep of steps says of kinks, edges and jumps."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, X, layer, problem

from gradlab.checking.targets import problem_of, target_of
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.moves import Moves
from gradlab.witnesses.numeric import central_differences, look_closely


def look(function, *x, place=0):
    made = problem(function, torch.tensor(x, dtype=F64))
    return look_closely(Moves(made), next(iter(made.variables)), place)


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-30, 30), scale=st.sampled_from([1e-12, 1.0, 1e9]))
def test_the_estimated_error_holds(x, scale):
    """The true error of the extrapolated difference is at most four times its estimate."""
    for function, derivative in ((torch.sin, math.cos(x)), (torch.atan, 1 / (1 + x * x))):
        slope = look(lambda t, f=function: scale * f(t), x).central
        assert abs(slope.value - scale * derivative) <= 4 * slope.error
        assert slope.error <= 1e-6 * scale


@pytest.mark.parametrize(
    ("function", "x", "left", "right"),
    [
        (lambda x: x.relu(), 0.0, 0, 1),
        (lambda x: x.abs(), 0.0, -1, 1),
        (lambda x: x.clamp(max=2), 2.0, 1, 0),
        (lambda x: torch.maximum(x, 2 * x - 1), 1.0, 1, 2),
    ],
)
def test_one_sided_slopes_at_a_kink(function, x, left, right):
    found = look(function, x)
    assert found.left.value == pytest.approx(left, abs=1e-9)
    assert found.right.value == pytest.approx(right, abs=1e-9)


def test_a_kink_close_by_is_no_kink_here():
    found = look(lambda x: x.relu(), 1e-6)
    assert found.central.value == pytest.approx(1, abs=4 * found.central.error + 1e-12)
    assert found.left.value == pytest.approx(1, abs=4 * found.left.error + 1e-12)


def test_the_edge_of_a_domain_has_one_slope_or_none():
    found = look(lambda x: (1 - x).pow(1.5), 1.0)  # slope −1.5·√(1 − x) = 0 from the left, undefined beyond
    assert not found.right.is_finite
    assert found.left.value == pytest.approx(0, abs=1e-3)
    assert not look(lambda x: x.sqrt(), 0.0).central.is_finite


def test_a_staircase_is_flat_between_its_steps():
    """round to three decimals has slope 0 almost everywhere, though large steps see its mean slope 1."""
    found = look(lambda x: x.round(decimals=3), 4.480518929)
    assert found.central.value == 0.0


def test_rounding_on_the_way_is_no_staircase():
    made = problem(lambda x: (1e6 + x) - 1e6, X)
    backward = Backward(made)
    found = look_closely(Moves(made, backward.epsilon, backward.noise), "x", 0)
    assert found.central.value == pytest.approx(1, abs=1e-3)


def test_all_at_once_equals_one_by_one():
    made = problem_of(target_of(layer()), (torch.randn(4, 3, dtype=F64),), {}, None)
    places = torch.arange(6)
    values = made.variables["weight"].tensor.detach().reshape(-1) + 0.1
    together, alone = Moves(made), Moves(made)
    rows, row_values = places.repeat(4), values.repeat(4)
    a, b = together.at("weight", rows, row_values), alone.at("weight", rows, row_values, one_by_one=True)
    assert together._batches == {"weight": True}
    torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


class Cached(torch.nn.Module):
    """Keeps a tensor where no copy can be put in its place: vmap would see nothing move."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(20, dtype=F64, generator=torch.Generator().manual_seed(0)))
        self.kept = [self.weight]

    def forward(self, x):
        return x * self.kept[0]


def test_a_parameter_that_vmap_cannot_reach_is_moved_in_a_loop():
    made = problem_of(target_of(Cached()), (torch.full((20,), 3.0, dtype=F64),), {}, torch.sum)
    moves = Moves(made)
    found = central_differences(moves, "weight", torch.arange(20))
    assert moves._batches == {"weight": False}
    torch.testing.assert_close(found, torch.full((20,), 3.0, dtype=F64), rtol=1e-8, atol=1e-8)


def test_data_dependent_python_goes_in_a_loop():
    made = problem(lambda x: x * 2 if x.sum() > 0 else x * 3, torch.ones(20, dtype=F64))
    moves = Moves(made)
    found = central_differences(moves, "x", torch.arange(20))
    assert moves._batches == {"x": False}
    torch.testing.assert_close(found, torch.full((20,), 2.0, dtype=F64), rtol=1e-8, atol=1e-8)
