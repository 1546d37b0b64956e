"""Convolutions, of 1, 2 or 3 dimensions, with stride s, padding p, dilation d and groups.

    y[n, o, j] = b[o] + Σ over channels i and taps k of  w[o, i, k] · x[n, i, s·j + d·k − p]

The sum is linear in x and in w, and each of its terms g[n, o, j] · w[o, i, k] · x[n, i, s·j + d·k − p] shows both
gradients. Collected for one entry of x it is the same sum read the other way, from j to s·j + d·k − p: a transposed
convolution of g by w. Collected for one entry of w,

    ∂L/∂w[o, i, k] = Σ over n and j of  g[n, o, j] · x[n, i, s·j + d·k − p],

it is a convolution again: x is convolved by g, the batch takes the place of the channels, and stride and dilation
change roles. A transposed convolution is the first of these maps, so its own gradients are those of a convolution
with x and y exchanged. For complex numbers, the factor beside g is conjugated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
CONVOLUTION = Family()


@CONVOLUTION.vjp(
    (aten.convolution.default, aten._convolution.default, aten.convolution_overrideable.default),
    "y = w ∗ x + b",
    "∂L/∂x = w ∗ᵀ g, ∂L/∂w = x ∗ g over the batch, ∂L/∂b = Σ g over batch and places",
    reads="x w",
)
def convolution(g, y, x, w, b, stride, padding, dilation, transposed, output_padding, groups, *backend_flags):
    n = x.dim() - 2
    stride, padding, dilation = (list(v) * n if len(v) == 1 else list(v) for v in (stride, padding, dilation))
    geometry = (stride, padding, dilation, groups)

    def input_gradient():
        if transposed:
            return _cropped(_convolve(g, w.conj(), geometry), x.shape[2:])
        return _transposed(g, w.conj(), geometry, x.shape)

    def weight_gradient():
        if transposed:
            return _weight_gradient(g, x.conj(), w, geometry)
        return _weight_gradient(x.conj(), g, w, geometry)

    return input_gradient, weight_gradient, lambda: g.sum([0, *range(2, g.dim())])


@CONVOLUTION.vjp(
    aten.mkldnn_convolution.default,
    "y = w ∗ x + b",
    "∂L/∂x = w ∗ᵀ g, ∂L/∂w = x ∗ g over the batch, ∂L/∂b = Σ g over batch and places",
    reads="x w",
)
def mkldnn_convolution(g, y, x, w, b, padding, stride, dilation, groups):
    return convolution(g, y, x, w, b, stride, padding, dilation, False, [0] * len(stride), groups)


def _convolve(x: Tensor, w: Tensor, geometry: tuple) -> Tensor:
    stride, padding, dilation, groups = geometry
    return aten.convolution(x, w, None, stride, padding, dilation, False, [0] * len(stride), groups)


def _transposed(g: Tensor, w: Tensor, geometry: tuple, shape: Sequence[int]) -> Tensor:
    """The transposed convolution that ends in ``shape``: places of x past the last stride get the gradient 0."""
    stride, padding, dilation, groups = geometry
    rest = [
        size - ((j - 1) * s - 2 * p + d * (k - 1) + 1)
        for size, j, s, p, d, k in zip(shape[2:], g.shape[2:], stride, padding, dilation, w.shape[2:], strict=True)
    ]
    return aten.convolution(g, w, None, stride, padding, dilation, True, rest, groups)


def _weight_gradient(x: Tensor, g: Tensor, w: Tensor, geometry: tuple) -> Tensor:
    """Group by group, as one convolution: its channels are (group, batch), its batch the channels in a group."""
    stride, padding, dilation, groups = geometry
    batch, channels, *places = x.shape
    if batch == 0 or g.numel() == 0:
        return torch.zeros_like(w)
    x = x.reshape(batch, groups, channels // groups, *places).transpose(0, 2).flatten(1, 2)
    product = _convolve(x, g.transpose(0, 1), (dilation, padding, stride, groups)).transpose(0, 1)
    return _cropped(product, w.shape[2:])


def _cropped(product: Tensor, sizes: Sequence[int]) -> Tensor:
    """Without the places past the end, which come from a rest that the stride does not reach."""
    for dim, size in enumerate(sizes, start=2):
        product = product.narrow(dim, 0, size)
    return product
