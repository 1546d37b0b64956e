"""The symbolic witness: its table against autograd, its exactness against closed forms, and its refusals."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, Count, X, problem
from torch import nn
from torch.nn import functional as F

from gradlab.checking.targets import problem_of, target_of
from gradlab.witnesses import CannotSay, Variable
from gradlab.witnesses import symbolic as symbolic_module
from gradlab.witnesses.symbolic import Symbolic
from gradlab.witnesses.symbols import OPERATIONS

EXACT = {"rtol": 1e-13, "atol": 1e-13}
M = torch.tensor([[0.4, -0.3, 0.7], [0.2, 0.9, -0.6]], dtype=F64)
UNIT = torch.tensor([0.3, -0.5, 0.8], dtype=F64)
MASK = torch.tensor([True, False, True])


def slopes(made, name=None, places=None):
    name = name or next(iter(made.variables))
    every = torch.arange(made.variables[name].tensor.numel())
    return Symbolic(made).slopes(name, every if places is None else places)


# The function, and where; every entry of the argument is asked about.
TABLE = {
    "elementary": (lambda x: x.exp() + x.cos() + x.tan() + x.sinh() + x.cosh() + x.erf() + x.erfc(), UNIT),
    "inverse": (lambda x: x.asin() + x.acos() + x.atan() + x.asinh() + x.atanh() + (x + 2).acosh(), UNIT),
    "logarithms": (lambda x: x.log() + x.log2() + x.log10() + x.log1p() + x.exp2() + x.expm1(), UNIT.abs()),
    "powers": (lambda x: x**3 + x.abs() ** 0.5 + 2**x + x.square() + x.abs().rsqrt() + 1 / x + x.reciprocal(), UNIT),
    "gamma": (lambda x: x.lgamma(), UNIT.abs()),
    "gates": (lambda x: x.sigmoid() + F.silu(x) + F.softplus(x, 2.0) + x.tanh(), UNIT),
    "arithmetic": (lambda x: torch.add(x, x.flip(0), alpha=2) - torch.sub(1, x, alpha=3) + (2 - x) / (3 + x), UNIT),
    "fused": (lambda x: torch.addcmul(x, x, x, value=2) + torch.addcdiv(x, x, x + 2) + torch.atan2(x, x + 2), UNIT),
    "pieces": (lambda x: x.relu() + x.abs() * 2 + x.maximum(x * 2) + x.clamp_min(0.1) + x.clamp_max(0.1), UNIT),
    "choices": (lambda x: torch.where(x > 0, x * x, 3 * x) + x.masked_fill(MASK, 2.0) * x * (x != 0), UNIT),
    "rows": (lambda x: x.softmax(1) * M + x.log_softmax(0), M),
    "sums": (lambda x: x.sum(0).exp().sum() * x.mean(1, keepdim=True) + x.sum((0, 1)) ** 2 + x.mean(), M),
    "matrices": (lambda x: x @ x.t() @ x + torch.addmm(x[0], x @ x.t(), x, beta=2, alpha=0.5), M),
    "batches": (lambda x: torch.baddbmm(x.expand(2, 2, 3), torch.stack([x @ x.t()] * 2), x.expand(2, 2, 3)), M),
    "vectors": (lambda x: (x @ x[0]).exp() + x[0].dot(x[1]), M),
    "shapes": (lambda x: x.t().reshape(2, 3).unsqueeze(0).transpose(0, 2).permute(2, 1, 0).squeeze(2) ** 2 * M, M),
    "parts": (lambda x: x[0, 1:] * x[1, ::2] + torch.cat([x[:, 0].sin(), x[1].cos()])[1:3], M),
    "pieces of it": (lambda x: x.split(2, 1)[0][:, 0] * x.unbind(1)[2] + x.split([1, 2], 1)[1].sum(1) ** 2, M),
    "chosen": (lambda x: x[:, [2, 0, 0]] ** 2 * x[[1, 0]] + x.index_select(1, torch.tensor([1, 1, 2])), M),
    "errors": (lambda x: F.mse_loss(x, M.flip(0)) + F.mse_loss(x, x**2, reduction="sum"), M),
    "written": (lambda x: torch.zeros(3, dtype=F64).copy_(x).mul_(x).add_(x.exp()), UNIT),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table_against_autograd(case):
    function, x = TABLE[case]
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(function(leaf).sum(), leaf)
    torch.testing.assert_close(slopes(problem(function, x)), expected.reshape(-1), **EXACT)


def test_it_is_more_exact_than_the_numbers_of_a_double():
    """d/dx (eˣ − x) = eˣ − 1: in doubles the difference costs ten digits at x = 1e-10."""
    x = torch.tensor([1e-10], dtype=F64)
    assert slopes(problem(lambda x: x.exp() - x, x)).item() == math.expm1(1e-10)
    leaf = x.clone().requires_grad_()
    (doubles,) = torch.autograd.grad((leaf.exp() - leaf).sum(), leaf)
    assert abs(doubles.item() / math.expm1(1e-10) - 1) > 1e-9


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=5), st.integers(-20, 20))
def test_quotients_of_polynomials_in_exact_fractions(coefficients, eighths):
    """p / (x² + 1) by Horner's scheme, against the rule for quotients in Python's fractions."""

    def horner(c, x):
        total = c[0] * x**0
        for each in c[1:]:
            total = total * x + each
        return total

    x = Fraction(eighths, 8)
    n = len(coefficients) - 1
    slope = sum(c * (n - k) * x ** (n - k - 1) for k, c in enumerate(coefficients) if k < n)
    expected = (slope * (x * x + 1) - horner(coefficients, x) * 2 * x) / (x * x + 1) ** 2
    at = torch.tensor([float(x)], dtype=F64)
    found = slopes(problem(lambda x: horner(coefficients, x) / (x * x + 1), at)).item()
    assert found == pytest.approx(float(expected), rel=1e-15, abs=1e-25)


# --- contents, captured tensors, large variables ----------------------------------------------------------------


def test_a_content_that_was_overwritten_counts_as_it_was():
    """(c + x)² with c = 2, where the addition overwrites c: the slope is 2·(2 + x)."""
    found = slopes(problem(lambda x: torch.full((3,), 2.0, dtype=F64).add_(x).pow(2), X))
    torch.testing.assert_close(found, 2 * (2 + X), **EXACT)


def test_a_buffer_that_is_written():
    assert slopes(problem(Count(), X)).tolist() == [2.0, 2.0, 2.0]


def test_a_captured_tensor():
    w = torch.tensor([1.0, 2.0, 3.0], dtype=F64, requires_grad=True)
    target = target_of(lambda x: x * w**2)
    made = problem_of(target, (X,), {}, torch.sum, [Variable("w", "captured", w)])
    torch.testing.assert_close(slopes(made, "w"), 2 * X * w.detach(), **EXACT)


def test_a_parameter_that_a_module_keeps_twice():
    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(X.clone())
            self.kept = [self.w]

        def forward(self, x):
            return x * self.w * self.kept[0]

    torch.testing.assert_close(slopes(problem(Kept(), torch.ones(3, dtype=F64)), "w"), 2 * X, **EXACT)


def test_single_entries_of_a_large_variable():
    """Of tanh(W·x) by W[i, j]: (1 − tanh²(W·x)ᵢ)·xⱼ, with 20,000 entries in W."""
    generator = torch.Generator().manual_seed(0)
    w, x = (torch.randn(shape, generator=generator, dtype=F64) / 10 for shape in ((100, 200), (200,)))
    found = slopes(problem(lambda w, x: (w @ x).tanh(), w, x), "w", torch.tensor([0, 5 * 200 + 7]))
    slope = 1 - (w @ x).tanh() ** 2
    torch.testing.assert_close(found, torch.stack([slope[0] * x[0], slope[5] * x[7]]), **EXACT)


def test_what_the_function_does_not_use_has_slope_zero():
    assert slopes(problem(lambda x, y: x * 2, X, X), "y").tolist() == [0.0, 0.0, 0.0]


def test_nested_functions_take_no_longer_than_their_number():
    """sin(sin(…x)), 25 deep, whose slope is the product of the cosines; sympy's own evaluation takes 2²⁵ steps."""
    x, expected = 0.7, 1.0
    for _ in range(25):
        expected, x = expected * math.cos(x), math.sin(x)

    def function(x):
        for _ in range(25):
            x = x.sin()
        return x

    found = slopes(problem(function, torch.tensor([0.7], dtype=F64))).item()
    assert found == pytest.approx(expected, rel=1e-14)


def test_a_function_that_differentiates_itself():
    """The second derivative of x³, 6x."""

    def function(x):
        return torch.autograd.grad((x**3).sum(), x, create_graph=True)[0]

    torch.testing.assert_close(slopes(problem(function, X)), 6 * X, **EXACT)


def test_single_precision():
    torch.testing.assert_close(slopes(problem(torch.sin, X.float())), X.float().double().cos(), rtol=1e-7, atol=1e-7)


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return g * 3.003 * ctx.saved_tensors[0] ** 2


def test_it_does_not_look_at_a_wrong_backward():
    torch.testing.assert_close(slopes(problem(WrongBackward.apply, X)), 3 * X**2, **EXACT)


def test_an_error_in_the_table_does_not_get_through(monkeypatch):
    right, x = OPERATIONS["sin"], X[:1]
    monkeypatch.setitem(OPERATIONS, "sin", lambda x: right(x) * 1.000001)
    with pytest.raises(CannotSay, match="L is not what its operations say"):
        slopes(problem(torch.sin, x))


# --- where it cannot tell ---------------------------------------------------------------------------------------


def chain(step, count):
    def function(x):
        for _ in range(count):
            x = step(x)
        return x

    return function


ZERO = torch.zeros(1, dtype=F64)
REFUSED = {
    "an operation without a line": (torch.special.i0, X, "i0 is not in the table"),
    "another use of one": (lambda x: torch.div(x, 2, rounding_mode="floor"), X, "does not cover this use of div"),
    "a kink": (torch.relu, ZERO, "at a kink or a jump of relu"),
    "a jump": (lambda x: torch.where(x >= 0, x + 1, x), ZERO, "at a kink or a jump of ge"),
    "whole numbers": (lambda x: x * x.to(torch.int64), X, "_to_copy makes whole numbers"),
    "a number of Python's": (lambda x: x * x[0].item(), X, "_local_scalar_dense is not in the table"),
    "a number of NumPy's": (lambda x: x + torch.from_numpy(np.sin(x.detach().numpy())), X, "L is not what its oper"),
    "no slope": (torch.sqrt, ZERO, "no (real|finite) value"),
    "not finite": (torch.log, -X.abs(), "no real value|L is not finite"),
    "many operations": (chain(lambda x: x + 1, 250), X, "too large: 25. operations"),
    "many terms": (chain(lambda x: x + 1 / (x + 3), 12), X.abs(), "too large: more than"),
    "deep nesting": (chain(lambda x: torch.sin(x * 1.1), 99), X, "too large"),
    "large products": (
        lambda x: torch.ones(300, 3, dtype=F64) @ x.expand(300, 3).t(),
        X,
        "too large: a matrix product",
    ),
    "half precision": (lambda x: x * x, X.half(), "too coarse in half precision"),
    "sparse tensors": (lambda x: x.to_sparse(), X, "sparse tensors take part"),
    "complex numbers": (lambda x: torch.complex(x, x).abs(), X, "not in the table|complex numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_cannot_tell_it_says_why(case):
    function, x, reason = REFUSED[case]
    with pytest.raises(CannotSay, match=reason):
        slopes(problem(function, x))


def test_the_limits_are_what_the_messages_say(monkeypatch):
    monkeypatch.setattr(symbolic_module, "MOST_NUMBERS", 2)
    with pytest.raises(CannotSay, match="3 numbers in one tensor"):
        slopes(problem(torch.sin, X))
