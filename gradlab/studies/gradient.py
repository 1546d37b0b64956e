"""The gradient: in which direction a surface rises fastest, measured in all directions around one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradlab.errors import BadInput
from gradlab.losses import Surface
from gradlab.studies.base import Findings, Setting
from gradlab.studies.directions import level_line, rate, unit
from gradlab.studies.landscape import Landscape, heights, landscape, named
from gradlab.studies.random_directions import RandomDirections, random_directions
from gradlab.studies.witnessed import gradients, worst_errors


@dataclass(frozen=True, slots=True)
class Compass:
    """How fast a surface rises from a point, in every direction.

    Attributes:
        land: the surface around the point.
        value: its height there.
        gradient: autograd's, (∂f/∂x, ∂f/∂y).
        angles: directions, in degrees from the x axis against the clock, [n].
        rates: f's rate of change in each, by differences, [n].
        level_line: the direction of the contour line through the point, in degrees, found without the gradient.
    """

    land: Landscape
    value: float
    gradient: np.ndarray
    angles: np.ndarray
    rates: np.ndarray
    level_line: float

    @property
    def length(self) -> float:
        return float(np.linalg.norm(self.gradient))

    @property
    def angle(self) -> float:
        """The gradient's direction, in degrees from 0 to 360."""
        return float(np.degrees(np.arctan2(self.gradient[1], self.gradient[0])) % 360)


class Gradient:
    """Rates of change around a point of the configured surface, and in random directions in a large space.

    Args:
        at: the point (x, y).
        width: of the piece of the surface that is drawn, to every side of the point.
        directions: how many are measured, evenly around the point.
        many: a surface of many dimensions, at a random point of which random directions are tried.
        samples: how many of those.
        seed: of the point and the directions.
    """

    def __init__(
        self,
        many: Any,
        at: Sequence[float] = (-1.0, 2.0),
        width: float = 2.5,
        directions: int = 360,
        samples: int = 5000,
        seed: int = 0,
    ) -> None:
        if not isinstance(many, Surface):
            raise BadInput(f"study.many: {type(many).__name__} is no surface: choose one of gradlab.losses")
        if directions < 3:
            raise BadInput(f"study.directions={directions}: give a whole number from 3 on")
        self._at, self._width, self._directions = tuple(map(float, at)), float(width), directions
        self._many, self._samples, self._seed = many, samples, seed

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import gradient as picture  # matplotlib is slow to import

        surface = setting.surface
        land = landscape(surface, self._at, self._width)
        found = gradients(surface, torch.tensor(self._at, dtype=torch.float64))
        compass = self._compass(surface, land, found["autograd"])
        along, across = (rate(surface, self._at, [compass.angle + turn], self._width)[0] for turn in (0.0, 90.0))
        far = random_directions(self._many, self._samples, self._seed)
        steepest = int(compass.rates.argmax())
        around = f"{self._directions:,} directions"
        return Findings(
            numbers={
                "∂f/∂x": float(compass.gradient[0]),
                "∂f/∂y": float(compass.gradient[1]),
                "length of the gradient": compass.length,
                "largest rate measured": float(compass.rates[steepest]),
                "rate along the gradient": float(along),
                "rate at right angles": abs(float(across)),
                "angle of the gradient": compass.angle,
                "angle of the largest rate": float(compass.angles[steepest]),
                "angle between gradient and contour line": (compass.angle - compass.level_line) % 180,
                "spread of random rates": float(far.shares.std()),
                "spread in theory": far.dimension**-0.5,
                "largest random rate": float(far.shares.max()),
                "nearest random direction": float(np.degrees(np.arccos(far.shares.max()))),
                "rate along the gradient, many dimensions": far.along,
            },
            title=f"{surface.name} at x = {self._at[0]:g}, y = {self._at[1]:g}: which way is up?",
            rows=_rows(compass, float(along), float(across)),
            text=_text(far),
            figures={"gradient": picture.figure(compass), "random_directions": picture.histogram(far)},
            errors={
                **named(worst_errors(found)),
                f"differences in {around}": _gap(compass),
                **{f"{name}, {far.dimension:,} dimensions": error for name, error in named(far.errors).items()},
            },
        )

    def _compass(self, surface: Surface, land: Landscape, gradient: np.ndarray) -> Compass:
        if not np.linalg.norm(gradient) > 1e-9 * land.steepness:
            raise BadInput(f"study.at={list(self._at)}: the gradient there is 0 or NaN and points nowhere")
        angles = np.arange(self._directions) * 360 / self._directions
        value = float(heights(surface, np.array(self._at)))
        rates = rate(surface, self._at, angles, self._width)
        return Compass(land, value, gradient, angles, rates, level_line(surface, self._at, 1e-3 * self._width))


def _gap(compass: Compass) -> float:
    """The largest difference of a measured rate from ∇f · u, as a share of |∇f|."""
    return float(np.abs(compass.rates - unit(compass.angles) @ compass.gradient).max() / compass.length)


def _rows(compass: Compass, along: float, across: float) -> list[Sequence[str]]:
    steepest, flattest = int(compass.rates.argmax()), int(compass.rates.argmin())
    found = [
        ("steepest way up, measured", compass.angles[steepest], compass.rates[steepest]),
        ("along the gradient", compass.angle, along),
        ("at right angles to it", (compass.angle + 90) % 360, across),
        ("steepest way down, measured", compass.angles[flattest], compass.rates[flattest]),
    ]
    cells = ((who, f"{angle:.2f}°", f"{round(measured, 6) + 0.0:.6f}") for who, angle, measured in found)
    name = f"autograd's ∇f = ({compass.gradient[0]:.6g}, {compass.gradient[1]:.6g})"
    return [("direction", "angle", "rate"), *cells, (name, f"{compass.angle:.2f}°", f"|∇f| = {compass.length:.6g}")]


def _text(far: RandomDirections) -> str:
    return (
        f"{far.name} in {far.dimension:,} dimensions, {len(far.shares):,} random directions: their rates have a spread "
        f"of {far.shares.std():.4f} |∇f| (theory: 1/√n = {far.dimension**-0.5:.4f}); the largest is "
        f"{far.shares.max():.3f} |∇f|"
    )
