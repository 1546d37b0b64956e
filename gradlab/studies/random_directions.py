"""How fast a function of many variables changes in directions chosen at random."""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log, pi

import numpy as np
import torch

from gradlab.errors import BadInput
from gradlab.losses import Surface
from gradlab.studies.witnessed import gradients, worst_errors

H = 1e-5
CHUNK = 1_000_000  # numbers at once


@dataclass(frozen=True, slots=True)
class RandomDirections:
    """Rates of change at one point, in random directions.

    Attributes:
        name: of the function.
        dimension: how many variables it has.
        shares: the rate in each direction, by differences, divided by the gradient's length, [n].
        along: the rate in the gradient's own direction, likewise.
        errors: of two witnesses to the same number.
    """

    name: str
    dimension: int
    shares: np.ndarray
    along: float
    errors: dict[str, float]


def random_directions(surface: Surface, samples: int, seed: int) -> RandomDirections:
    """The rates at a random point, in random directions.

    Args:
        surface: of two dimensions or more.
        samples: how many directions.
        seed: of the point and the directions.

    Raises:
        BadInput: there is one dimension only, or no sample.

    Example:
        >>> from gradlab.losses import Quadratic
        >>> far = random_directions(Quadratic(dimension=100), 50, seed=0)
        >>> far.shares.shape, round(far.along, 6), bool(0.05 < far.shares.std() < 0.15)
        ((50,), 1.0, True)
    """
    n = surface.dimension
    if n < 2 or samples < 2:
        raise BadInput(f"study.many.dimension={n}, study.samples={samples}: give at least 2 of each")
    draw = np.random.default_rng(seed)
    point = draw.standard_normal(n)
    found = gradients(surface, torch.from_numpy(point), witnesses=("autograd", "manual"))
    gradient = found["autograd"]
    length = float(np.linalg.norm(gradient))
    rates, gap = [], 0.0
    for count in _chunks(samples, max(1, CHUNK // n)):
        directions = draw.standard_normal((count, n))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        rates.append(_rates(surface, point, directions))
        gap = max(gap, float(np.abs(rates[-1] - directions @ gradient).max()))
    along = float(_rates(surface, point, gradient[None] / length)[0]) / length
    errors = {**worst_errors(found), "differences": gap / length}
    return RandomDirections(surface.name, n, np.concatenate(rates) / length, along, errors)


def density(shares: np.ndarray, dimension: int) -> np.ndarray:
    """How densely a random direction's share of a given one lies at each value, in theory.

    The cosine t between a fixed and a random direction in n dimensions has the density
    Γ(n/2) / (√π Γ((n−1)/2)) · (1 − t²)^((n−3)/2) on −1 < t < 1, with standard deviation 1/√n (K. V. Mardia, P. E.
    Jupp, *Directional Statistics*, 2000, section 9.3.1).

    Example:
        >>> density(np.array([-0.5, 0.0, 0.5]), 3).round(9).tolist()  # a sphere's zones of one height have one area
        [0.5, 0.5, 0.5]
    """
    scale = lgamma(dimension / 2) - lgamma((dimension - 1) / 2) - log(pi) / 2
    return np.asarray(np.exp(scale + (dimension - 3) / 2 * np.log1p(-(shares**2))))


def _rates(surface: Surface, point: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(f(x + hu) − f(x − hu)) / 2h for each row u."""
    with torch.no_grad():
        ahead, behind = (surface(torch.from_numpy(point + side * H * directions)).numpy() for side in (1, -1))
    return np.asarray((ahead - behind) / (2 * H))


def _chunks(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]
