"""The complex step: exact where it answers, and a reason wherever the function has no analytic continuation."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, Count, X, problem
from torch import nn

from gradlab.checking.targets import problem_of, target_of
from gradlab.witnesses import CannotSay
from gradlab.witnesses.complex_step import ComplexStep


def slopes(made, name=None):
    name = name or next(iter(made.variables))
    return ComplexStep(made).slopes(name, torch.arange(made.variables[name].tensor.numel()))


def squire_trapp(x, of):
    """The example of Squire and Trapp (1998): eˣ / (sin³x + cos³x)."""
    return of.exp(x) / (of.sin(x) ** 3 + of.cos(x) ** 3)


def test_the_example_of_its_inventors_to_the_last_digit():
    with mpmath.workdps(30):
        expected = float(mpmath.diff(lambda x: squire_trapp(x, mpmath), mpmath.mpf("1.5")))
    (found,) = slopes(problem(lambda x: squire_trapp(x, torch), torch.tensor([1.5], dtype=F64))).tolist()
    assert found == pytest.approx(expected, rel=4e-16)


def test_it_is_as_exact_where_differences_lose_half_of_their_digits():
    """f′ of x^4.5 at 1e-8, beside a constant of 1."""
    found = slopes(problem(lambda x: 1 + x.pow(4.5), torch.tensor([1e-8], dtype=F64)))
    assert found.item() == pytest.approx(4.5 * 1e-8**3.5, rel=1e-14)


# A slope of less than 1e-278 is lost: times the step of 8e-31 it lies below the smallest normal number, 2e-308.
COEFFICIENTS = st.floats(-5, 5).map(lambda c: c if abs(c) > 1e-200 else 0.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(COEFFICIENTS, min_size=1, max_size=6), st.floats(-2, 2))
def test_polynomials(coefficients, at):
    """By Horner's scheme, against NumPy's derivative of the coefficients."""

    def horner(x):
        total = torch.zeros_like(x)
        for c in coefficients:
            total = total * x + c
        return total

    expected = np.polyval(np.polyder(np.array(coefficients)), at)
    scale = sum(abs(c) * 10 * 2.0**n for n, c in enumerate(reversed(coefficients)))
    found = slopes(problem(horner, torch.tensor([at], dtype=F64))).item()
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-14 * scale)


@pytest.mark.parametrize("name", ["input", "0.weight", "0.bias", "2.weight"])
def test_a_network(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Sigmoid()).double()
    made = problem_of(target_of(model), (torch.randn(5, 3, dtype=F64),), {}, None)
    (expected,) = torch.autograd.grad(made.value(), made.variables[name].tensor)
    torch.testing.assert_close(slopes(made, name), expected.reshape(-1), rtol=1e-13, atol=1e-13)


def test_other_arguments_stay_real_where_that_suffices():
    """A comparison of y does not keep the slope by x from being known; that by y itself cannot be."""
    made = problem(lambda x, y: x * x * (y > 0), X, X.flip(0))
    assert slopes(made, "x").tolist() == [0.6, 0.0, 4.0]
    with pytest.raises(CannotSay, match="does not run on complex numbers"):
        slopes(made, "y")


def test_other_floating_arguments_become_complex_where_that_is_needed():
    """∂(Σ W·x)/∂x is the sum of W's columns, and W, which asks for no gradient, has to be complex for matmul."""
    w = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=F64)
    assert slopes(problem(lambda x, w: w @ x, X.clone().requires_grad_(), w), "x").tolist() == [5.0, 7.0, 9.0]


def test_constants_that_each_call_makes_of_pythons_numbers():
    found = slopes(problem(lambda x: x * torch.tensor([1.0, 2.0, 3.0], dtype=F64), X))
    assert found.tolist() == [1.0, 2.0, 3.0]


def test_a_buffer_that_is_written():
    assert slopes(problem(Count(), X)).tolist() == [2.0, 2.0, 2.0]


def test_what_the_function_does_not_use_has_slope_zero():
    assert slopes(problem(lambda x, y: x * 2, X, X), "y").tolist() == [0.0, 0.0, 0.0]


def test_a_function_that_is_another_one_without_gradients():
    found = slopes(problem(lambda x: x * x * x if torch.is_grad_enabled() else x, X))
    torch.testing.assert_close(found, 3 * X**2, rtol=1e-14, atol=0)


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return g * 3.003 * ctx.saved_tensors[0] ** 2


def test_it_does_not_look_at_a_wrong_backward():
    torch.testing.assert_close(slopes(problem(WrongBackward.apply, X)), 3 * X**2, rtol=1e-14, atol=0)
    leaf = X.clone().requires_grad_()
    (backward,) = torch.autograd.grad(WrongBackward.apply(leaf).sum(), leaf)
    torch.testing.assert_close(backward, 3.003 * X**2)


# --- where it cannot tell ---------------------------------------------------------------------------------------

SPD = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)


def conjugate_hidden_in_a_flag(x):
    return torch.linalg.lu_solve(x, torch.tensor([1, 2], dtype=torch.int32), x, adjoint=True)


def through_numpy(x):
    return x + torch.from_numpy(np.abs(x.detach().numpy()))


def through_numpy_in_one_piece(x):
    return x + torch.from_numpy(x.detach().numpy() * 2)


REFUSED = {
    # (−1.2)⁴ by e^(4·log z): rounding makes 1e-16 of the imaginary part, a slope of 1e14.
    "a power of a negative number": (lambda x: x**4, X, "does not shrink with the step"),
    "a singular point": (torch.sqrt, torch.zeros(1, dtype=F64), "does not shrink with the step"),
    "a size": (lambda x: x + x.abs(), X, "abs is not analytic: of complex numbers it makes float64"),
    "a variance": (lambda x: x + x.var(), X, "var is not analytic"),
    "a norm": (lambda x: x / x.norm(), X, "norm is not analytic"),
    "a sign": (lambda x: x * torch.sgn(x), X, "sgn is not analytic"),
    "a conjugate": (lambda x: x * x.conj() if x.is_complex() else x * x, X, "_conj is not analytic"),
    "a Hermitian matrix": (torch.linalg.cholesky, SPD, "linalg_cholesky_ex is not analytic"),
    "a choice of pivots": (lambda x: torch.linalg.lu_factor(x)[0], SPD, "linalg_lu_factor_ex is not analytic: .*int32"),
    "a hidden conjugate": (conjugate_hidden_in_a_flag, SPD, "linalg_lu_solve is not analytic"),
    "whole numbers": (lambda x: x * x.to(torch.int64), X, "_to_copy is not analytic: .* int64"),
    "an equality": (lambda x: torch.where(x == 0, x, 2 * x), X, "eq is not analytic: .* bool"),
    "a number of Python's": (lambda x: x * x[0].item(), X, "takes a number out of the tensors"),
    "a real number of NumPy's": (through_numpy, X, "leave PyTorch, for NumPy or Python"),
    "a complex number of NumPy's": (through_numpy_in_one_piece, X, "leave PyTorch, for NumPy or Python"),
    "a complex constant": (lambda x: x + 0 * torch.view_as_real(_spin).sum() + (x * _spin).real, X, "from outside"),
    "a comparison": (lambda x: torch.where(x > 0, x, 2 * x), X, "does not run on complex numbers"),
    "an assertion": (lambda x: _asserted(x), X, "does not run on complex numbers: real numbers only"),
    "a kernel for real numbers": (lambda x: x.softmax(0), X, "does not run on complex numbers: .*softmax"),
    "not finite": (torch.log, -X.abs(), "L is not finite"),
}
_spin = torch.tensor([1j, 1j, 1j], dtype=torch.complex128)


def _asserted(x):
    assert not x.is_complex(), "real numbers only"
    return x


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_cannot_tell_it_says_why(case):
    function, x, reason = REFUSED[case]
    with pytest.raises(CannotSay, match=reason):
        slopes(problem(function, x))


def test_a_complex_output():
    with pytest.raises(CannotSay, match="the output is complex"):
        slopes(problem(lambda x: torch.complex(x, x), X, loss=None))


def test_another_variable_in_a_lower_precision():
    with pytest.raises(CannotSay, match="needs float64, and y is float32"):
        slopes(problem(lambda x, y: x * y, X, X.float()), "x")


def test_a_parameter_that_a_module_keeps_twice():
    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(X.clone())
            self.kept = [self.w]

        def forward(self, x):
            return x * self.w * self.kept[0]

    with pytest.raises(CannotSay, match="w is also used from another place"):
        slopes(problem(Kept(), torch.ones(3, dtype=F64)), "w")


def test_a_step_leaves_no_trace():
    made = problem(torch.exp, X)
    before = made.value().item()
    assert slopes(made).tolist() == pytest.approx([math.exp(x) for x in X.tolist()], rel=1e-15)
    assert made.value().item() == before
    assert made.leaves[0].dtype is F64
