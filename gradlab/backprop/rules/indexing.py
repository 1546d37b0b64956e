"""Indexing: an output entry is the input entry at a place that another tensor names.

Reading from a place sends the gradient back to it, and a place that was read several times gets the sum. Writing to
a place cuts the old entry off and passes the gradient there to the new one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
INDEXING = Family()

READ = "1 at the place that was read, summed over its readers"
WRITTEN = "∂y/∂x = 0 where written, 1 elsewhere; ∂y/∂source = 1"
ADDED = "∂y/∂x = 1, ∂y/∂source = 1"


# --- reading ------------------------------------------------------------------------------------------------


@INDEXING.vjp((aten.index.Tensor, aten._unsafe_index.Tensor), "y = x[i, j, …]", READ, reads="indices")
def index(g, y, x, indices):
    return aten.index_put(g.new_zeros(x.shape), indices, g, True)


@INDEXING.vjp(aten.index_select.default, "y = x[…, places, …]", READ, reads="places")
def index_select(g, y, x, dim, places):
    return g.new_zeros(x.shape).index_add(dim, places, g) if x.dim() else g.sum()


@INDEXING.vjp(aten.gather.default, "y[i, j] = x[place[i, j], j], for dim 0", READ, reads="places")
def gather(g, y, x, dim, places, sparse_grad=False):
    return g.new_zeros(x.shape).scatter_add(dim, places, g)


@INDEXING.vjp(aten.take.default, "yᵢ = x[placeᵢ], x read as one row", READ, reads="places")
def take(g, y, x, places):
    return g.new_zeros(x.shape).put(places, g, accumulate=True)


@INDEXING.vjp(aten.masked_select.default, "y = the entries of x under the mask, in a row", READ, reads="mask")
def masked_select(g, y, x, mask):
    shape = torch.broadcast_shapes(x.shape, mask.shape)
    return g.new_zeros(shape).masked_scatter(mask, g)


@INDEXING.vjp(
    aten.embedding.default,
    "yₙ = W[iₙ], a row of the table for each index",
    "1 in the row that was read, summed over its readers; 0 in the padding row",
    reads="indices",
)
def embedding(g, y, table, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    places, rows = indices.reshape(-1), g.reshape(-1, table.shape[-1])
    if scale_grad_by_freq:
        rows = rows / torch.bincount(places)[places].unsqueeze(1)
    if padding_idx >= 0:
        rows = torch.where((places == padding_idx).unsqueeze(1), 0, rows)
    return g.new_zeros(table.shape).index_add(0, places, rows)


# --- writing ------------------------------------------------------------------------------------------------


@INDEXING.vjp(
    (aten.index_put.default, aten._unsafe_index_put.default),
    "y = x with y[i, j, …] = source, or += source",
    WRITTEN,
    reads="indices",
)
def index_put(g, y, x, indices, source, accumulate=False):
    def kept():
        return g if accumulate else aten.index_put(g, indices, g.new_zeros(()))

    return kept, None, lambda: aten.index(g, indices)


@INDEXING.vjp(aten.put.default, "y = x with y[place] = source, x read as one row", WRITTEN, reads="places")
def put(g, y, x, places, source, accumulate=False):
    def kept():
        return g if accumulate else g.put(places, g.new_zeros(places.shape))

    return kept, None, lambda: g.take(places).reshape(source.shape)


@INDEXING.vjp(
    (aten.index_fill.int_Scalar, aten.index_fill.int_Tensor),
    "y = x with value at the places along a dimension",
    "∂y/∂x = 0 where written, 1 elsewhere; ∂y/∂value = 1 where written",
    reads="places",
)
def index_fill(g, y, x, dim, places, value):
    return lambda: g.index_fill(dim, places, 0), None, lambda: g.index_select(dim, places.unique()).sum()


@INDEXING.vjp(aten.index_copy.default, "y = x with y[…, places, …] = source", WRITTEN, reads="places")
def index_copy(g, y, x, dim, places, source):
    return lambda: g.index_fill(dim, places, 0), None, lambda: _read_along(g, dim, places, source)


@INDEXING.vjp(
    aten.index_add.default,
    "y = x with y[…, places, …] += α·source",
    "∂y/∂x = 1, ∂y/∂source = α",
    reads="places",
)
def index_add(g, y, x, dim, places, source, alpha=1):
    return g, None, lambda: alpha * _read_along(g, dim, places, source)


def _read_along(g: Tensor, dim: int, places: Tensor, source: Tensor) -> Tensor:
    read = g.index_select(dim, places)
    return read if source.dim() else read.reshape(())


@INDEXING.vjp(
    (aten.scatter.src, aten.scatter.value),
    "y = x with y[place[i, j], j] = source[i, j], for dim 0",
    WRITTEN,
    reads="places",
)
def scatter(g, y, x, dim, places, source):
    return lambda: g.scatter(dim, places, 0), None, lambda: _gathered(g, dim, places, source)


@INDEXING.vjp(
    aten.scatter_add.default,
    "y = x with y[place[i, j], j] += source[i, j], for dim 0",
    ADDED,
    reads="places",
)
def scatter_add(g, y, x, dim, places, source):
    return g, None, lambda: _gathered(g, dim, places, source)


def _gathered(g: Tensor, dim: int, places: Tensor, source: Tensor) -> Tensor:
    """The gradient at the places; a source may be larger than its places, and the rest of it was not used."""
    read = g.gather(dim, places)
    surplus = [width for n, m in zip(source.shape, read.shape, strict=True) for width in (n - m, 0)]
    return aten.constant_pad_nd(read, surplus[::-1], 0) if any(surplus) else read


@INDEXING.vjp(
    aten.masked_scatter.default,
    "y = x with the entries under the mask replaced by the first of source, in order",
    WRITTEN,
    reads="mask",
)
def masked_scatter(g, y, x, mask, source):
    def used():
        read = g.masked_select(mask)
        return aten.constant_pad_nd(read, [0, source.numel() - read.numel()], 0).reshape(source.shape)

    return lambda: g.masked_fill(mask, 0), None, used
