"""Grids of settings for the members of a population: every combination once, each setting along an axis of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def linear(low: float, high: float, shape: Sequence[int], axis: int = 0) -> Tensor:
    """Numbers at equal distances along one axis of a grid, the same along all others.

    Args:
        low, high: the first and the last number.
        shape: how many settings there are along each axis; their product is the population P.
        axis: along which the numbers change.

    Returns:
        A number for each member, shape [P], float64. The last axis changes fastest: ``….view(shape)`` is the grid.

    Raises:
        ValueError: the shape is no list of whole numbers above 0, or there is no such axis.

    Example:
        >>> linear(0.0, 0.9, shape=[2, 3], axis=0).tolist()
        [0.0, 0.0, 0.0, 0.9, 0.9, 0.9]
        >>> linear(1.0, 3.0, shape=[2, 3], axis=1).tolist()
        [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    """
    return _spread(torch.linspace(low, high, _count(shape, axis), dtype=torch.float64), shape, axis)


def log(low: float, high: float, shape: Sequence[int], axis: int = 0) -> Tensor:
    """Numbers at equal ratios, as `linear`; both ends above 0.

    Example:
        >>> [round(rate, 9) for rate in log(0.001, 1.0, shape=[4]).tolist()]
        [0.001, 0.01, 0.1, 1.0]
    """
    if not (low > 0 and high > 0):
        raise ValueError(f"a grid of equal ratios goes from a number above 0 to another, got {low} and {high}")
    exponents = torch.linspace(math.log(low), math.log(high), _count(shape, axis), dtype=torch.float64)
    return _spread(exponents.exp(), shape, axis)


def _count(shape: Sequence[int], axis: int) -> int:
    if not isinstance(shape, Sequence) or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(
            f"shape={shape}: a grid has a list of whole numbers above 0, one for each axis, such as [4, 3]"
        )
    if axis not in range(len(shape)):
        raise ValueError(f"a grid of shape {list(shape)} has no axis {axis}: axes count from 0")
    return shape[axis]


def _spread(values: Tensor, shape: Sequence[int], axis: int) -> Tensor:
    sizes = [1] * len(shape)
    sizes[axis] = len(values)
    return values.view(sizes).expand(*shape).reshape(-1)
