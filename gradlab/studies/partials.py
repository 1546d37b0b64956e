"""Partial derivatives: a surface cut along each axis through a point, and the slope of each cut there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gradlab.losses import Surface
from gradlab.studies.base import Findings, Setting
from gradlab.studies.landscape import heights, landscape, named
from gradlab.studies.witnessed import gradients, worst_errors

NAMES = ("x", "y")
POINTS = 241  # of a cut
CUT = "slope of the cut"


@dataclass(frozen=True, slots=True)
class Cut:
    """What remains of f(x, y) where one coordinate is held at a number: a curve in the other one.

    Attributes:
        moving, held: the names of the two coordinates.
        at, held_at: their values at the point.
        value: f at the point.
        slope: autograd's partial derivative by the moving coordinate.
        along: values of the moving coordinate, [n].
        heights: f there, [n].
    """

    moving: str
    held: str
    at: float
    held_at: float
    value: float
    slope: float
    along: np.ndarray
    heights: np.ndarray


class Partials:
    """The configured surface around a point, its two cuts through the point, and the slopes of the cuts there.

    Args:
        at: the point (x, y).
        width: of the piece of the surface that is drawn, to every side of the point.
    """

    def __init__(self, at: Sequence[float] = (-1.0, 2.0), width: float = 2.5) -> None:
        self._at, self._width = tuple(map(float, at)), float(width)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import cuts as picture  # matplotlib is slow to import

        surface = setting.surface
        land = landscape(surface, self._at, self._width)
        found = named(gradients(surface, torch.tensor(self._at, dtype=torch.float64)))
        found[CUT] = np.array([slope_of_cut(surface, self._at, axis, 1e-4 * self._width) for axis in (0, 1)])
        cuts = [self._cut(surface, axis, float(found["autograd"][axis])) for axis in (0, 1)]
        partials = [f"∂f/∂{name}" for name in NAMES]
        return Findings(
            numbers={
                "f": cuts[0].value,
                **dict(zip(partials, map(float, found["autograd"]), strict=True)),
                **{f"slope of the cut along {NAMES[axis]}": float(found[CUT][axis]) for axis in (0, 1)},
            },
            title=f"{surface.name} at x = {self._at[0]:g}, y = {self._at[1]:g}: both partials, by every witness",
            rows=[
                ("who", *partials),
                *((name, *(f"{slope:.10g}" for slope in slopes)) for name, slopes in found.items()),
            ],
            figures={"partials": picture.figure(land, cuts)},
            errors=worst_errors(found, land.steepness),
        )

    def _cut(self, surface: Surface, axis: int, slope: float) -> Cut:
        at, held_at = self._at[axis], self._at[1 - axis]
        along = np.linspace(at - self._width, at + self._width, POINTS)
        curve = on_cut(surface, self._at, axis, along)
        return Cut(NAMES[axis], NAMES[1 - axis], at, held_at, float(curve[POINTS // 2]), slope, along, curve)


def on_cut(surface: Surface, at: Sequence[float], axis: int, along: np.ndarray) -> np.ndarray:
    """f where one coordinate takes the given values and the other one stays as it is: [n] to [n].

    Example:
        >>> from gradlab.losses import Himmelblau
        >>> on_cut(Himmelblau(), (-1.0, 2.0), 0, np.array([-1.0, 3.0])).tolist()
        [80.0, 0.0]
    """
    points = np.tile(np.asarray(at, dtype=np.float64), (len(along), 1))
    points[:, axis] = along
    return heights(surface, points)


def slope_of_cut(surface: Surface, at: Sequence[float], axis: int, h: float) -> float:
    """The slope of a cut at the point from four heights around it: (8 (f₊ₕ − f₋ₕ) − (f₊₂ₕ − f₋₂ₕ)) / 12h.

    M. Abramowitz, I. Stegun, *Handbook of Mathematical Functions*, 1964, formula 25.3.21, five points; its error is
    h⁴ f⁽⁵⁾ / 30.

    Example:
        >>> from gradlab.losses import Himmelblau
        >>> round(slope_of_cut(Himmelblau(), (-1.0, 2.0), 0, 1e-4), 6)
        24.0
    """
    lower, low, high, higher = on_cut(surface, at, axis, at[axis] + h * np.array([-2.0, -1.0, 1.0, 2.0]))
    return float(8 * (high - low) - (higher - lower)) / (12 * h)
