"""Distances between points, and the rows that are held within one: norms of differences, each with the norm's rule."""

from __future__ import annotations

import torch

from gradlab.backprop.rules.selection import norm_local
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
DISTANCES = Family()


@DISTANCES.vjp(
    aten._cdist_forward.default,
    "yᵢⱼ = (Σₖ |aᵢₖ − bⱼₖ|ᵖ)^(1/p)",
    "the norm's at aᵢ − bⱼ; its negative for bⱼ",
    reads="y a b",
)
def cdist(g, y, a, b, p, compute_mode):
    """Point i of a takes part in row i of y, and point j of b in column j: sum over the others."""
    differences = a.unsqueeze(-2) - b.unsqueeze(-3)
    each = g.unsqueeze(-1) * norm_local(y.unsqueeze(-1), differences, p, -1)
    return lambda: each.sum(-2), lambda: -each.sum(-3)


@DISTANCES.vjp(
    aten._euclidean_dist.default,
    "yᵢⱼ = |aᵢ − bⱼ|, by way of aᵢ·bⱼ",
    "(aᵢ − bⱼ)/yᵢⱼ and its negative; 0 at yᵢⱼ = 0",
    reads="y a b",
)
def euclidean_dist(g, y, a, b):
    """Σⱼ wᵢⱼ·(aᵢ − bⱼ) with w = g/y, as products of matrices: the differences themselves may not fit in memory."""
    w = torch.where(y == 0, 0, g / y)
    return lambda: w.sum(-1, keepdim=True) * a - w @ b, lambda: w.sum(-2).unsqueeze(-1) * b - w.mT @ a


@DISTANCES.vjp(
    aten._pdist_forward.default,
    "y = (Σₖ |xᵢₖ − xⱼₖ|ᵖ)^(1/p) for each pair i < j",
    "the norm's at xᵢ − xⱼ; its negative for xⱼ",
    reads="y x",
)
def pdist(g, y, x, p=2.0):
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    each = g.unsqueeze(-1) * norm_local(y.unsqueeze(-1), x[i] - x[j], p, -1)
    return torch.zeros_like(x).index_add(0, i, each).index_add(0, j, -each)


@DISTANCES.vjp(
    aten.renorm.default,
    "each slice along dim whose p-norm n is larger than m is scaled to norm m: y = x·s, s = m/n",
    "s for the entry itself, −m·x/n² times that of the norm for the scale",
    reads="x",
)
def renorm(g, y, x, p, dim, maxnorm):
    others = [d for d in range(x.dim()) if d != dim % x.dim()]
    n = torch.linalg.vector_norm(x, p, others, keepdim=True)
    padded = n + 1e-7  # the operation divides by this, lest a norm of 0 do harm
    along = (g * x.conj()).real.sum(others, keepdim=True)
    scaled = g * (maxnorm / padded) - norm_local(n, x, p, others) * (along * maxnorm / padded**2)
    return torch.where(n > maxnorm, scaled, g)
