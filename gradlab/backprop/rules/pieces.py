"""Taking tensors apart and putting them together: each piece gets the gradient of the place where it lies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import end_of, zeros_for_none
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
PIECES = Family()


# --- several tensors into one -------------------------------------------------------------------------------


@PIECES.vjp(aten.cat.default, "y = x₁, x₂, … one after another", "1 where the entry went, 0 elsewhere")
def cat(g, y, tensors, dim=0):
    pieces, start = [], 0
    for x in tensors:
        if x.dim() != g.dim():  # an empty tensor of one dimension may stand beside any others
            pieces.append(torch.zeros_like(x))
            continue
        pieces.append(g.narrow(dim, start, x.shape[dim]))
        start += x.shape[dim]
    return pieces


@PIECES.vjp(aten.stack.default, "y = x₁, x₂, … along a new dimension", "1 where the entry went, 0 elsewhere")
def stack(g, y, tensors, dim=0):
    return list(g.unbind(dim))


# --- one tensor into several --------------------------------------------------------------------------------


@PIECES.vjp(
    (
        aten.split.Tensor,
        aten.split_with_sizes.default,
        aten.unsafe_split.Tensor,
        aten.unsafe_split_with_sizes.default,
        aten.split_copy.Tensor,
        aten.split_with_sizes_copy.default,
    ),
    "y₁, y₂, … = pieces of x",
    "1 in the piece that holds the entry, 0 elsewhere",
)
def split(g, y, x, sizes, dim=0):
    return torch.cat(zeros_for_none(g, y), dim)


@PIECES.vjp(
    (aten.unbind.int, aten.unbind_copy.int),
    "y₁, y₂, … = slices of x",
    "1 in the slice that holds the entry, 0 elsewhere",
)
def unbind(g, y, x, dim=0):
    return torch.stack(zeros_for_none(g, y), dim)


# --- one piece: zeros, with the upstream gradient in its place ----------------------------------------------


@PIECES.vjp((aten.select.int, aten.select_copy.int), "y = x[…, index, …]", "1 in the slice, 0 elsewhere")
def select(g, y, x, dim, index):
    return g.new_zeros(x.shape).select_scatter(g, dim, index)


@PIECES.vjp((aten.slice.Tensor, aten.slice_copy.Tensor), "y = x[…, start:end:step, …]", "1 in the slice, 0 elsewhere")
def slice_(g, y, x, dim=0, start=None, end=None, step=1):
    return g.new_zeros(x.shape).slice_scatter(g, dim, start, end, step)


@PIECES.vjp(aten.narrow_copy.default, "y = x[…, start:start + length, …]", "1 in the slice, 0 elsewhere")
def narrow_copy(g, y, x, dim, start, length):
    start = start % x.shape[dim] if start < 0 else start
    return g.new_zeros(x.shape).slice_scatter(g, dim, start, start + length)


@PIECES.vjp((aten.diagonal.default, aten.diagonal_copy.default), "yᵢ = xᵢᵢ", "1 on the diagonal, 0 elsewhere")
def diagonal(g, y, x, offset=0, dim1=0, dim2=1):
    return g.new_zeros(x.shape).diagonal_scatter(g, offset, dim1, dim2)


@PIECES.vjp(aten.diag_embed.default, "yᵢᵢ = xᵢ, 0 elsewhere", "1 on the diagonal")
def diag_embed(g, y, x, offset=0, dim1=-2, dim2=-1):
    return g.diagonal(offset, dim1, dim2)


@PIECES.vjp(
    (aten.unfold.default, aten.unfold_copy.default),
    "y = the windows of x along one dimension, each in a last dimension of its own",
    "1 in every window that holds the entry",
)
def unfold(g, y, x, dimension, size, step):
    """Windows may overlap: an entry's gradient is the sum over the windows that it lies in."""
    places = torch.arange(x.numel(), device=g.device).reshape(x.shape).unfold(dimension, size, step)
    return g.new_zeros(x.numel()).index_add(0, places.reshape(-1), g.reshape(-1)).reshape(x.shape)


# --- one piece replaced: the rest keeps its gradient, the replaced part passes it to the new piece ----------

REPLACED = "∂y/∂x = 0 in the place, 1 elsewhere; ∂y/∂piece = 1 in the place"


@PIECES.vjp(aten.select_scatter.default, "y = x with the slice at index replaced by piece", REPLACED)
def select_scatter(g, y, x, piece, dim, index):
    return lambda: g.select_scatter(g.new_zeros(piece.shape), dim, index), lambda: g.select(dim, index)


@PIECES.vjp(aten.slice_scatter.default, "y = x with the slice start:end:step replaced by piece", REPLACED)
def slice_scatter(g, y, x, piece, dim=0, start=None, end=None, step=1):
    def part():
        return aten.slice(g, dim, start, end, step)

    return lambda: g.slice_scatter(torch.zeros_like(part()), dim, start, end, step), part


@PIECES.vjp(aten.diagonal_scatter.default, "y = x with its diagonal replaced by piece", REPLACED)
def diagonal_scatter(g, y, x, piece, offset=0, dim1=0, dim2=1):
    return (
        lambda: g.diagonal_scatter(g.new_zeros(piece.shape), offset, dim1, dim2),
        lambda: g.diagonal(offset, dim1, dim2),
    )


# --- any view at all: places in memory ----------------------------------------------------------------------


@PIECES.vjp(
    (aten.as_strided.default, aten.as_strided_copy.default),
    "y[i, j, …] = memory of x at offset + i·stride₀ + j·stride₁ + …",
    "1 at every place in y that shows the entry",
)
def as_strided(g, y, x, size, stride, storage_offset=None):
    """Lay the upstream gradient out in memory as y lies in it, summing where places coincide; read it as x."""
    offset = x.storage_offset() if storage_offset is None else storage_offset
    memory = _into_memory(g, size, stride, offset, _length(x, size, stride, offset))
    return _average_repeats(memory.as_strided(x.size(), x.stride(), x.storage_offset()), x)


@PIECES.vjp(
    aten.as_strided_scatter.default,
    "y = x with the places offset + i·stride₀ + j·stride₁ + … of its memory replaced by piece",
    REPLACED,
)
def as_strided_scatter(g, y, x, piece, size, stride, storage_offset=None):
    """Lay the upstream gradient out in memory as y lies in it; the places belong to the piece, the rest to x."""
    offset = x.storage_offset() if storage_offset is None else storage_offset
    place = (size, stride, offset)
    at_home = g.stride() == y.stride() and g.storage_offset() == y.storage_offset() == 0
    length = _length(y, *place)
    memory = g if at_home else _into_memory(g, y.size(), y.stride(), y.storage_offset(), length)
    return (
        lambda: memory.as_strided_scatter(g.new_zeros(piece.shape), *place).as_strided(
            y.size(), y.stride(), y.storage_offset()
        ),
        lambda: memory.as_strided(*place),
    )


def _length(x: Tensor, size: Sequence[int], stride: Sequence[int], offset: int) -> int:
    """A length of memory that holds x and the places of a view."""
    return max(end_of(x.size(), x.stride(), int(x.storage_offset())), end_of(size, stride, offset))


def _into_memory(g: Tensor, size: Sequence[int], stride: Sequence[int], offset: int, length: int) -> Tensor:
    memory = g.new_zeros(max(length, 0))
    if not _may_overlap(size, stride):
        return memory.as_strided_scatter(g, size, stride, offset)
    places = torch.arange(len(memory), device=g.device).as_strided(size, stride, offset)
    return memory.index_add(0, places.reshape(-1), g.reshape(-1))


def _may_overlap(size: Sequence[int], stride: Sequence[int]) -> bool:
    """Two indices certainly show different places if each stride steps over all that smaller strides reach."""
    reach = 0
    for s, n in sorted((s, n) for s, n in zip(stride, size, strict=True) if n != 1):
        if s <= reach:
            return True
        reach += (n - 1) * s
    return False


def _average_repeats(gradient: Tensor, x: Tensor) -> Tensor:
    """Where x itself shows a place several times, each of them gets an equal share of the place's gradient."""
    if not _may_overlap(x.size(), x.stride()):
        return gradient
    places = torch.arange(end_of(x.size(), x.stride(), 0), device=x.device).as_strided(x.size(), x.stride(), 0)
    return gradient / torch.bincount(places.reshape(-1))[places]
