"""Choices, entry by entry: the larger, the smaller, the clamped, the masked.

Each output entry is one of the input entries, or a constant. The one chosen has the local derivative 1, the others
0. At a tie of two tensors each gets a half.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
CHOICE = Family()


def _only(g: Tensor, condition: Tensor) -> Tensor:
    """The upstream gradient where the condition holds, 0 elsewhere (also for an infinite one: no 0·∞)."""
    return torch.where(condition, g, 0)


# --- two tensors --------------------------------------------------------------------------------------------


@CHOICE.pointwise(aten.maximum.default, "y = max(a, b)", "∂y/∂a = 1 where a > b, ½ where a = b, else 0", reads="a b")
def maximum(y, a, b):
    return lambda: _beats(a, b), lambda: _beats(b, a)


@CHOICE.pointwise(aten.minimum.default, "y = min(a, b)", "∂y/∂a = 1 where a < b, ½ where a = b, else 0", reads="a b")
def minimum(y, a, b):
    return lambda: _beats(b, a), lambda: _beats(a, b)


def _beats(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(a == b, 0.5, (a > b).to(torch.result_type(a, b)))


@CHOICE.vjp(
    aten.fmax.default,
    "y = the larger of a and b; NaN counts as smaller",
    "1 for the chosen, else 0",
    reads="a b",
)
def fmax(g, y, a, b):
    is_a = (a >= b) | b.isnan()
    return lambda: _only(g, is_a), lambda: _only(g, ~is_a)


@CHOICE.vjp(
    aten.fmin.default,
    "y = the smaller of a and b; NaN counts as larger",
    "1 for the chosen, else 0",
    reads="a b",
)
def fmin(g, y, a, b):
    is_a = (a <= b) | b.isnan()
    return lambda: _only(g, is_a), lambda: _only(g, ~is_a)


@CHOICE.vjp(
    aten.where.self,
    "y = a where the condition holds, else b",
    "∂y/∂a = 1 where it holds, ∂y/∂b = 1 where it does not",
    reads="condition",
)
def where(g, y, condition, a, b):
    return None, lambda: _only(g, condition), lambda: _only(g, ~condition)


# --- bounds -------------------------------------------------------------------------------------------------

CLAMPED = "1 between the bounds (at a bound too), 0 outside"


@CHOICE.vjp(aten.clamp.default, "y = x, but at least low and at most high", CLAMPED, reads="x")
def clamp(g, y, x, low=None, high=None):
    return _only(g, _inside(x, low, high))


@CHOICE.vjp(aten.clamp_min.default, "y = max(x, low)", CLAMPED, reads="x")
def clamp_min(g, y, x, low):
    return _only(g, x >= low)


@CHOICE.vjp(aten.clamp_max.default, "y = min(x, high)", CLAMPED, reads="x")
def clamp_max(g, y, x, high):
    return _only(g, x <= high)


@CHOICE.vjp(
    aten.clamp.Tensor,
    "y = x, but at least low and at most high; high wins where low > high",
    "1 for x between the bounds (at a bound too), 1 for the bound that took its place, else 0",
    reads="x low high",
)
def clamp_by_tensors(g, y, x, low=None, high=None):
    def below():
        return _only(g, x < low if high is None else (x < low) & (low < high))

    def above():
        return _only(g, x > high if low is None else (x > high) | (low > high))

    return lambda: _only(g, _inside(x, low, high)), below, above


@CHOICE.vjp(aten.clamp_min.Tensor, "y = max(x, low)", CLAMPED + "; 1 for the bound there", reads="x low")
def clamp_min_by_tensor(g, y, x, low):
    return lambda: _only(g, x >= low), lambda: _only(g, x < low)


@CHOICE.vjp(aten.clamp_max.Tensor, "y = min(x, high)", CLAMPED + "; 1 for the bound there", reads="x high")
def clamp_max_by_tensor(g, y, x, high):
    return lambda: _only(g, x <= high), lambda: _only(g, x > high)


def _inside(x: Tensor, low: Tensor | float | None, high: Tensor | float | None) -> Tensor:
    if low is None or high is None:
        return x >= low if high is None else x <= high  # type: ignore[operator]
    return (x >= low) & (x <= high)


# --- masks and random choices -------------------------------------------------------------------------------


@CHOICE.vjp(
    (aten.masked_fill.Scalar, aten.masked_fill.Tensor),
    "y = value where the mask is set, else x",
    "∂y/∂x = 1 where it is not set, ∂y/∂value = 1 where it is",
    reads="mask",
)
def masked_fill(g, y, x, mask, value):
    return lambda: g.masked_fill(mask, 0), None, lambda: _only(g, mask).sum()


@CHOICE.vjp(
    aten.nan_to_num.default,
    "y = x, with numbers in place of NaN and ±∞",
    "1 where x is finite, else 0",
    reads="x",
)
def nan_to_num(g, y, x, nan=None, posinf=None, neginf=None):
    return _only(g, x.isfinite())


@CHOICE.vjp(
    aten.native_dropout.default,
    "y = x · mask / (1 − p): a random mask drops entries with probability p",
    "mask / (1 − p)",
    reads="y",
)
def dropout(g, y, x, p, train=True):
    mask = y[1]
    return g[0] * mask * (1 / (1 - p) if p < 1 else 0) if train else g[0]


@CHOICE.vjp(
    (
        aten.bernoulli.default,
        aten.bernoulli.p,
        aten.bernoulli.Tensor,
        aten.uniform.default,
        aten.normal_functional.default,
        aten.normal_.default,  # its twin that writes nothing has another name, normal_functional
        aten.normal.Tensor_Tensor,
        aten.normal.Tensor_float,
        aten.normal.float_Tensor,
        aten.exponential.default,
        aten.log_normal.default,
        aten.cauchy.default,
        aten.geometric.default,
        aten.poisson.default,
    ),
    "y = random numbers",
    "0: the numbers drawn are taken as constants",
)
def random(g, y, *arguments, **options):
    return lambda: torch.zeros_like(g), lambda: torch.zeros_like(g)
