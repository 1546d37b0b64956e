"""Directions in the plane: how fast a surface rises in each, and in which one it stays level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlab.losses import Surface
from gradlab.studies.landscape import heights


def unit(degrees: Any) -> np.ndarray:
    """The vectors of length 1 in these directions: [n] to [n, 2].

    Example:
        >>> unit([0.0, 90.0]).round(9).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=-1)


def rate(surface: Surface, at: Sequence[float], degrees: Any, width: float) -> np.ndarray:
    """How much f changes for each unit of way in each direction, by a difference to both sides: [n].

    Example:
        >>> from gradlab.losses import Quadratic
        >>> rate(Quadratic(condition=1.0), (3.0, 4.0), [0.0, 90.0], 1.0).round(6).tolist()
        [3.0, 4.0]
    """
    h = 1e-5 * width
    step = h * unit(degrees)
    return (heights(surface, np.asarray(at) + step) - heights(surface, np.asarray(at) - step)) / (2 * h)


def level_line(surface: Surface, at: Sequence[float], radius: float) -> float:
    """The direction of the contour line through a point, in degrees, from heights alone.

    On a small circle around the point there are two places as high as the point itself; the line is the chord
    through both.

    Returns:
        An angle from 0 to 180; NaN where the circle has not just two such places, as around a minimum.

    Example:
        >>> from gradlab.losses import Quadratic
        >>> round(level_line(Quadratic(condition=1.0), (1.0, 0.0), 1e-3), 6)
        90.0
    """
    middle, own = np.asarray(at, dtype=np.float64), heights(surface, np.asarray(at, dtype=np.float64))

    def is_higher(degrees: np.ndarray) -> np.ndarray:
        return heights(surface, middle + radius * unit(degrees)) > own

    angles = np.arange(0.25, 360, 0.5)
    here = is_higher(angles)
    changes = np.flatnonzero(here != np.roll(here, -1))
    if len(changes) != 2:
        return float("nan")
    low, was = angles[changes], here[changes]
    width = 0.5
    for _ in range(40):  # bisection
        width /= 2
        low = np.where(is_higher(low + width) == was, low + width, low)
    first, second = unit(low)
    return float(np.degrees(np.arctan2(*(second - first)[::-1])) % 180)
