"""Borders and windows of images: operations that copy entries to where they are wanted, some of them several times.

Each output entry is a copy of one input entry. Which one, the operation itself tells: applied to the numbers 0, 1,
2, … in place of the entries, it shows their places. The gradient goes back to those places and is summed there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
BORDERS = Family()

COPIED = "1 at every copy"


@BORDERS.vjp(
    (aten.reflection_pad1d.default, aten.reflection_pad2d.default, aten.reflection_pad3d.default),
    "y = x with a border that mirrors it",
    COPIED,
)
def reflection_pad(g, y, x, padding):
    return _to_origins(g, x, len(padding) // 2, lambda places: _padded(places, padding, "reflect"))


@BORDERS.vjp(
    (aten.replication_pad1d.default, aten.replication_pad2d.default, aten.replication_pad3d.default),
    "y = x with a border that repeats its outermost entries",
    COPIED,
)
def replication_pad(g, y, x, padding):
    return _to_origins(g, x, len(padding) // 2, lambda places: _padded(places, padding, "replicate"))


def _padded(places: Tensor, padding: list[int], mode: str) -> Tensor:
    return torch.nn.functional.pad(places, padding, mode=mode)


def _to_origins(g: Tensor, x: Tensor, spatial: int, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """The places count through the last dimensions; those before are copied as they are."""
    shape = x.shape[x.dim() - spatial :]
    # Numbers of double precision: the operations know no integers, and these are exact up to 2⁵³.
    places = torch.arange(shape.numel(), dtype=torch.float64, device=x.device).reshape(1, *shape)
    origins = operation(places).long().reshape(-1)
    flat = g.new_zeros(x.shape).flatten(-spatial)
    return flat.index_add(-1, origins, g.flatten(-spatial)).reshape(x.shape)


@BORDERS.vjp(aten.im2col.default, "y = the windows of an image, each as a column", "1 in every window that holds it")
def im2col(g, y, x, kernel_size, dilation, padding, stride):
    """Adding up the windows where they came from is the operation col2im."""
    return aten.col2im(g, x.shape[-2:], kernel_size, dilation, padding, stride)


@BORDERS.vjp(aten.col2im.default, "y = the sum of windows, each laid where it belongs", "1 where its window lies")
def col2im(g, y, x, output_size, kernel_size, dilation, padding, stride):
    """Every window reads its own part of the gradient, which is the operation im2col."""
    return aten.im2col(g, kernel_size, dilation, padding, stride)
