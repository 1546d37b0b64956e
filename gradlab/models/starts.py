"""Where the points of a population begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

STARTS = ("random", "grid", "same")

Box = Sequence[Sequence[float]]


def starting_points(starts: str, population: int, start: Sequence[float], window: Box | None) -> Tensor:
    """A starting point for each member of a population.

    Args:
        starts: ``random``: drawn evenly from the window, by torch's global generator; ``grid``: on a grid over it,
            edges included, k points along each of the n coordinates, so that ``population`` has to be kⁿ; ``same``:
            all at ``start``.
        population: the number P of points.
        start: n numbers.
        window: an interval (low, high) for each of the n coordinates.

    Returns:
        The points, shape [P, n], float64. On a grid the first coordinate changes slowest:
        ``points.view(k, k, 2)[i, j]`` is (xᵢ, yⱼ).

    Raises:
        ValueError: there is no such arrangement or no window, or the number of points makes no grid.

    Example:
        >>> starting_points("grid", 4, [0.0, 0.0], [(-1.0, 1.0), (0.0, 2.0)]).tolist()
        [[-1.0, 0.0], [-1.0, 2.0], [1.0, 0.0], [1.0, 2.0]]
    """
    if starts not in STARTS:
        raise ValueError(f"model.starts={starts}: the points of a population begin at one of {', '.join(STARTS)}")
    if starts == "same":
        return torch.tensor([list(start)] * population, dtype=torch.float64)
    low, high = _corners(window, len(start))
    if starts == "random":
        return low + (high - low) * torch.rand(population, len(start), dtype=torch.float64)
    count = _along_an_axis(population, len(start))
    axes = [torch.linspace(float(a), float(b), count, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
    return torch.cartesian_prod(*axes).reshape(population, len(start))


def _corners(window: Box | None, dimension: int) -> tuple[Tensor, Tensor]:
    if not _is_box(window, dimension):
        raise ValueError(
            f"model.window={window}: a population is spread over a window, {dimension} "
            f"{'pair' if dimension == 1 else 'pairs'} of numbers such as [-2, 2], one for each coordinate. A surface "
            "has one of its own; a loss of yours needs model.window or model.starts=same"
        )
    edges = torch.tensor([list(pair) for pair in window], dtype=torch.float64)
    return edges[:, 0], edges[:, 1]


def _is_box(window: Any, dimension: int) -> TypeGuard[Box]:
    return _is_list(window, dimension) and all(_is_list(pair, 2) and _is_interval(*pair) for pair in window)


def _is_list(thing: Any, length: int) -> bool:
    return isinstance(thing, Sequence) and not isinstance(thing, str) and len(thing) == length


def _is_interval(low: Any, high: Any) -> bool:
    numbers = all(
        isinstance(end, (int, float)) and not isinstance(end, bool) and math.isfinite(end) for end in (low, high)
    )
    return numbers and low < high


def _along_an_axis(population: int, dimension: int) -> int:
    count = round(population ** (1 / dimension))
    if count**dimension != population or count < 2:
        fitting = sorted({max(2, count + change) ** dimension for change in (-1, 0, 1)})
        raise ValueError(
            f"model.population={population} makes no grid: with k points along each of {dimension} coordinates there "
            f"are k^{dimension}, such as {', '.join(map(str, fitting))}; or choose model.starts=random"
        )
    return count
