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


def _pull_back(g: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Wᵀ·g along each of the last dimensions, one matrix for each."""
    for dim, matrix in enumerate(matrices, start=g.dim() - len(matrices)):
        g = (g.transpose(dim, -1) @ matrix).transpose(dim, -1)
    return g


# --- the mean of each window --------------------------------------------------------------------------------


@RESAMPLING.vjp(
    (aten.avg_pool2d.default, aten.avg_pool3d.default),
    "y = the sum of each window / the number of its entries",
    "1/number for each entry of the window, summed over the windows that hold it",
)
def avg_pool(g, y, x, kernel_size, stride=(), padding=(0,), ceil_mode=False, count_include_pad=True, divisor=None):
    n = len(kernel_size) if len(kernel_size) > 1 else 2
    kernels, pads = _for_each(kernel_size, n), _for_each(padding, n)
    strides = _for_each(stride, n) if stride else kernels
    matrices = []
    for size, outputs, k, s, p in zip(x.shape[-n:], g.shape[-n:], kernels, strides, pads, strict=True):
        start = torch.arange(outputs, device=g.device) * s - p
        end = (start + k).clamp(max=size + p)
        inside = _windows(start.clamp(min=0), end.clamp(max=size), size, g)
        counted = end - start if count_include_pad else inside.sum(1)
        matrices.append(inside if divisor else inside / counted.unsqueeze(1))
    return _pull_back(g / divisor if divisor else g, matrices)


@RESAMPLING.vjp(
    (aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default),
    "y = the mean of each window; with n inputs and m outputs, window i goes from ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉",
    "1/number for each entry of the window, summed over the windows that hold it",
)
def adaptive_avg_pool(g, y, x, output_size):
    matrices = []
    for n, m in zip(x.shape[-len(output_size) :], output_size, strict=True):
        start = torch.tensor([i * n // m for i in range(m)], device=g.device)
        end = torch.tensor([-(-(i + 1) * n // m) for i in range(m)], device=g.device)
        inside = _windows(start, end, n, g)
        matrices.append(inside / inside.sum(1, keepdim=True))
    return _pull_back(g, matrices)


def _windows(start: Tensor, end: Tensor, size: int, like: Tensor) -> Tensor:
    """W with w_ij = 1 where entry j lies in window i."""
    place = torch.arange(size, device=like.device)
    return ((place >= start.unsqueeze(1)) & (place < end.unsqueeze(1))).to(like.dtype)


def _for_each(value: int | Sequence[int], n: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * n if len(values) == 1 else values


# --- interpolation ------------------------------------------------------------------------------------------
# The matrix of a linear operation has the images of the unit vectors for its columns.

LINEAR = "y = W·x along each dimension", "W, whose columns are the images of the unit vectors"


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
