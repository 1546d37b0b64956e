"""Sparse matrices: only the entries in the pattern are stored, and only they are variables.

The gradient of a sparse matrix is kept dense, with zeros outside the pattern.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
SPARSE = Family()


def _in_pattern(g: Tensor, x: Tensor) -> Tensor:
    """A gradient, dense or sparse, as a dense one with zeros outside the pattern of ``x``."""
    pattern = x.coalesce() if x.layout is torch.sparse_coo else x
    return g.to_dense().sparse_mask(pattern).to_dense()


@SPARSE.vjp(
    (
        aten._to_sparse.default,
        aten._to_sparse.sparse_dim,
        aten._to_sparse_csr.default,
        aten._to_sparse_csc.default,
        aten._to_sparse_bsr.default,
        aten._to_sparse_bsc.default,
    ),
    "y = x, without its zeros",
    "1: a zero that moves would join the pattern",
)
def to_sparse(g, y, x, *pattern, **options):
    return g.to_dense()


@SPARSE.vjp(
    aten._to_dense.default,
    "y = x, with zeros outside its pattern",
    "1 in the pattern; outside it 0, or 1 too where every entry is to be a variable",
    reads="x",
)
def to_dense(g, y, x, dtype=None, masked_grad=None):
    return g if masked_grad is False else _in_pattern(g, x)


@SPARSE.vjp(
    aten.sparse_sampled_addmm.default,
    "Y = β·C + α·A·B in the pattern of C",
    "∂L/∂C = β·G, and with G in the pattern of C: ∂L/∂A = α·G·Bᵀ, ∂L/∂B = α·Aᵀ·G",
    reads="c a b",
)
def sampled_addmm(g, y, c, a, b, beta=1, alpha=1):
    return (
        lambda: g.to_dense() * beta.conjugate(),
        lambda: _in_pattern(g, c) @ b.mH * alpha.conjugate(),
        lambda: a.mH @ _in_pattern(g, c) * alpha.conjugate(),
    )


@SPARSE.vjp(
    aten._sparse_mm_reduce_impl.default,
    "Y = A·B, each sum over a row of A turned into a mean, a largest or a smallest term at will",
    "∂L/∂A = G·Bᵀ in the pattern, ∂L/∂B = Aᵀ·G, over the terms that were chosen; a mean divides by their number",
    reads="y a b",
)
def mm_reduce(g, y, a, b, reduce):
    """For an extreme, the second output names the entry of A in the term chosen, or their number in an empty row."""
    g, chosen = g[0], y[1]
    if reduce in ("sum", "mean"):
        count = a.crow_indices().diff().clamp(min=1)
        g = g / count.unsqueeze(1) if reduce == "mean" else g
        return lambda: _in_pattern(g @ b.mT, a), lambda: a.to_dense().mT @ g
    if chosen.numel() == 0:
        return lambda: g.new_zeros(a.shape), lambda: torch.zeros_like(b)
    g = torch.where(chosen < a.values().numel(), g, 0)
    entry = chosen.clamp(max=a.values().numel() - 1)
    row = a.col_indices()[entry]  # of B, in each term chosen

    def of_entries():
        values = torch.zeros_like(a.values()).index_add(0, entry.reshape(-1), (g * b.gather(0, row)).reshape(-1))
        return torch.sparse_csr_tensor(a.crow_indices(), a.col_indices(), values, a.shape).to_dense()

    return of_entries, lambda: torch.zeros_like(b).scatter_add(0, row, g * a.values()[entry])
