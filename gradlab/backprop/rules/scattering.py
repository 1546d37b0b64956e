"""Reductions of groups: entries that name the same place are summed, averaged, multiplied, or the extreme is taken.

The three operations differ in how an entry names its place (an index for each entry, one for each slice, or runs of
given lengths), and in what else belongs to the group: the old entry of x, an initial number, or nothing. The local
derivatives are those of an ordinary reduction, taken within each group:

    sum             1
    mean            1 / the size of the group
    product         the product of the others
    largest,        1/m for each of the m entries equal to the result, else 0
    smallest
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
SCATTERING = Family()

REDUCED = "y = the sum, mean, product or extreme of the entries that name the place"
LOCAL = "sum: 1; mean: 1/n; product: the product of the others; extreme: 1/m for each of the m that are equal to y"


# --- by index -----------------------------------------------------------------------------------------------


@SCATTERING.vjp(aten.scatter_reduce.two, REDUCED, LOCAL, reads="y x places source")
def scatter_reduce(g, y, x, dim, places, source, reduce, include_self=True):
    """A source may be larger than its places: the rest of it was not used."""
    surplus = [width for n, m in zip(source.shape, places.shape, strict=True) for width in (n - m, 0)]
    for d, size in enumerate(places.shape):
        source = source.narrow(d, 0, size)
    to_x, to_source = _in_groups(g, y, x, dim, places, source, reduce, include_self)
    return to_x, None, lambda: aten.constant_pad_nd(to_source(), surplus[::-1], 0)


@SCATTERING.vjp(aten.index_reduce.default, REDUCED, LOCAL, reads="y x places source")
def index_reduce(g, y, x, dim, places, source, reduce, include_self=True):
    along = [-1 if d == dim % source.dim() else 1 for d in range(source.dim())]
    places = places.reshape(along).expand(source.shape)
    to_x, to_source = _in_groups(g, y, x, dim, places, source, reduce, include_self)
    return to_x, None, to_source


def _in_groups(
    g: Tensor, y: Tensor, x: Tensor, dim: int, places: Tensor, source: Tensor, reduce: str, include_self: bool
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """The gradients of x and of the source. Without ``include_self`` x counts only where no entry of source came."""

    def spread(values: Tensor) -> Tensor:
        """From each group to its entries."""
        return values.gather(dim, places)

    def total(values: Tensor, own: Tensor) -> Tensor:
        """From the entries to the sum over each group, begun with its ``own``."""
        return own.scatter_add(dim, places, values)

    ones, zeros = torch.ones_like(source), torch.zeros_like(y)
    alone = total(ones, zeros) == 0
    counts = torch.ones_like(alone) if include_self else alone

    def masked(local: Tensor) -> Tensor:
        return torch.where(counts, local, 0)

    if reduce == "sum":
        return lambda: masked(g), lambda: spread(g)
    if reduce == "mean":
        each = g / total(ones, masked(torch.ones_like(y)))
        return lambda: masked(each), lambda: spread(each)
    if reduce == "prod":
        start = torch.where(counts, x, 1)
        nonzero = torch.where(start == 0, 1, start).scatter_reduce(
            dim, places, torch.where(source == 0, 1, source), "prod"
        )
        vanishing = total((source == 0).to(y.dtype), (start == 0).to(y.dtype))
        return (
            lambda: masked(g * _product_of_others(x, nonzero, vanishing)),
            lambda: spread(g) * _product_of_others(source, spread(nonzero), spread(vanishing)),
        )
    own, equal = masked(_equal(x, y).to(y.dtype)), _equal(source, spread(y)).to(y.dtype)
    each = g / total(equal, own)
    return lambda: torch.where(own > 0, each, 0), lambda: torch.where(equal > 0, spread(each), 0)


def _product_of_others(x: Tensor, nonzero: Tensor, vanishing: Tensor) -> Tensor:
    """From the product of a group's factors that are not 0, and the number of those that are.

    Without a zero it is that product divided by the entry; a single zero is the only entry whose others do not
    vanish; with two zeros every product of others does.
    """
    is_zero = x == 0
    quotient = (nonzero / torch.where(is_zero, 1, x)).conj()
    return torch.where(vanishing == is_zero.to(vanishing.dtype), quotient, 0)


def _equal(x: Tensor, y: Tensor) -> Tensor:
    return (x == y) | (x.isnan() & y.isnan())


# --- by runs ------------------------------------------------------------------------------------------------


@SCATTERING.vjp(
    aten.segment_reduce.default,
    "y = the sum, mean, product or extreme of each run of entries, begun with an initial number",
    LOCAL,
    reads="y x lengths offsets",
)
def segment_reduce(g, y, x, reduce, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None):
    """A run is a group whose place is its number; the runs may leave a rest over, which forms one more group."""
    ends = lengths.cumsum(-1) if offsets is None else offsets[..., 1:]
    entry = torch.arange(x.shape[axis], device=x.device).expand(*ends.shape[:-1], -1).contiguous()
    run = torch.searchsorted(ends.contiguous(), entry.to(ends.dtype), right=True)
    run = run.reshape(*run.shape, *[1] * (x.dim() - run.dim())).expand(x.shape)
    rest = [0, 0] * (x.dim() - axis - 1) + [0, 1]
    g, y = aten.constant_pad_nd(g, rest, 0), aten.constant_pad_nd(y, rest, 0)
    own = torch.full_like(y, 1 if initial is None else initial)
    name = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    return _in_groups(g, y, own, axis, run, x, name, include_self=reduce == "prod")[1]


# --- by index, under a mask ---------------------------------------------------------------------------------


@SCATTERING.vjp(
    aten._unsafe_masked_index.default,
    "y = x[i, j, …] under the mask, a number elsewhere",
    "1 at the place that was read, summed over its readers",
    reads="mask indices",
)
def masked_index(g, y, x, mask, indices, fill):
    return lambda: aten.index_put(g.new_zeros(x.shape), _inside(indices, x), torch.where(mask, g, 0), True)


@SCATTERING.vjp(
    aten._unsafe_masked_index_put_accumulate.default,
    "y = x with y[i, j, …] += source under the mask",
    "∂y/∂x = 1, ∂y/∂source = 1 under the mask",
    reads="mask indices",
)
def masked_index_put(g, y, x, mask, indices, source):
    return g, None, None, lambda: torch.where(mask, aten.index(g, _inside(indices, x)), 0)


def _inside(indices: list[Tensor | None], x: Tensor) -> list[Tensor | None]:
    """An index that the mask leaves out may lie outside of x."""
    return [None if i is None else i.clamp(-size, size - 1) for i, size in zip(indices, x.shape, strict=False)]
