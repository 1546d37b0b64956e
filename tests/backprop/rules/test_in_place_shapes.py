"""Shapes that an operation changes in place, and conjugates that are only a mark on a tensor."""

import pytest
import torch
from opinfo import Comparison

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


def test_a_conjugate_is_followed():
    x = torch.randn(4, dtype=torch.complex128, requires_grad=True)
    Comparison(lambda x: (x.conj() * 2).abs(), (x,)).check()
