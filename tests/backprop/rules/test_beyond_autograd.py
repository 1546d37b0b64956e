"""Where autograd is wrong, or less precise than it could be: mathematics decides, or differences do.

For a loss L, (L(x + h) − L(x − h))/2h is ∂L/∂x but for an error of the order of h², and of ε·|L|/h by rounding.
"""

import pytest
import torch
import torch.nn.functional as F
from opinfo import Comparison, samples

import gradlab

D = torch.float64
STEP = 1e-5  # h² and ε/h are of the same order, 1e-10


def _numbers(*values):
    return torch.tensor(values, dtype=D, requires_grad=True)


def _random(*shape):
    return torch.randn(shape, dtype=D, generator=torch.Generator().manual_seed(0)).requires_grad_()


def _manual(function, *inputs):
    with gradlab.Tape() as tape:
        y = function(*inputs)
    gradients = tape.backward(y, torch.ones_like(y))
    return [gradients[x] for x in inputs]


def _differences(loss, inputs, which):
    """∂L/∂x for each entry of one input."""
    x, quotients = inputs[which].detach(), []
    for entry in range(x.numel()):
        step = torch.zeros(x.numel(), dtype=D).index_fill(0, torch.tensor(entry), STEP).reshape(x.shape)
        up, down = ([*inputs[:which], x + s, *inputs[which + 1 :]] for s in (step, -step))
        quotients.append((loss(*up) - loss(*down)) / (2 * STEP))
    return torch.stack(quotients).reshape(x.shape)


def _check_by_differences(function, inputs):
    comparison = Comparison(function, inputs)
    (upstream,) = comparison.upstream

    @torch.no_grad()
    def loss(*inputs):
        return (upstream.conj() * function(*inputs)).real.sum()

    for which, manual in enumerate(comparison.manual):
        torch.testing.assert_close(manual, _differences(loss, inputs, which), rtol=1e-6, atol=1e-8)


def _onto_the_rest(a):
    """The projection onto what is orthogonal to the columns of A: no matter which basis of it U ends with."""
    rest = torch.linalg.svd(a, full_matrices=True)[0][:, a.shape[1] :]
    return rest @ rest.T


BY_DIFFERENCES = {
    "nextafter, a = b": (torch.nextafter, (_numbers(1, 2, 3), _numbers(1, 3, 2))),
    "polar, r ≤ 0": (torch.polar, (_numbers(-2, 0, 1), _numbers(0.3, 0.4, 0.5))),
    "ldexp, a negative integer": (lambda a: torch.ldexp(a, torch.tensor([-1, -3, 2])), (_numbers(3, 4, 5),)),
    "det, rank 2 of 3": (torch.det, (_numbers([1, 2, 3], [4, 5, 6], [7, 8, 9]),)),
    "svd, the columns left over": (_onto_the_rest, (_random(4, 2),)),
}


@pytest.mark.parametrize("case", BY_DIFFERENCES)
def test_agrees_with_differences(case):
    _check_by_differences(*BY_DIFFERENCES[case])


@pytest.mark.parametrize("sample", range(7))
def test_as_strided_scatter_agrees_with_differences(sample):
    """Autograd gives x the gradient of the places that were replaced."""
    function, (x, piece, *place), options = samples("as_strided_scatter")[sample]
    _check_by_differences(lambda x, piece: function(x, piece, *place, **options), (x, piece))


COFACTORS = {
    "rank 2": ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[-3, 6, -3], [6, -12, 6], [-3, 6, -3]]),
    "rank 2, a row of zeros": ([[1, 2, 0], [0, 3, 4], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [8, -4, 3]]),
    "rank 1": ([[1, 2, 3], [2, 4, 6], [3, 6, 9]], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
}


@pytest.mark.parametrize("case", COFACTORS)
def test_the_gradient_of_a_determinant_is_its_cofactors(case):
    """det A = Σⱼ aᵢⱼ·cᵢⱼ, where the cofactor cᵢⱼ has nothing of row i in it. Autograd gives 0 at a singular A."""
    matrix, cofactors = COFACTORS[case]
    (gradient,) = _manual(torch.det, _numbers(*matrix))
    torch.testing.assert_close(gradient, torch.tensor(cofactors, dtype=D), rtol=0, atol=1e-12)


def test_coordinates_that_tie_share_the_gradient_of_a_largest_distance():
    """If all of them grow by h, so does the distance: their gradients add up to 1. Autograd gives 1 to each."""
    a, b = _numbers([1, 2, 0.5]), _numbers([0, 1, 0])
    to_a, to_b = _manual(lambda a, b: torch.cdist(a, b, p=torch.inf), a, b)
    assert to_a.tolist() == [[0.5, 0.5, 0]]
    assert to_b.tolist() == [[-0.5, -0.5, 0]]


def test_hardsigmoid_has_the_slope_of_one_sixth():
    """Autograd's 1/6 is a single-precision number, also in double precision."""
    (gradient,) = _manual(F.hardsigmoid, torch.linspace(-2.9, 2.9, 7, dtype=D, requires_grad=True))
    torch.testing.assert_close(gradient, torch.full((7,), 1 / 6, dtype=D), rtol=1e-15, atol=0)


@pytest.mark.parametrize("size", [1, 1e6, 1e30])
def test_the_exponential_of_a_matrix_keeps_its_precision_with_a_large_upstream(size):
    """In single precision, where autograd loses A beside a large upstream: a tenth is wrong at 1e6.

    For A = V·Λ·Vᵀ symmetric, exp(A + h·E) changes by V·(K∘Vᵀ·E·V)·Vᵀ, Kᵢⱼ = (exp λᵢ − exp λⱼ)/(λᵢ − λⱼ)
    (Daleckii and Krein), which is its own adjoint.
    """
    a, upstream = (_random(2, 3, 3) / 2).sum(0).detach(), _random(3, 3).detach()
    values, v = torch.linalg.eigh(a + a.T)
    gaps = values.unsqueeze(1) - values + torch.eye(3, dtype=D)
    k = (values.exp().unsqueeze(1) - values.exp()) / gaps + torch.diag(values.exp())
    expected = v @ (k * (v.T @ upstream @ v)) @ v.T
    x = (a + a.T).float().requires_grad_()
    with gradlab.Tape() as tape:
        y = torch.linalg.matrix_exp(x)
    found = tape.backward(y, upstream.float() * size)[x].double() / size
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
