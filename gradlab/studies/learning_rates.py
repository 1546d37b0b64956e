"""Learning rates on a bowl: from too small to just beyond the largest that still arrives, each held against theory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.figures.contour import PATH
from gradlab.losses import Surface
from gradlab.sinks import MemorySink
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.law import has_constant_curvature

DIRECTIONS = {"steep": -1, "flat": 0}  # places among the curvatures, which ascend
LEAST = 1e-8  # a coordinate that has shrunk below this share of its start is rounding


@dataclass(frozen=True, slots=True)
class Bowl:
    """A quadratic surface, f(θ) = f(θ*) + ½ (θ − θ*)ᵀ H (θ − θ*).

    Attributes:
        minimizer: θ*, [n].
        curvatures: the eigenvalues of H, [n], in ascending order.
        directions: the eigenvectors, as the columns of [n, n].
    """

    minimizer: np.ndarray
    curvatures: np.ndarray
    directions: np.ndarray

    @property
    def limit(self) -> float:
        """The learning rate from which on gradient descent no longer arrives: 2/λmax."""
        return float(2 / self.curvatures[-1])

    def path(self, start: np.ndarray, rate: float, steps: int) -> np.ndarray:
        """Gradient descent in closed form: along each eigenvector the distance is multiplied by 1 − lr·λ at each step.

        Args:
            start: [n].
            rate: the learning rate.
            steps: how many.

        Returns:
            [steps + 1, n].

        References:
            Y. Nesterov, *Lectures on Convex Optimization*, 2nd ed., 2018, section 2.1.
        """
        along = self.directions.T @ (start - self.minimizer)
        factors = (1 - rate * self.curvatures) ** np.arange(steps + 1)[:, None]
        return self.minimizer + (factors * along) @ self.directions.T

    def distances(self, path: np.ndarray) -> np.ndarray:
        """From the minimizer along each direction, [k, n], of points [k, n]."""
        return np.abs((path - self.minimizer) @ self.directions)


@dataclass(frozen=True, slots=True)
class Descended:
    """One descent.

    Attributes:
        name: such as ``too small``.
        rate: the learning rate.
        factors: by what the distance along each direction was multiplied at each step, on average, [n].
        predicted: |1 − lr·λ| for each, [n].
        error: of the whole path against the closed form, relative.
        loss: at the end.
        memory: what was recorded.
    """

    name: str
    rate: float
    factors: tuple[float, ...]
    predicted: tuple[float, ...]
    error: float
    loss: float
    memory: MemorySink

    def cell(self, direction: int) -> str:
        """The factor along one direction, measured and predicted, for a table."""
        return f"{self.factors[direction]:.4g} ({self.predicted[direction]:.4g})"


class LearningRates:
    """Gradient descent on a bowl under several learning rates.

    Args:
        shares: the learning rates by name, as shares of the limit 2/λmax.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        if not shares or any(share <= 0 for share in shares.values()):
            raise BadInput("study.shares: give each descent a name and a positive share of 2/λmax")
        self._shares = {name: float(share) for name, share in shares.items()}

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import learning_rates as picture  # matplotlib is slow to import

        bowl = bowl_of(setting.surface)
        rates = {name: share * bowl.limit for name, share in self._shares.items()}
        runs = setting.run({name: ["optimizer=sgd", f"optimizer.lr={rate!r}"] for name, rate in rates.items()})
        descents = [_descended(run, bowl, rates[run.name]) for run in runs]
        return Findings(
            numbers={
                "lambda max": float(bowl.curvatures[-1]),
                "limit": bowl.limit,
                **{f"learning rate, {d.name}": d.rate for d in descents},
                **{f"{kind} factor, {d.name}": d.factors[i] for kind, i in DIRECTIONS.items() for d in descents},
                **{
                    f"predicted {kind} factor, {d.name}": d.predicted[i]
                    for kind, i in DIRECTIONS.items()
                    for d in descents
                },
                **{f"loss, {d.name}": d.loss for d in descents},
            },
            title=f"λmax = {bowl.curvatures[-1]:.4g}: gradient descent arrives for lr below {bowl.limit:.4g}",
            rows=[
                ("learning rate", "lr", *(f"factor, {kind} direction" for kind in DIRECTIONS), "loss at the end"),
                ("", "", *(f"(predicted: |1 − {bowl.curvatures[i]:.4g}·lr|)" for i in DIRECTIONS.values()), ""),
                *((d.name, f"{d.rate:.4g}", *map(d.cell, DIRECTIONS.values()), f"{d.loss:.4g}") for d in descents),
            ],
            figures={"learning_rates": picture.paths(descents), "factors": picture.factors(descents, bowl)},
            errors={f"the closed form, {d.name}": d.error for d in descents},
            statuses={run.name: run.status for run in runs},
        )


def bowl_of(surface: Surface) -> Bowl:
    """The curvatures of a quadratic surface, from the closed form of its Hessian.

    Raises:
        BadInput: it lies over no plane, its curvature is not the same everywhere, or it has no minimizer.

    Example:
        >>> from gradlab.losses import Booth
        >>> bowl = bowl_of(Booth())
        >>> bowl.curvatures.round(9).tolist(), bowl.minimizer.tolist()
        ([2.0, 18.0], [1.0, 3.0])
    """
    if surface.dimension != 2:
        raise BadInput("this study draws a surface over the plane: set loss.dimension=2")
    if not surface.minimizers or not has_constant_curvature(surface):
        raise BadInput(f"{surface.name} is no bowl: choose loss=quadratic (with loss.condition=…) or loss=booth")
    minimizer = np.array(surface.minimizers[0])
    curvatures, directions = np.linalg.eigh(surface.hessian_at(minimizer))
    return Bowl(minimizer, curvatures, directions)


def _descended(run: Finished, bowl: Bowl, rate: float) -> Descended:
    steps, path = run.memory.arrays(PATH)
    closed = bowl.path(path[0], rate, int(steps[-1]))[steps]
    size = np.abs(closed - bowl.minimizer).max()
    return Descended(
        run.name,
        rate,
        factors=tuple(mean_factor(sizes, steps) for sizes in bowl.distances(path).T),
        predicted=tuple(np.abs(1 - rate * bowl.curvatures).tolist()),
        error=float(np.abs(path - closed).max() / size),
        loss=run.metrics["loss"],
        memory=run.memory,
    )


def mean_factor(sizes: np.ndarray, steps: np.ndarray) -> float:
    """The factor per step by which a size grows or shrinks, over all steps at which it is more than rounding.

    Args:
        sizes: [k]; where the first is 0, there is no factor, and the result is NaN.
        steps: [k], ascending.

    Example:
        >>> mean_factor(np.array([8.0, 4.0, 2.0, 0.0]), np.arange(4))
        0.5
    """
    if sizes[0] == 0:
        return math.nan
    last = max(1, int(np.flatnonzero(sizes > LEAST * sizes[0])[-1]))
    return float((sizes[last] / sizes[0]) ** (1 / (steps[last] - steps[0])))
