"""Forward mode: many tangents at once and one by one, what it reports of a wrong jvp, and where it cannot tell."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, X, problem
from torch import nn
from wrong_functions import Square

from gradlab.checking.targets import problem_of, target_of
from gradlab.witnesses import CannotSay
from gradlab.witnesses.forward import Forward

MANY = torch.linspace(-2, 2, 40, dtype=F64)


def slopes(made, name=None, places=None):
    name = name or next(iter(made.variables))
    every = torch.arange(made.variables[name].tensor.numel())
    return Forward(made).slopes(name, every if places is None else places)


def counted(function):
    """The same function, and a list that grows with each call."""
    calls = []

    def call(x):
        calls.append(1)
        return function(x)

    return call, calls


def test_many_entries_go_together():
    function, calls = counted(torch.sin)
    torch.testing.assert_close(slopes(problem(function, MANY)), MANY.cos(), rtol=1e-14, atol=1e-14)
    assert len(calls) < len(MANY)


def test_a_value_that_steers_python_is_the_same_for_all_tangents():
    function, calls = counted(lambda x: x.sin() if x.sum().item() < 1 else x)
    torch.testing.assert_close(slopes(problem(function, MANY)), MANY.cos(), rtol=1e-14, atol=1e-14)
    assert len(calls) < len(MANY)


def test_a_function_without_a_rule_for_vmap_is_done_one_by_one():
    function, calls = counted(Square.apply)
    torch.testing.assert_close(slopes(problem(function, MANY)), 2 * MANY, rtol=1e-14, atol=1e-14)
    assert len(calls) > len(MANY)


class WrongJvp(Square):
    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx, tangent):
        return 2.001 * tangent * ctx.saved_tensors[0]


class WrongVmap(Square):
    @staticmethod
    def vmap(info, in_dims, x):
        return x * x + 1, in_dims[0]

    @staticmethod
    def jvp(ctx, tangent):
        return 2 * Shift.apply(tangent) * ctx.saved_tensors[0]


class Shift(torch.autograd.Function):
    """The identity, but not under vmap."""

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def vmap(info, in_dims, x):
        return x * 1.5, in_dims[0]


@pytest.mark.parametrize("x", [X, MANY], ids=["one by one", "together"])
def test_a_wrong_jvp_is_reported_as_it_is(x):
    found = slopes(problem(WrongJvp.apply, x))
    torch.testing.assert_close(found, 2.001 * x, rtol=1e-14, atol=1e-14)
    leaf = x.clone().requires_grad_()
    (backward,) = torch.autograd.grad(WrongJvp.apply(leaf).sum(), leaf)
    assert (found - backward).abs().max() > 9e-4 * x.abs().max()


def test_a_wrong_rule_for_vmap_does_not_get_through():
    torch.testing.assert_close(slopes(problem(WrongVmap.apply, MANY)), 2 * MANY, rtol=1e-14, atol=1e-14)


def test_a_function_that_differentiates_itself():
    """The second derivative of x³, 6x."""

    def function(x):
        return torch.autograd.grad((x**3).sum(), x, create_graph=True)[0]

    torch.testing.assert_close(slopes(problem(function, MANY)), 6 * MANY, rtol=1e-14, atol=1e-14)


def test_it_goes_on_under_no_grad():
    def function(x):
        with torch.no_grad():
            return x * x

    torch.testing.assert_close(slopes(problem(function, X)), 2 * X)


def test_what_the_function_does_not_use_has_slope_zero():
    assert slopes(problem(lambda x, y: x * 2, X, X), "y").tolist() == [0.0, 0.0, 0.0]


def test_an_expanded_tensor_has_entries_of_its_own():
    made = problem(lambda x: x * torch.tensor([1.0, 2.0, 3.0], dtype=F64), torch.ones(1, dtype=F64).expand(3))
    assert slopes(made).tolist() == [1.0, 2.0, 3.0]


def test_many_complex_entries():
    """L = Re Σ z², so ∂L/∂a + i·∂L/∂b = 2a − 2ib."""
    z = torch.complex(MANY, MANY.flip(0) + 0.5)
    expected = torch.complex(2 * z.real, -2 * z.imag)
    torch.testing.assert_close(slopes(problem(lambda z: (z * z).real, z)), expected, rtol=1e-14, atol=1e-14)


def test_single_precision():
    found = slopes(problem(torch.sin, MANY.float()))
    assert found.dtype is F64
    torch.testing.assert_close(found, MANY.cos(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["input", "0.weight", "1.weight", "1.bias"])
def test_a_network_that_writes_into_its_buffers(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 4)).double()
    made = problem_of(target_of(model), (torch.randn(5, 3, dtype=F64),), {}, lambda y: y.square().sum())
    (expected,) = torch.autograd.grad(made.value(), made.variables[name].tensor)
    torch.testing.assert_close(slopes(made, name), expected.reshape(-1), rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_a_quadratic_form(size, seed):
    """∂(xᵀAx)/∂x = (A + Aᵀ)x and ∂(xᵀAx)/∂A = x·xᵀ."""
    generator = torch.Generator().manual_seed(seed)
    a, x = (torch.randn(shape, generator=generator, dtype=F64) for shape in ((size, size), (size,)))
    made = problem(lambda a, x: x @ a @ x, a, x)
    torch.testing.assert_close(slopes(made, "x"), (a + a.t()) @ x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slopes(made, "a"), torch.outer(x, x).reshape(-1), rtol=1e-12, atol=1e-12)


# --- where it cannot tell ---------------------------------------------------------------------------------------


class Kept(nn.Module):
    """Uses its parameter a second time, through what ``keep`` makes of it.

    It cannot be copied: a copy's views would have memory of their own, and be constants.
    """

    def __init__(self, keep):
        super().__init__()
        self.w = nn.Parameter(X.clone())
        self.kept = [keep(self.w)]

    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")

    def forward(self, x):
        return x * self.w * self.kept[0]


class NoJvp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()


class BrokenJvp(NoJvp):
    @staticmethod
    def jvp(ctx, tangent):
        raise KeyError("nothing saved")


def grid(x):
    return nn.functional.grid_sample(x.reshape(1, 1, 2, 2), torch.zeros(1, 1, 1, 2, dtype=F64), align_corners=True)


REFUSED = {
    "no jvp": (NoJvp.apply, X, "NoJvp has no jvp"),
    "a jvp that fails": (BrokenJvp.apply, X, "the jvp of BrokenJvp raised: 'nothing saved'"),
    "no forward formula": (grid, torch.ones(4, dtype=F64), "grid_sampler_2d that does not support it"),
    # 2·3 by its first factor is 3; PyTorch says 0 (github.com/pytorch/pytorch/issues/196702).
    "a silent zero": (lambda x: x.scatter_reduce(0, torch.tensor([0]), x[1:2], "prod"), X, "scatter_reduce with prod"),
    "not finite": (lambda x: x.log(), X, "L is not finite"),
    "infinite": (lambda x: (x * 1e308).exp() + x, X, "L is not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_cannot_tell_it_says_why(case):
    function, x, reason = REFUSED[case]
    with pytest.raises(CannotSay, match=reason):
        slopes(problem(function, x))


@pytest.mark.parametrize("keep", [lambda w: w, lambda w: w.data, lambda w: w.detach()[1:].expand(3, 2)[:, :1].t()])
def test_a_parameter_that_a_module_keeps_twice(keep):
    made = problem(Kept(keep), torch.ones(3, dtype=F64))
    with pytest.raises(CannotSay, match="w is also used from another place"):
        slopes(made, "w")
    assert slopes(made, "x").shape == (3,)
