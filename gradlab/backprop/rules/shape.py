"""Shape operations: every output entry is a copy of one input entry, so the local derivative is 1 or 0.

The gradient goes back the way the entry came. Where an entry was copied to several places, its gradient is the
path sum over them; where it was dropped, its gradient is 0.
"""

from __future__ import annotations

import torch

from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
SHAPE = Family()

MOVED = "1 where the entry went, 0 elsewhere"


# --- the same entries, in the same order --------------------------------------------------------------------


@SHAPE.vjp(
    (
        aten.view.default,
        aten._unsafe_view.default,
        aten.reshape.default,
        aten._reshape_alias.default,
        aten.unsqueeze.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.view_copy.default,
        aten.unsqueeze_copy.default,
        aten.squeeze_copy.default,
        aten.squeeze_copy.dim,
        aten.squeeze_copy.dims,
    ),
    "y = x in another shape",
    "1",
)
def view(g, y, x, *shape):
    return g.reshape(x.shape)


@SHAPE.vjp(
    (
        aten.alias.default,
        aten.detach.default,
        aten.clone.default,
        aten.contiguous.default,
        aten.lift_fresh.default,
        aten.positive.default,
        aten.alias_copy.default,
    ),
    "y = x",
    "1",
)
def identity(g, y, x, **layout):
    return g


@SHAPE.vjp(aten._to_copy.default, "y = x as another dtype or on another device", "1")
def to_copy(g, y, x, **options):
    return g.to(device=x.device)


@SHAPE.vjp(aten.copy.default, "y = source, in the place of x", "∂y/∂x = 0, ∂y/∂source = 1")
def copy(g, y, x, source, non_blocking=False):
    return lambda: torch.zeros_like(g), lambda: sum_to(g, source.shape).to(device=source.device)


@SHAPE.vjp(aten.zero.default, "y = 0, in the place of x", "0")
def zero(g, y, x):
    return torch.zeros_like(g)


@SHAPE.vjp(
    (aten.fill.Scalar, aten.fill.Tensor),
    "y = value everywhere, in the place of x",
    "∂y/∂x = 0, ∂y/∂value = 1 at every entry",
)
def fill(g, y, x, value):
    return lambda: torch.zeros_like(g), lambda: g.sum()


# --- the same entries, in another order ---------------------------------------------------------------------


@SHAPE.vjp((aten.t.default, aten.t_copy.default), "y = xᵀ", MOVED)
def t(g, y, x):
    return g.t()


@SHAPE.vjp(
    (aten.transpose.int, aten.transpose_copy.int, aten.swapaxes.default), "y = x with two dimensions exchanged", MOVED
)
def transpose(g, y, x, dim0, dim1):
    return g.transpose(dim0, dim1)


@SHAPE.vjp((aten.permute.default, aten.permute_copy.default), "y = x with its dimensions in another order", MOVED)
def permute(g, y, x, dims):
    back = [0] * len(dims)
    for place, dim in enumerate(dims):
        back[dim] = place
    return g.permute(back)


@SHAPE.vjp(aten.flip.default, "y = x read backwards along some dimensions", MOVED)
def flip(g, y, x, dims):
    return g.flip(dims)


@SHAPE.vjp(aten.pixel_shuffle.default, "y = x with each group of k² channels laid out as a k × k square", MOVED)
def pixel_shuffle(g, y, x, factor):
    return torch.nn.functional.pixel_unshuffle(g, factor)


@SHAPE.vjp(aten.pixel_unshuffle.default, "y = x with each k × k square put into k² channels", MOVED)
def pixel_unshuffle(g, y, x, factor):
    return torch.nn.functional.pixel_shuffle(g, factor)


@SHAPE.vjp(aten.channel_shuffle.default, "y = x, its channels dealt out in turn from each of several groups", MOVED)
def channel_shuffle(g, y, x, groups):
    return torch.nn.functional.channel_shuffle(g, g.shape[1] // groups)


@SHAPE.vjp(aten.roll.default, "y = x shifted round", MOVED)
def roll(g, y, x, shifts, dims=()):
    shifts = [shifts] if isinstance(shifts, int) else shifts
    return g.roll([-shift for shift in shifts], dims)


@SHAPE.vjp(aten.rot90.default, "y = x turned by k right angles", MOVED)
def rot90(g, y, x, k=1, dims=(0, 1)):
    return g.rot90(-k, dims)


# --- more entries or fewer ----------------------------------------------------------------------------------


@SHAPE.vjp(
    (aten.expand.default, aten.expand_copy.default), "y = x, repeated along dimensions of size 1", "1 at every repeat"
)
def expand(g, y, x, size, implicit=False):
    return sum_to(g, x.shape)


@SHAPE.vjp(aten.repeat.default, "y = x, laid side by side several times", "1 at every repeat")
def repeat(g, y, x, repeats):
    """Along each dimension y's index is (repeat, index in x): the gradient is summed over the repeats."""
    sizes = [1] * (len(repeats) - x.dim()) + list(x.shape)
    paired = [size for pair in zip(repeats, sizes, strict=True) for size in pair]
    return g.reshape(paired).sum(list(range(0, len(paired), 2))).reshape(x.shape) if repeats else g


@SHAPE.vjp(aten.constant_pad_nd.default, "y = x with a constant border", "1 inside, 0 in the border")
def constant_pad(g, y, x, pad, value=0):
    """A negative border cuts entries off: so the way back is the border with its sign changed, filled with 0."""
    return aten.constant_pad_nd(g, [-width for width in pad], 0)


@SHAPE.vjp(aten.tril.default, "y = x below the diagonal, 0 above", "1 below, 0 above")
def tril(g, y, x, diagonal=0):
    return g.tril(diagonal)


@SHAPE.vjp(aten.triu.default, "y = x above the diagonal, 0 below", "1 above, 0 below")
def triu(g, y, x, diagonal=0):
    return g.triu(diagonal)


@SHAPE.vjp(aten.trace.default, "y = Σᵢ xᵢᵢ", "1 on the diagonal, 0 elsewhere")
def trace(g, y, x):
    return g * torch.eye(*x.shape, dtype=g.dtype, device=g.device)
