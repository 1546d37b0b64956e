"""Statistics of one large gradient on a CPU, piece by piece, so that each number comes from memory once.

The sums run in the gradient's own precision over pieces of 131,072 entries, and in double precision over the pieces:
about seven digits for float32. Where that is not enough, `statistics` does it in double precision.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gradlab.probes.statistics import statistics, wide
from gradlab.tensors import PIECE

SAFE = (1e-15, 1e15)  # what may be squared and summed in single precision, whose range is 1e-38 to 3e38


class Sums(NamedTuple):
    """What one pass over a gradient x finds, in double precision; ``inner`` is Σxy with the previous gradient y."""

    total: float
    square: float
    nonzero: float
    low: float
    high: float
    inner: float


def in_pieces(flat: Tensor, previous: Tensor, precise: bool = False) -> tuple[Tensor, float]:
    """The nine numbers of `statistics`, and the inner product with the previous gradient, whose place it takes.

    Args:
        flat: [m], real, on a CPU.
        previous: [m]; overwritten with ``flat`` while that is in the cache.
        precise: whether to sum in double precision, which takes twice the time.

    Returns:
        [9] in double precision; the inner product, NaN where single precision turned out not to reach for it.

    Example:
        >>> numbers, inner = in_pieces(torch.tensor([3.0, -4.0, 0.0]), torch.tensor([1.0, 0.0, 0.0]))
        >>> numbers[0].item(), inner
        (5.0, 3.0)
    """
    sums = _pass(flat, previous, precise)
    count = flat.numel()
    mean = sums.total / count
    variance = sums.square / count - mean * mean
    # Sums of float32 are right to about 1e-6 of Σx²: a spread below a thousandth of the mean would drown in that.
    if is_safe(max(-sums.low, sums.high)) and variance > 1e-4 * mean * mean:
        l2 = math.sqrt(sums.square)
        linf = max(-sums.low, sums.high)
        zeros = 1 - sums.nonzero / count
        numbers = [l2, linf, l2 / math.sqrt(count), mean, math.sqrt(variance), sums.low, sums.high, zeros, 0.0]
        return torch.tensor(numbers, dtype=torch.float64), sums.inner
    exact = statistics(wide(flat.unsqueeze(0)))[0]
    return exact, sums.inner if precise or is_safe(float(exact[1])) else math.nan


def is_safe(largest: float) -> bool:
    """Whether a gradient of this largest entry may be summed in single precision; NaN may not."""
    return SAFE[0] < largest < SAFE[1]


def _pass(flat: Tensor, previous: Tensor, precise: bool) -> Sums:
    sums: list[Tensor] = []
    extremes: list[Tensor] = []
    dtype = torch.float64 if precise else torch.promote_types(flat.dtype, torch.float32)
    buffer = torch.empty(min(PIECE, flat.numel()), dtype=dtype)
    for piece, other in zip(flat.split(PIECE), previous.split(PIECE), strict=True):
        x = piece.to(dtype)
        # Its square counts what is not 0: comparisons have no vector instructions on a CPU.
        sign = torch.sign(x, out=buffer[: x.numel()])
        extremes += x.amin(), x.amax()  # in two thirds of the time of aminmax
        sums += [x.sum(), torch.dot(x, x), torch.dot(sign, sign), torch.dot(x, other.to(dtype))]
        other.copy_(piece)
    total, square, nonzero, inner = torch.stack(sums).view(-1, 4).double().sum(0).tolist()
    low, high = torch.stack(extremes).aminmax()
    return Sums(total, square, nonzero, float(low), float(high), inner)
