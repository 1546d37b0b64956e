"""Every rule against autograd, over the sample inputs by which PyTorch tests its own operations.

`conforming.txt` names the operations that must agree: a name may be added to it, and none may quietly go.
"""

import pytest
import torch
from opinfo import CONFORMING, Comparison, operations, quiet, samples

import gradlab


def test_the_list_is_sorted_and_has_no_name_twice():
    assert sorted(set(CONFORMING)) == CONFORMING


def test_the_list_is_long():
    assert len(CONFORMING) >= 422


@quiet
@pytest.mark.parametrize("name", CONFORMING)
def test_agrees_with_autograd(name):
    assert name in operations(), f"this version of PyTorch has no OpInfo {name!r}"
    compared = 0
    for function, args, kwargs in samples(name):
        comparison = Comparison(function, args, kwargs)
        comparison.check()
        compared += len(comparison.inputs)
    assert compared > 0


def test_hardsigmoid_is_more_precise_than_autograd():
    """Autograd's 1/6 is a single-precision number, also in double precision."""
    x = torch.linspace(-2.9, 2.9, 7, dtype=torch.float64, requires_grad=True)
    comparison = Comparison(torch.nn.functional.hardsigmoid, (x,))
    torch.testing.assert_close(comparison.manual[0], comparison.upstream[0] / 6, rtol=1e-15, atol=0)
    comparison.check(rtol=1e-7)


@pytest.mark.parametrize("place", [((2, 2), (1, 2), 0), ((2, 2), (2, 1), 1), ((3,), (4,), 0)])
def test_as_strided_scatter_agrees_with_differences(place):
    """Where autograd gives x the gradient of the places that were replaced, the differences decide.

    The operation is linear, so that differences are exact but for rounding.
    """
    x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    piece = torch.randn(place[0], dtype=torch.float64, requires_grad=True)

    def scatter(x, piece):
        return torch.as_strided_scatter(x, piece, *place)

    comparison = Comparison(scatter, (x, piece))
    for i, (variable, manual) in enumerate(zip((x, piece), comparison.manual, strict=True)):
        for k in range(variable.numel()):
            step = torch.zeros(variable.numel(), dtype=torch.float64)
            step[k] = 1.0
            ahead = [v + step.reshape(v.shape) if j == i else v for j, v in enumerate((x, piece))]
            change = (scatter(*ahead) - scatter(x, piece)).detach()
            torch.testing.assert_close(manual.reshape(-1)[k], (change * comparison.upstream[0]).sum())


SHAPE_CHANGED = {
    "vector @ matrix": lambda x, w: x[0] @ w,
    "linear of a vector": lambda x, w: torch.nn.functional.linear(x[0], w),
    "quantile": lambda x, w: torch.quantile(x, 0.4, dim=0),
    "squeeze_": lambda x, w: (x.reshape(1, 9) * w.reshape(1, 9)).squeeze_(0) * 2,
    "lerp, then squeeze_": lambda x, w: torch.lerp(x.reshape(9, 1), w.reshape(9, 1), x.reshape(9, 1)).squeeze_(1),
}


@pytest.mark.parametrize("case", SHAPE_CHANGED)
def test_a_shape_that_changes_in_place(case):
    x, w = (torch.randn(3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    Comparison(SHAPE_CHANGED[case], (x, w)).check()


def test_a_conjugate_is_followed_or_refused():
    x = torch.randn(4, dtype=torch.complex128, requires_grad=True)
    try:
        comparison = Comparison(lambda x: (x.conj() * 2).abs(), (x,))
    except (gradlab.TapeError, gradlab.MissingRuleError):
        return
    comparison.check()
