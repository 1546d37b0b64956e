"""Sparse matrices: only the entries in the pattern are stored, and only they are variables.

The gradient of a sparse matrix is kept dense, with zeros outside the pattern.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import keep
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


@SPARSE.vjp(aten.sparse_mask.default, "y = x in the pattern of the mask", "1 in the pattern, else 0", reads="mask")
def sparse_mask(g, y, x, mask):
    return _in_pattern(g, mask)


@SPARSE.vjp(
    aten._sparse_coo_tensor_with_dims_and_tensors.default,
    "Y = the sum of the values that belong to each place",
    "1 in the place of each value",
    reads="indices",
)
def coo_tensor(g, y, sparse_dim, dense_dim, size, indices, values, **options):
    return None, g.to_dense()[tuple(indices)]


@SPARSE.vjp(
    aten.sparse_compressed_tensor.comp_plain_value_size,
    "Y = each value in its place",
    "1 in the place of each value",
    reads="y",
)
def compressed_tensor(g, y, compressed_indices, plain_indices, values, size, **options):
    return None, None, g.to_dense().sparse_mask(y).values()


@SPARSE.vjp(
    (aten.values.default, aten._values.default),
    "y = the numbers in the pattern, in order",
    "1 in the place of each number",
    reads="x",
)
def values(g, y, x):
    return _with_values(x, g).to_dense()


def _with_values(x: Tensor, numbers: Tensor) -> Tensor:
    """A sparse tensor of the same pattern."""
    if x.layout is torch.sparse_coo:
        return torch.sparse_coo_tensor(x._indices(), numbers, x.shape, check_invariants=False)
    by_rows = x.layout in (torch.sparse_csr, torch.sparse_bsr)
    first, second = (x.crow_indices(), x.col_indices()) if by_rows else (x.ccol_indices(), x.row_indices())
    return torch.sparse_compressed_tensor(first, second, numbers, x.shape, layout=x.layout, check_invariants=False)


@SPARSE.vjp(aten._coalesce.default, "y = x, the numbers for one place added up", "1")
def coalesce(g, y, x):
    return g


# --- sums and softmax ---------------------------------------------------------------------------------------


@SPARSE.vjp(
    (aten._sparse_sum.dim, aten._sparse_sum.dim_dtype),
    "y = Σ x over some dimensions",
    "1 in the pattern",
    reads="x",
)
def sparse_sum(g, y, x, dim, dtype=None):
    return _in_pattern(keep(g.to_dense(), x, dim, False).expand(x.shape), x)


SOFTMAX = "the entries outside the pattern are −∞"


@SPARSE.vjp(
    aten._sparse_softmax.default,
    f"yᵢ = exp xᵢ / Σⱼ exp xⱼ; {SOFTMAX}",
    "∂L/∂xᵢ = yᵢ·(gᵢ − Σⱼ gⱼ·yⱼ)",
    reads="y",
)
def sparse_softmax(g, y, x, dim, half_to_float):
    product = g.to_dense() * y.to_dense()
    return product - y.to_dense() * product.sum(dim, keepdim=True)


@SPARSE.vjp(
    aten._sparse_log_softmax.default,
    f"yᵢ = xᵢ − ln Σⱼ exp xⱼ; {SOFTMAX}",
    "∂L/∂xᵢ = gᵢ − exp(yᵢ)·Σⱼ gⱼ",
    reads="y",
)
def sparse_log_softmax(g, y, x, dim, half_to_float):
    g = _in_pattern(g, y)
    share = _with_values(y, y._values().exp()).to_dense()
    return g - share * g.sum(dim, keepdim=True)


# --- products -----------------------------------------------------------------------------------------------


@SPARSE.vjp(
    aten._sparse_addmm.default,
    "Y = β·C + α·A·B",
    "∂L/∂C = β·G, ∂L/∂A = α·G·Bᵀ in the pattern of A, ∂L/∂B = α·Aᵀ·G",
    reads="a b",
)
def sparse_addmm(g, y, c, a, b, beta=1, alpha=1):
    return (
        lambda: g * beta.conjugate(),
        lambda: _in_pattern(g @ b.to_dense().mH * alpha.conjugate(), a),
        lambda: _adjoint(a) @ g * alpha.conjugate(),
    )


def _adjoint(a: Tensor) -> Tensor:
    return a.t().conj_physical() if a.is_complex() else a.t()


@SPARSE.vjp(
    aten._sparse_sparse_matmul.default,
    "Y = A·B, each sparse",
    "∂L/∂A = G·Bᵀ in the pattern of A, ∂L/∂B = Aᵀ·G in the pattern of B",
    reads="a b",
)
def sparse_matmul(g, y, a, b):
    """An entry of Y outside its pattern has no term a·b, so that its gradient reaches nothing in either pattern."""
    g = g.to_dense()
    return lambda: _in_pattern(g @ b.to_dense().mH, a), lambda: _in_pattern(a.to_dense().mH @ g, b)


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
