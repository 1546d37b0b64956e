"""Average pooling and interpolation: weighted sums of neighbours, along each spatial dimension by itself.

Along one dimension such an operation is a matrix W (outputs × inputs) and y = W·x, so the gradient is Wᵀ·g. With
several spatial dimensions one matrix follows the other, and so do their transposes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
RESAMPLING = Family()


# --- the mean of each window --------------------------------------------------------------------------------
# The rows of W are windows, and an entry reads the few that hold it. No product with W, most of which is 0: since
# 0·NaN is NaN, an undefined gradient of one window would reach the entries of all the others.


@RESAMPLING.vjp(
    (aten.avg_pool2d.default, aten.avg_pool3d.default),
    "y = the sum of each window / the number of its entries",
    "1/number for each entry of the window, summed over the windows that hold it",
)
def avg_pool(g, y, x, kernel_size, stride=(), padding=(0,), ceil_mode=False, count_include_pad=True, divisor=None):
    n = len(kernel_size) if len(kernel_size) > 1 else 2
    kernels, pads = _for_each(kernel_size, n), _for_each(padding, n)
    strides = _for_each(stride, n) if stride else kernels
    g = g / divisor if divisor else g
    for dim, (k, s, p) in enumerate(zip(kernels, strides, pads, strict=True), start=g.dim() - n):
        size = x.shape[dim]
        start = torch.arange(g.shape[dim], device=g.device) * s - p
        end = (start + k).clamp(max=size + p)
        inside = start.clamp(min=0), end.clamp(max=size)
        number = end - start if count_include_pad else inside[1] - inside[0]
        g = _read_windows(g if divisor else g / _along(dim, number, g), dim, *inside, size, -(-k // s))
    return g


@RESAMPLING.vjp(
    (aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default),
    "y = the mean of each window; with n inputs and m outputs, window i goes from ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉",
    "1/number for each entry of the window, summed over the windows that hold it",
)
def adaptive_avg_pool(g, y, x, output_size):
    if g.numel() == 0:
        return g.new_zeros(x.shape)
    for dim, m in enumerate(output_size, start=g.dim() - len(output_size)):
        n, i = x.shape[dim], torch.arange(m, device=g.device)
        start, end = i * n // m, -(-(i + 1) * n // m)
        g = _read_windows(g / _along(dim, end - start, g), dim, start, end, n, -(-m // n) + 1 if n % m else 1)
    return g


def _read_windows(g: Tensor, dim: int, start: Tensor, end: Tensor, size: int, overlap: int) -> Tensor:
    """For each entry along a dimension the sum over the windows that hold it, which are neighbours."""
    place = torch.arange(size, device=g.device)
    first = torch.searchsorted(end, place, right=True)
    last = torch.searchsorted(start, place, right=True) - 1
    reads = []
    for window in (first + k for k in range(overlap)):
        read = g.index_select(dim, window.clamp(max=len(start) - 1))
        reads.append(torch.where(_along(dim, window <= last, g), read, 0))
    return sum(reads[1:], start=reads[0])


def _along(dim: int, values: Tensor, like: Tensor) -> Tensor:
    """Values along one dimension, shaped so that they broadcast against ``like``."""
    return values.reshape([-1 if d == dim else 1 for d in range(like.dim())])


def _for_each(value: int | Sequence[int], n: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * n if len(values) == 1 else values


# --- interpolation ------------------------------------------------------------------------------------------
# The matrix of a linear operation has the images of the unit vectors for its columns.

LINEAR = "y = W·x along each dimension", "W, whose columns are the images of the unit vectors"


def _pull_back(g: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Wᵀ·g along each of the last dimensions, one matrix for each."""
    for dim, matrix in enumerate(matrices, start=g.dim() - len(matrices)):
        g = (g.transpose(dim, -1) @ matrix).transpose(dim, -1)
    return g


@RESAMPLING.vjp(
    (aten.upsample_nearest1d.default, aten.upsample_nearest2d.default, aten.upsample_nearest3d.default),
    *LINEAR,
)
def upsample_nearest(g, y, x, output_size, *scales):
    return _pull_back(g, [_of_1d(aten.upsample_nearest1d, *each) for each in _each(g, x, output_size, scales)])


@RESAMPLING.vjp(
    (
        aten._upsample_nearest_exact1d.default,
        aten._upsample_nearest_exact2d.default,
        aten._upsample_nearest_exact3d.default,
    ),
    *LINEAR,
)
def upsample_nearest_exact(g, y, x, output_size, *scales):
    sizes = _each(g, x, output_size, scales)
    return _pull_back(g, [_of_1d(aten._upsample_nearest_exact1d, *each) for each in sizes])


@RESAMPLING.vjp(
    (aten.upsample_linear1d.default, aten.upsample_bilinear2d.default, aten.upsample_trilinear3d.default),
    *LINEAR,
)
def upsample_linear(g, y, x, output_size, align_corners, *scales):
    def along(unit, size, scale):
        return aten.upsample_linear1d(unit, size, align_corners, scale)

    return _pull_back(g, [_of_1d(along, *each) for each in _each(g, x, output_size, scales)])


@RESAMPLING.vjp(aten.upsample_bicubic2d.default, *LINEAR)
def upsample_bicubic(g, y, x, output_size, align_corners, *scales):
    return _planar(aten.upsample_bicubic2d, g, x, output_size, align_corners, scales)


@RESAMPLING.vjp(aten._upsample_bilinear2d_aa.default, *LINEAR)
def upsample_bilinear_smoothed(g, y, x, output_size, align_corners, *scales):
    return _planar(aten._upsample_bilinear2d_aa, g, x, output_size, align_corners, scales)


@RESAMPLING.vjp(aten._upsample_bicubic2d_aa.default, *LINEAR)
def upsample_bicubic_smoothed(g, y, x, output_size, align_corners, *scales):
    return _planar(aten._upsample_bicubic2d_aa, g, x, output_size, align_corners, scales)


def _each(g: Tensor, x: Tensor, output_size: Sequence[int], scales: Sequence) -> Iterable[tuple]:
    """(unit vectors, output size, scale) for each spatial dimension."""
    n = len(output_size)
    scales = scales or [None] * n
    units = [torch.eye(size, dtype=g.dtype, device=g.device) for size in x.shape[-n:]]
    return zip(units, output_size, scales, strict=True)


def _of_1d(operation, unit, size, scale):
    return operation(unit.unsqueeze(0), [size], scale)[0].t()


def _planar(operation, g, x, output_size, align_corners, scales):
    """Of an operation that comes for two dimensions only: the first has a single entry."""
    matrices = [
        operation(unit[:, None, None, :], [1, size], align_corners, None, scale)[:, 0, 0, :].t()
        for unit, size, scale in _each(g, x, output_size, scales)
    ]
    return _pull_back(g, matrices)
