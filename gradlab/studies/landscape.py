"""A surface over the plane around one point: what studies of its slopes there have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from gradlab.errors import BadInput
from gradlab.losses import Surface

T = TypeVar("T")

POINTS = 121  # of the grid, along each axis


@dataclass(frozen=True, slots=True)
class Landscape:
    """A piece of a surface, seen from a point in its middle.

    Attributes:
        name: of the surface.
        at: the point (x, y).
        x, y: the coordinates of the grid, [m] and [n].
        z: the heights, [n, m].
    """

    name: str
    at: tuple[float, float]
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    @property
    def steepness(self) -> float:
        """How steep it is on the whole: the difference of its heights over its width."""
        return float(np.ptp(self.z) / np.ptp(self.x))


def landscape(surface: Surface, at: Sequence[float], width: float) -> Landscape:
    """The square that reaches ``width`` from the point to every side.

    Args:
        surface: over the plane.
        at: the point (x, y).
        width: above 0.

    Raises:
        BadInput: the surface has another dimension than 2, the point is none of the plane, or there is no width.

    Example:
        >>> from gradlab.losses import Quadratic
        >>> piece = landscape(Quadratic(condition=1.0), (1.0, 0.0), 1.0)
        >>> piece.z.shape, float(piece.z.max()), piece.steepness
        ((121, 121), 2.5, 1.25)
    """
    if surface.dimension != 2:
        raise BadInput(f"this study looks at a surface over the plane: set loss.dimension=2 ({surface.dimension} now)")
    if len(at) != 2 or not np.isfinite(at).all():
        raise BadInput(f"study.at={list(at)}: give two numbers, such as study.at='[-1, 2]'")
    if not width > 0:
        raise BadInput(f"study.width={width}: give a number above 0")
    x, y = (np.linspace(middle - width, middle + width, POINTS) for middle in at)
    z = heights(surface, np.stack(np.meshgrid(x, y), axis=-1))
    return Landscape(surface.name, (float(at[0]), float(at[1])), x, y, z)


def heights(surface: Surface, points: np.ndarray) -> np.ndarray:
    """f at each point: [..., 2] to [...]; no gradient is involved.

    Example:
        >>> from gradlab.losses import Himmelblau
        >>> heights(Himmelblau(), np.array([[3.0, 2.0], [-1.0, 2.0]])).tolist()
        [0.0, 80.0]
    """
    with torch.no_grad():
        return np.asarray(surface(torch.from_numpy(points)).numpy())


def named(by_witness: Mapping[str, T]) -> dict[str, T]:
    """The same, with the witnesses called as lab sheets call them.

    Example:
        >>> named({"autograd": 1.0, "manual": 1.0})
        {'autograd': 1.0, 'handwritten': 1.0}
    """
    return {"handwritten" if name == "manual" else name: found for name, found in by_witness.items()}
