"""The heavy ball on a bowl, in closed form: its edge, its best settings, and the steps until it has arrived."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradlab.studies.conditioning import best_momentum
from gradlab.studies.law import Law, Number


@dataclass(frozen=True, slots=True)
class HeavyBall:
    """The heavy ball on a bowl: what theory says of each learning rate and each momentum, or of many at once.

    Attributes:
        curvatures: λ [n], ascending.
        start: the distance along each direction, [n].
        shrink: the share of the first distance at which a descent has arrived.
    """

    curvatures: np.ndarray
    start: tuple[float, ...]
    shrink: float

    @property
    def largest_rate(self) -> float:
        """4/λmax, from which on no momentum below 1 is stable; see `edge`."""
        return float(4 / self.curvatures[-1])

    def edge(self, momentum: Number) -> Number:
        """The learning rate from which on nothing arrives: 2 (1 + m) / λmax.

        References:
            B. T. Polyak, *Introduction to Optimization*, 1987, section 3.2.1.
        """
        return 2 * (1 + momentum) / float(self.curvatures[-1])

    @property
    def optimum(self) -> tuple[float, float]:
        """The learning rate and the momentum with the smallest factor in the long run."""
        return best_momentum(float(self.curvatures[0]), float(self.curvatures[-1]))

    def factors(self, rates: Number, momenta: Number) -> np.ndarray:
        """By what the distance is multiplied at each step in the long run: in its slowest direction, […]."""
        return np.max([Law(rates, float(λ), momenta).factors for λ in self.curvatures], axis=0)

    def roughly(self, rates: Number, momenta: Number) -> np.ndarray:
        """The steps if every step were alike, ln(shrink) / ln(factor), […]; infinite where the factor is 1 or more."""
        factors = self.factors(rates, momenta)
        logs = np.log(np.clip(factors, np.finfo(float).tiny, 1))
        return np.divide(math.log(self.shrink), logs, out=np.full_like(logs, math.inf), where=logs < 0)

    def steps(self, rates: Number, momenta: Number, looks: int) -> np.ndarray:
        """The steps by powers of the step's matrix, […]; infinite where it has not arrived by the last of the looks."""
        with np.errstate(over="ignore", invalid="ignore"):  # where it diverges
            distances = np.zeros(())
            for start, curvature in zip(self.start, self.curvatures, strict=True):
                along = Law(rates, float(curvature), momenta).distances(start, looks - 1)
                distances = np.hypot(distances, along)
            return arrivals(distances, self.shrink)


def arrivals(distances: np.ndarray, shrink: float) -> np.ndarray:
    """The step from which on a distance stays within a share of the first one; infinite where it ends beyond.

    Args:
        distances: [steps, …].
        shrink: the share.

    Example:
        >>> arrivals(np.array([[8.0, 8.0], [1.0, 1.0], [3.0, 1.0], [1.0, 3.0]]), 0.25).tolist()
        [3.0, inf]
    """
    is_far = ~(distances <= shrink * distances[0])  # also where it is NaN
    after_last = len(distances) - is_far[::-1].argmax(axis=0)
    return np.where(is_far[-1], math.inf, after_last)
