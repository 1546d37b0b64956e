"""What a map of basins holds: the minimizers, and for every starting point where its descent ends."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlab.errors import BadInput
from gradlab.losses import Surface
from gradlab.models.starts import Box
from gradlab.studies.again import Again
from gradlab.studies.minimizers import minimizers

NOWHERE, GONE = -1, -2  # in place of a minimizer's number: at none, and no finite point at all


@dataclass(frozen=True, slots=True)
class Minimizer:
    """A point to which descents may come.

    Attributes:
        name: a letter, or a number where there are more than letters.
        place: [2].
        limit: 2/λmax, from which learning rate on gradient descent no longer stays there; NaN at a kink.
    """

    name: str
    place: np.ndarray
    limit: float

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(f'{value:.4g}' for value in self.place)})".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Map:
    """The starts of one descent and where they end; the first axis is y, from below, as pictures have it.

    Attributes:
        name: of the variant.
        reached: the number of the minimizer that the start (xⱼ, yᵢ) comes to, or `NOWHERE` or `GONE`, [r, r].
        steps: the step from which on it stays near, [r, r]; NaN where it is not near in the end.
        witness: of a few starts, descended again; None where the optimizer has no rule by hand.
    """

    name: str
    reached: np.ndarray
    steps: np.ndarray
    witness: Again | None

    def share(self, number: int) -> float:
        """Of the starts, those that come to a minimizer, to none (`NOWHERE`), or away (`GONE`)."""
        return float((self.reached == number).mean())

    @property
    def median(self) -> float:
        """The median of the steps of those starts that come to a minimizer; NaN where none does."""
        known = self.steps[np.isfinite(self.steps)]
        return float(np.median(known)) if len(known) else math.nan


@dataclass(frozen=True, slots=True)
class Basins:
    """What the pictures show.

    Attributes:
        surface, window: what is descended, and from where.
        minimizers: the known ones first.
        near: how close to one counts as there.
        maps: one for each variant.
    """

    surface: Surface
    window: Box
    minimizers: tuple[Minimizer, ...]
    near: float
    maps: tuple[Map, ...]

    def largest(self, most: int) -> list[int]:
        """The numbers of those minimizers that most starts come to, in their order."""
        shares = [sum(one.share(number) for one in self.maps) for number in range(len(self.minimizers))]
        return sorted(sorted(range(len(shares)), key=lambda number: -shares[number])[:most])


def reached_by(ends: Tensor, places: np.ndarray, near: float) -> np.ndarray:
    """Which of several places each point has come to.

    Args:
        ends: [P, 2].
        places: [k, 2].
        near: the distance that counts as there.

    Returns:
        The number of the nearest place, `NOWHERE` or `GONE`, [P].

    Example:
        >>> ends = torch.tensor([[0.9, 0.0], [5.0, 5.0], [float("nan"), 0.0]], dtype=torch.float64)
        >>> reached_by(ends, np.array([[0.0, 0.0], [1.0, 0.0]]), near=0.2).tolist()
        [1, -1, -2]
    """
    # The differences themselves: by ‖a‖² − 2ab + ‖b‖², which is faster for many places, digits would be lost.
    distances = torch.cdist(ends, torch.from_numpy(places), compute_mode="donot_use_mm_for_euclid_dist")
    least, nearest = distances.min(1)
    found = torch.where(least <= near, nearest, NOWHERE)
    return np.asarray(torch.where(torch.isfinite(ends).all(1), found, GONE).numpy())


def known(surface: Surface, window: Box) -> tuple[Minimizer, ...]:
    """The minimizers of a surface, in its own window and in another one.

    Raises:
        BadInput: it has none.

    Example:
        >>> from gradlab.losses import Himmelblau
        >>> [str(one) for one in known(Himmelblau(), [(0.0, 5.0), (0.0, 5.0)])][:2]
        ['A (3, 2)', 'B (−2.805, 3.131)']
    """
    hull = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(surface.box, window, strict=True)]
    places = minimizers(surface, hull)
    if not len(places):
        raise BadInput(f"{surface.name} has no minimizer: choose another surface, such as loss=himmelblau")
    many = len(places) > len(string.ascii_uppercase)
    names = map(str, range(1, len(places) + 1)) if many else string.ascii_uppercase
    return tuple(Minimizer(name, p, _limit(surface, p)) for name, p in zip(names, places, strict=False))


def _limit(surface: Surface, place: np.ndarray) -> float:
    hessian = surface.hessian_at(place)
    return float(2 / np.linalg.eigvalsh(hessian)[-1]) if np.isfinite(hessian).all() else math.nan
