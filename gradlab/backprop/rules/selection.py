"""Reductions that choose: extremes, medians, sorting, norms. The gradient goes to the entries that were chosen."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import Dim, dims_of, keep
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
SELECTION = Family()

# --- one value chosen; entries equal to it share its gradient -----------------------------------------------

SHARED = "1/m for each of the m entries equal to y, else 0"


@SELECTION.vjp((aten.amax.default, aten.amin.default), "y = the largest (smallest) xᵢ", SHARED, reads="y x")
def extreme(g, y, x, dim=(), keepdim=False):
    return _share(keep(g, x, dim, keepdim), keep(y, x, dim, keepdim), x, dim)


@SELECTION.vjp(
    (aten.max.default, aten.min.default, aten.median.default, aten.nanmedian.default),
    "y = the largest (smallest, middle) xᵢ",
    SHARED,
    reads="y x",
)
def extreme_of_all(g, y, x):
    return _share(g, y, x, None)


@SELECTION.vjp(aten.aminmax.default, "y₁ = the smallest xᵢ, y₂ = the largest", SHARED, reads="y x")
def aminmax(g, y, x, dim=None, keepdim=False):
    parts = [
        _share(keep(gradient, x, dim, keepdim), keep(value, x, dim, keepdim), x, dim)
        for gradient, value in zip(g, y, strict=True)
        if gradient is not None
    ]
    return sum(parts)


def _share(g: Tensor, y: Tensor, x: Tensor, dim: Dim) -> Tensor:
    equal = (x == y) | (x.isnan() & y.isnan())
    return torch.where(equal, g / equal.sum(dims_of(x, dim), keepdim=True), 0) if x.dim() else g


# --- values chosen together with their places ---------------------------------------------------------------

CHOSEN = "1 for the entry at the place, else 0"


def _to_places(g: Tensor, places: Tensor, x: Tensor, dim: int) -> Tensor:
    return g.new_zeros(x.shape).scatter_add(dim, places, g) if x.dim() else g.reshape(())


@SELECTION.vjp(
    (
        aten.max.dim,
        aten.min.dim,
        aten.median.dim,
        aten.nanmedian.dim,
    ),
    "y, place = the largest (smallest, middle) xᵢ and its i",
    CHOSEN,
    reads="y",
)
def extreme_along(g, y, x, dim, keepdim=False):
    return _to_places(keep(g[0], x, dim, keepdim), keep(y[1], x, dim, keepdim), x, dim)


@SELECTION.vjp(aten.mode.default, "y, place = the most frequent xᵢ and its i", CHOSEN, reads="y")
def mode(g, y, x, dim=-1, keepdim=False):
    return _to_places(keep(g[0], x, dim, keepdim), keep(y[1], x, dim, keepdim), x, dim)


@SELECTION.vjp(aten.kthvalue.default, "y, place = the k-th smallest xᵢ and its i", CHOSEN, reads="y")
def kthvalue(g, y, x, k, dim=-1, keepdim=False):
    return _to_places(keep(g[0], x, dim, keepdim), keep(y[1], x, dim, keepdim), x, dim)


@SELECTION.vjp(aten.topk.default, "y, places = the k largest xᵢ and their i", CHOSEN, reads="y")
def topk(g, y, x, k, dim=-1, largest=True, sorted=True):
    return _to_places(g[0], y[1], x, dim)


@SELECTION.vjp((aten.sort.default, aten.sort.stable), "y, places = x in order of size", CHOSEN, reads="y")
def sort(g, y, x, dim=-1, descending=False, stable=None):
    return _to_places(g[0], y[1], x, dim)


@SELECTION.vjp(
    (aten.cummax.default, aten.cummin.default),
    "yₖ, placeₖ = the largest (smallest) of x₁ … xₖ and its i",
    CHOSEN + ", summed over k",
    reads="y",
)
def cumulative_extreme(g, y, x, dim):
    return _to_places(g[0], y[1], x, dim)


# --- norms --------------------------------------------------------------------------------------------------

NORM = "y = (Σ |xᵢ|ᵖ)^(1/p)"
NORM_LOCAL = "sign(xᵢ)·(|xᵢ|/y)ᵖ⁻¹; x/y for p = 2; 0 at xᵢ = 0"


@SELECTION.vjp(aten.linalg_vector_norm.default, NORM, NORM_LOCAL, reads="y x")
def vector_norm(g, y, x, ord=2, dim=None, keepdim=False, dtype=None):
    return keep(g, x, dim, keepdim) * norm_local(keep(y, x, dim, keepdim), x, ord, dim)


@SELECTION.vjp((aten.norm.ScalarOpt_dim, aten.norm.ScalarOpt_dim_dtype), NORM, NORM_LOCAL, reads="y x")
def norm_along(g, y, x, p, dim, keepdim=False, dtype=None):
    return vector_norm(g, y, x, 2 if p is None else p, dim, keepdim)


@SELECTION.vjp((aten.norm.Scalar, aten.norm.ScalarOpt_dtype), NORM, NORM_LOCAL, reads="y x")
def norm(g, y, x, p=2, dtype=None):
    return vector_norm(g, y, x, 2 if p is None else p)


@SELECTION.vjp(aten.dist.default, "y = (Σ |aᵢ − bᵢ|ᵖ)^(1/p)", "the norm's at a − b; its negative for b", reads="y a b")
def dist(g, y, a, b, p=2):
    def part():
        return g * norm_local(y, a - b, p, None)

    return part, lambda: -part()


def norm_local(y: Tensor, x: Tensor, p: float, dim: Dim) -> Tensor:
    """Differentiating yᵖ = Σ |xᵢ|ᵖ on both sides gives p·yᵖ⁻¹·∂y/∂xᵢ = p·|xᵢ|ᵖ⁻¹·sign(xᵢ).

    The limits are norms of their own: p = 0 counts entries, a step function; p = ∞ is the largest |xᵢ|, whose
    gradient is shared at a tie.
    """
    if p == 0:
        return torch.zeros_like(x)
    if p == 2:
        return torch.where(y == 0, 0, x / y)
    if math.isinf(p):
        return x.sgn() * _share(torch.ones_like(y), y, x.abs(), dim)
    return torch.where(x == 0, 0, x.sgn() * (x.abs() / y) ** (p - 1))
