"""All minimizers of a surface over a window of the plane, the local ones too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gradlab.losses import Surface
from gradlab.models.starts import Box
from gradlab.studies.landscape import heights

POINTS = 241  # of the grid, along each axis: rastrigin's dimples are then 23 points wide
APART = 1e-3  # closer ones are the same
FLAT = 1e-8  # of the largest slope on the way: a smaller one is 0


def minimizers(surface: Surface, window: Box) -> np.ndarray:
    """The known global minimizers, and the local ones in the window.

    A point of a grid that is lower than its eight neighbours is where Newton's method starts, with the closed forms of
    gradient and Hessian. Where it ends with no slope and upward curvature in every direction is a minimizer.

    Args:
        surface: over the plane.
        window: an interval for each of the two coordinates.

    Returns:
        [k, 2]: first the known ones, then the others from the lowest on.

    Example:
        >>> from gradlab.losses import Himmelblau, StyblinskiTang
        >>> len(minimizers(Himmelblau(), Himmelblau().box))
        4
        >>> minimizers(StyblinskiTang(), StyblinskiTang().box).round(3).tolist()
        [[-2.904, -2.904], [2.747, -2.904], [-2.904, 2.747], [2.747, 2.747]]
    """
    found = [np.array(point) for point in surface.minimizers]
    # Heights that are equal by symmetry differ by rounding, which is not to decide the order.
    polished = sorted(_polished(surface, window), key=lambda p: (round(_height(surface, p), 9), p[1], p[0]))
    for place in polished:
        if all(np.linalg.norm(place - known) > APART for known in found):
            found.append(place)
    return np.array(found).reshape(-1, 2)


def _polished(surface: Surface, window: Box) -> Iterable[np.ndarray]:
    x, y = (np.linspace(low, high, POINTS) for low, high in window)
    z = heights(surface, np.stack(np.meshgrid(x, y), axis=-1))
    for row, column in np.argwhere(_dips(z)):
        place = _newton(surface, np.array([x[column], y[row]]))
        if place is not None and _within(place, window):
            yield place


def _dips(z: np.ndarray) -> np.ndarray:
    """Which heights are no higher than all eight around them; none at the edge, [n, m] bool."""
    inner = z[1:-1, 1:-1]
    lowest = np.ones_like(inner, dtype=bool)
    for i, j in np.ndindex(3, 3):
        lowest &= inner <= z[i : z.shape[0] - 2 + i, j : z.shape[1] - 2 + j]
    dips = np.zeros_like(z, dtype=bool)
    dips[1:-1, 1:-1] = lowest
    return dips


def _newton(surface: Surface, place: np.ndarray) -> np.ndarray | None:
    """The minimizer that Newton's method comes to; None where it comes to none."""
    slope = first = np.abs(surface.gradient_at(place)).max()
    for _ in range(30):
        gradient, hessian = surface.gradient_at(place), surface.hessian_at(place)
        if not np.isfinite(hessian).all() or np.linalg.eigvalsh(hessian)[0] <= 0:
            return None
        place = place - np.linalg.solve(hessian, gradient)
        slope = np.abs(gradient).max()
    return place if slope <= FLAT * max(first, 1.0) else None


def _within(place: np.ndarray, window: Sequence[Sequence[float]]) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(place, window, strict=True))


def _height(surface: Surface, place: np.ndarray) -> float:
    return float(heights(surface, place))
