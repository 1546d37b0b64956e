"""Reductions: many entries become one, whose gradient goes back to all that it was made of.

`spread` writes a reduced tensor back over the dimensions that the reduction removed, so that each rule can state
its local derivative as for a single sum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import Dim, dims_of, keep
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
REDUCTION = Family()


def _count(x: Tensor, dim: Dim) -> int:
    return math.prod(x.shape[d] for d in dims_of(x, dim))


# --- sums and means -----------------------------------------------------------------------------------------


@REDUCTION.vjp((aten.sum.default, aten.sum.dim_IntList), "y = Σ xᵢ", "1")
def sum_(g, y, x, dim=None, keepdim=False, dtype=None):
    return keep(g, x, dim, keepdim).expand(x.shape)


@REDUCTION.vjp((aten.mean.default, aten.mean.dim), "y = (Σ xᵢ)/n", "1/n")
def mean(g, y, x, dim=None, keepdim=False, dtype=None):
    return keep(g / _count(x, dim), x, dim, keepdim).expand(x.shape)


@REDUCTION.vjp(aten.nansum.default, "y = Σ xᵢ without the NaN", "1, and 0 for a NaN", reads="x")
def nansum(g, y, x, dim=None, keepdim=False, dtype=None):
    return torch.where(x.isnan(), 0, keep(g, x, dim, keepdim))


@REDUCTION.vjp(aten.cumsum.default, "yₖ = x₁ + … + xₖ", "∂yₖ/∂xᵢ = 1 for k ≥ i: a sum from the end")
def cumsum(g, y, x, dim, dtype=None):
    return _cumsum_from_end(g, dim)


def _cumsum_from_end(x: Tensor, dim: int) -> Tensor:
    return x.flip(dim).cumsum(dim).flip(dim) if x.dim() else x


# --- variance -----------------------------------------------------------------------------------------------


@REDUCTION.vjp(
    aten.var.correction,
    "y = Σ (xᵢ − m)²/(n − c), m the mean",
    "2·(xᵢ − m)/(n − c)",
    reads="x",
)
def var(g, y, x, dim=None, correction=1, keepdim=False):
    """The mean depends on x too, but Σ (xᵢ − m) = 0, so that its own part vanishes."""
    return keep(g, x, dim, keepdim) * _var_local(x, dim, correction)


@REDUCTION.vjp(
    aten.std.correction,
    "y = √(Σ (xᵢ − m)²/(n − c)), m the mean",
    "(xᵢ − m)/((n − c)·y), and 0 where y = 0",
    reads="x y",
)
def std(g, y, x, dim=None, correction=1, keepdim=False):
    return keep(_half_over(g, y), x, dim, keepdim) * _var_local(x, dim, correction)


@REDUCTION.vjp(
    aten.var_mean.correction,
    "v = Σ (xᵢ − m)²/(n − c) and m = (Σ xᵢ)/n",
    "∂v/∂xᵢ = 2·(xᵢ − m)/(n − c), ∂m/∂xᵢ = 1/n",
    reads="x",
)
def var_mean(g, y, x, dim=None, correction=1, keepdim=False):
    return _both(g[0], g[1], x, dim, correction, keepdim)


@REDUCTION.vjp(
    aten.std_mean.correction,
    "s = √(Σ (xᵢ − m)²/(n − c)) and m = (Σ xᵢ)/n",
    "∂s/∂xᵢ = (xᵢ − m)/((n − c)·s), ∂m/∂xᵢ = 1/n",
    reads="x y",
)
def std_mean(g, y, x, dim=None, correction=1, keepdim=False):
    return _both(None if g[0] is None else _half_over(g[0], y[0]), g[1], x, dim, correction, keepdim)


def _both(g_var, g_mean, x, dim, correction, keepdim):
    parts = []
    if g_var is not None:
        parts.append(keep(g_var, x, dim, keepdim) * _var_local(x, dim, correction))
    if g_mean is not None:
        parts.append(keep(g_mean / _count(x, dim), x, dim, keepdim).expand(x.shape))
    return sum(parts)


def _var_local(x: Tensor, dim: Dim, correction: float | None) -> Tensor:
    freedom = _count(x, dim) - (1 if correction is None else correction)
    centred = x - x.mean(dims_of(x, dim), keepdim=True) if x.dim() else torch.zeros_like(x)
    return centred * (2 / freedom if freedom > 0 else math.nan)


def _half_over(g: Tensor, y: Tensor) -> Tensor:
    """From a standard deviation to its variance: ∂√v/∂v = 1/(2√v), taken as 0 at the kink."""
    return torch.where(y == 0, 0, g / (2 * y))


# --- products -----------------------------------------------------------------------------------------------


@REDUCTION.vjp(aten.prod.default, "y = Π xᵢ", "∂y/∂xᵢ = the product of the others", reads="x")
def prod(g, y, x, dtype=None):
    return (g * _product_of_others(x.reshape(-1), 0).conj()).reshape(x.shape)


@REDUCTION.vjp(aten.prod.dim_int, "y = Π xᵢ", "∂y/∂xᵢ = the product of the others", reads="x")
def prod_along(g, y, x, dim, keepdim=False, dtype=None):
    return keep(g, x, dim, keepdim) * _product_of_others(x, dim).conj() if x.dim() else g


def _product_of_others(x: Tensor, dim: int) -> Tensor:
    """(product of those before) × (product of those after): unlike y/xᵢ, this holds at zeros too."""
    return _product_before(x, dim) * _product_before(x.flip(dim), dim).flip(dim)


def _product_before(x: Tensor, dim: int) -> Tensor:
    if x.shape[dim] == 0:
        return x
    one = torch.ones_like(x.narrow(dim, 0, 1))
    return torch.cat([one, x.narrow(dim, 0, x.shape[dim] - 1)], dim).cumprod(dim)


@REDUCTION.vjp(
    aten.cumprod.default,
    "yₖ = x₁·…·xₖ",
    "∂yₖ/∂xᵢ = (x₁·…·xᵢ₋₁)·(xᵢ₊₁·…·xₖ) for k ≥ i",
    reads="x",
)
def cumprod(g, y, x, dim, dtype=None):
    """∂L/∂xᵢ = (x₁·…·xᵢ₋₁)·rᵢ, where rᵢ = Σₖ≥ᵢ gₖ·xᵢ₊₁·…·xₖ obeys rᵢ = gᵢ + xᵢ₊₁·rᵢ₊₁.

    The recurrence is solved by doubling: after the step of width w, rᵢ has the terms k < i + 2w, and fᵢ the
    factors xᵢ₊₁·…·xᵢ₊₂w. Nothing is divided, so zeros do no harm.
    """
    if x.dim() == 0:
        return g
    n, width, r = x.shape[dim], 1, g
    f = _from_ahead(x.conj(), dim, 1)
    while width < n:
        r, f = r + f * _from_ahead(r, dim, width), f * _from_ahead(f, dim, width)
        width *= 2
    return _product_before(x, dim).conj() * r


def _from_ahead(x: Tensor, dim: int, width: int) -> Tensor:
    """x moved forward by ``width`` places along a dimension; what comes in at the end is 0."""
    width = min(width, x.shape[dim])
    rest = x.narrow(dim, width, x.shape[dim] - width)
    return torch.cat([rest, torch.zeros_like(x.narrow(dim, 0, width))], dim)


# --- logarithms of sums -------------------------------------------------------------------------------------


@REDUCTION.vjp(aten.logsumexp.default, "y = ln Σ exp xᵢ", "exp(xᵢ − y): the softmax", reads="y x")
def logsumexp(g, y, x, dim, keepdim=False):
    return keep(g, x, dim, keepdim) * (x - keep(y, x, dim, keepdim)).exp().conj()


@REDUCTION.vjp(
    aten.logcumsumexp.default,
    "yₖ = ln(exp x₁ + … + exp xₖ)",
    "∂yₖ/∂xᵢ = exp(xᵢ − yₖ) for k ≥ i",
    reads="y x",
)
def logcumsumexp(g, y, x, dim):
    """Σₖ≥ᵢ gₖ·exp(xᵢ − yₖ), summed as logarithms, so that nothing overflows.

    A real gₖ has a logarithm where it is positive: those below 0 are summed apart. A complex one always has.
    """

    def part(g: Tensor) -> Tensor:
        return ((g.log() - y.conj()).flip(dim).logcumsumexp(dim).flip(dim) + x.conj()).exp()

    if x.dim() == 0 or x.is_complex():
        return part(g) if x.dim() else g
    return part(g.clamp(min=0)) - part((-g).clamp(min=0))
