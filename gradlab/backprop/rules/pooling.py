"""Max pooling: each output entry is one input entry, the largest of a window, and the operation says which."""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
POOLING = Family()

LARGEST = "1 for the entry that was chosen, summed over the windows that chose it"


@POOLING.vjp(
    (
        aten.max_pool2d_with_indices.default,
        aten.adaptive_max_pool2d.default,
        aten.fractional_max_pool2d.default,
    ),
    "y, place = the largest entry of each window, and where it is",
    LARGEST,
    reads="y",
)
def max_pool2d(g, y, x, *window):
    return _to_chosen(g[0], y[1], x, spatial=2)


@POOLING.vjp(
    (
        aten.max_pool3d_with_indices.default,
        aten.adaptive_max_pool3d.default,
        aten.fractional_max_pool3d.default,
    ),
    "y, place = the largest entry of each window, and where it is",
    LARGEST,
    reads="y",
)
def max_pool3d(g, y, x, *window):
    return _to_chosen(g[0], y[1], x, spatial=3)


def _to_chosen(g: Tensor, places: Tensor, x: Tensor, spatial: int) -> Tensor:
    """A place counts through all the spatial dimensions of its channel."""
    flat = g.new_zeros(x.shape).flatten(-spatial)
    return flat.scatter_add_(-1, places.flatten(-spatial), g.flatten(-spatial)).reshape(x.shape)


@POOLING.vjp(
    (aten.max_unpool2d.default, aten.max_unpool3d.default),
    "y = zeros, with xᵢ at the place where max pooling had found it",
    "1 at the place",
    reads="places",
)
def max_unpool(g, y, x, places, output_size, *window):
    spatial = len(output_size)
    return g.flatten(-spatial).gather(-1, places.flatten(-spatial)).reshape(x.shape)
