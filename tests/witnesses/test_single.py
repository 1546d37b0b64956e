"""The witnesses of single entries against closed forms, and what they say where they cannot tell."""

import pytest
import torch
from problems import F64, SMOOTH, X, layer, problem
from torch import nn
from wrong_functions import Square

from gradlab.checking.targets import problem_of, target_of
from gradlab.losses import Beale, Himmelblau
from gradlab.witnesses import CannotSay
from gradlab.witnesses.complex_step import ComplexStep
from gradlab.witnesses.differences import Numeric
from gradlab.witnesses.forward import Forward
from gradlab.witnesses.moves import Moves
from gradlab.witnesses.symbolic import Symbolic

EVERY = torch.arange(3)


def numeric(made):
    return Numeric(Moves(made))


# The best central difference in float64 is good to ε^(2/3) = 4e-11 of a derivative whose scale is 1.
WITNESSES = {"forward": (Forward, 1e-14), "complex_step": (ComplexStep, 1e-14), "symbolic": (Symbolic, 1e-14)}
WITNESSES |= {"numeric": (numeric, 1e-9)}


PAIRS = [(w, c) for w in WITNESSES for c in SMOOTH if (w, c) != ("forward", "seen through detach")]


@pytest.mark.parametrize(("witness", "case"), PAIRS)
def test_the_closed_form(witness, case):
    make, tolerance = WITNESSES[witness]
    function, derivative = SMOOTH[case]
    made = problem(function, X)
    (name,) = made.variables
    expected = torch.tensor([derivative(x) for x in X.tolist()], dtype=F64)
    torch.testing.assert_close(make(made).slopes(name, EVERY), expected, rtol=tolerance, atol=tolerance)


def test_forward_mode_stops_at_detach():
    assert Forward(problem(lambda x: x.detach() * x, X)).slopes("x", EVERY).tolist() == X.tolist()


@pytest.mark.parametrize("witness", WITNESSES)
def test_parameters_of_a_module(witness):
    make, tolerance = WITNESSES[witness]
    made = problem_of(target_of(layer()), (X.reshape(1, 3),), {}, torch.sum)
    found = make(made).slopes("weight", torch.arange(6))
    torch.testing.assert_close(found, X.repeat(2), rtol=tolerance, atol=tolerance)
    bias = make(made).slopes("bias", torch.tensor([1]))
    torch.testing.assert_close(bias, torch.ones(1, dtype=F64), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("surface", [Himmelblau, Beale])
@pytest.mark.parametrize("witness", WITNESSES)
def test_surfaces_against_their_closed_form(witness, surface):
    make, tolerance = WITNESSES[witness]
    made, point = surface(), torch.tensor([1.2, 0.4], dtype=F64)
    found = make(problem(made, point, loss=None)).slopes("point", torch.arange(2))
    weight = float(problem_weight(made, point))
    expected = weight * torch.from_numpy(made.gradient_at(point))
    torch.testing.assert_close(found, expected, rtol=100 * tolerance, atol=100 * tolerance)


def problem_weight(surface, point):
    made = problem(surface, point, loss=None)
    made.settle()
    return made.weights[0]


@pytest.mark.parametrize("make", [Forward, numeric], ids=["forward", "numeric"])
def test_a_complex_variable_in_both_directions(make):
    """L = Re Σ z² = Σ a² − b², so ∂L/∂a + i·∂L/∂b = 2a − 2ib = 2·z̄."""
    z = torch.tensor([1 + 2j, -0.5j], dtype=torch.complex128)
    found = make(problem(lambda z: (z * z).real, z)).slopes("z", torch.arange(2))
    torch.testing.assert_close(found, 2 * z.conj().resolve_conj(), rtol=1e-8, atol=1e-8)


class WrongForward(Square):
    """y = x², with a forward-mode formula that is wrong."""

    @staticmethod
    def jvp(ctx, tangent):
        return 3 * tangent * ctx.saved_tensors[0]


def test_forward_mode_reports_what_a_wrong_jvp_says():
    made = problem(WrongForward.apply, X)
    (name,) = made.variables
    torch.testing.assert_close(Forward(made).slopes(name, EVERY), 3 * X)


class NoForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return 2 * g


_captured = torch.ones(3, dtype=F64, requires_grad=True)


def captured():
    from gradlab.witnesses.problem import Variable

    return problem_of(target_of(lambda x: x * _captured), (X,), {}, torch.sum, [Variable("w", "captured", _captured)])


REFUSED = [
    (Forward, lambda: problem(NoForward.apply, X), "jvp"),
    (ComplexStep, lambda: problem(torch.abs, X), "abs is not analytic"),
    (ComplexStep, lambda: problem(torch.relu, X), "not supported for complex"),
    (ComplexStep, lambda: problem(torch.sin, X.float()), "float64"),
    (ComplexStep, lambda: problem(lambda x: (x * x.conj()).real, X.to(torch.complex128)), "float64"),
    (ComplexStep, lambda: problem(lambda x: x * 2 if x.is_complex() else x, X), "another one for complex"),
    (Symbolic, lambda: problem(torch.special.i0, X), "i0 is not in the table"),
    (Symbolic, lambda: problem(lambda x: x.expand(9000, 3).sin(), X), "too large"),
    (Symbolic, lambda: problem(lambda z: z.real, X.to(torch.complex128)), "real variables"),
]


@pytest.mark.parametrize(("witness", "make", "reason"), REFUSED)
def test_where_a_witness_cannot_tell_it_says_why(witness, make, reason):
    made = make()
    with pytest.raises(CannotSay, match=reason):
        witness(made).slopes(next(iter(made.variables)), EVERY)


@pytest.mark.parametrize("witness", [Forward, ComplexStep])
def test_captured_tensors_cannot_be_replaced(witness):
    with pytest.raises(CannotSay, match="given"):
        witness(captured()).slopes("w", EVERY)


def test_symbols_for_the_operations_of_a_network():
    """Against autograd: a small network with most operations of the table."""

    def function(x):
        a = torch.stack([x, x.neg()]).reshape(2, 3)
        b = torch.nn.functional.silu(a) @ a.t()
        c = torch.cat([b, b.softmax(1).log()]).permute(1, 0)[:, 1:3].unsqueeze(0).squeeze(0)
        bent = torch.where(c > 0, c, c * 2).sum() + x.expand(2, 3).sum().relu()
        return c.mean() + bent + nn.functional.mse_loss(c, b)

    x = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(function(x).sum(), x)
    torch.testing.assert_close(Symbolic(problem(function, X)).slopes("x", EVERY), expected, rtol=1e-12, atol=1e-12)
