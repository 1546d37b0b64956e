"""Learning rate × curvature: where gradient descent arrives and where it blows up, with momentum and without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.losses import Quadratic
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.law import Law
from gradlab.studies.span import Span

PLAIN, HEAVY = "gradient descent", "heavy ball"
SNAPSHOT = "snapshot/theta"
LOOKS = 8  # two to a quarter of the way


@dataclass(frozen=True, slots=True)
class Map:
    """One descent for each learning rate and each curvature.

    Attributes:
        method: ``gradient descent`` or ``heavy ball``.
        momentum: m; 0 for gradient descent.
        rates, curvatures: lr [P] and λ [n], ascending.
        factors: by what the distance was multiplied at each step, [P, n].
        predicted: the same in the long run by the step's matrix, [P, n].
        error: of all distances that were looked at against the matrix's powers; relative to the first distance where
            they shrink, to themselves where they grow.
    """

    method: str
    momentum: float
    rates: np.ndarray
    curvatures: np.ndarray
    factors: np.ndarray
    predicted: np.ndarray
    error: float

    @property
    def edge(self) -> float:
        """lr · λ from which on nothing arrives: 2 (1 + m).

        References:
            B. T. Polyak, *Introduction to Optimization*, 1987, section 3.2.1.
        """
        return 2 * (1 + self.momentum)

    @property
    def products(self) -> np.ndarray:
        """lr · λ of each cell, [P, n]."""
        return np.outer(self.rates, self.curvatures)

    @property
    def largest_that_shrinks(self) -> float:
        """The largest lr · λ of a cell whose distance shrinks."""
        return float(self.products[self.factors < 1].max(initial=0.0))

    @property
    def smallest_that_grows(self) -> float:
        """The smallest lr · λ of a cell whose distance grows, infinite where there is none."""
        return float(self.products[self.factors > 1].min(initial=np.inf))

    @property
    def wrong_side(self) -> int:
        """How many cells do what the edge says they do not."""
        return int(((self.factors > 1) != (self.products > self.edge)).sum())

    @property
    def fastest(self) -> float:
        """lr · λ of the cell that shrinks fastest."""
        return float(self.products.flat[self.factors.argmin()])


class Stability:
    """Maps of the factor per step over learning rate and curvature.

    A bowl of n directions has n curvatures, and each direction is descended for itself. A population of P points with P
    learning rates therefore tries P · n pairs in one run.

    Args:
        rates: the learning rates.
        momentum: that of the second map.
    """

    def __init__(self, rates: Span, momentum: float = 0.9) -> None:
        if not 0 < momentum < 1:
            raise BadInput(f"study.momentum={momentum}: it is above 0 and below 1, such as 0.9")
        self._rates, self._momentum = rates, float(momentum)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import stability as picture  # matplotlib is slow to import

        surface = setting.surface
        if not isinstance(surface, Quadratic) or surface.dimension < 2:
            raise BadInput("this study gives each direction of a bowl a curvature of its own: choose loss=quadratic")
        runs = setting.run({PLAIN: self._overrides("manual_sgd"), HEAVY: self._overrides("manual_momentum")})
        maps = [self._map(run, surface) for run in runs]
        return Findings(
            numbers=_numbers(maps),
            title=f"{self._rates.count} learning rates × {surface.dimension} curvatures: lr · λ at the edge",
            rows=[
                ("method", "theory", "largest that shrinks", "smallest that grows", "cells on the wrong side"),
                *(
                    (m.method, *_cells(m.edge, m.largest_that_shrinks, m.smallest_that_grows), f"{m.wrong_side}")
                    for m in maps
                ),
            ],
            figures={"stability": picture.figure(maps)},
            errors={
                **{f"powers of the step's matrix, {m.method}": m.error for m in maps},
                "the closed form |1 − lr · λ|": _from_closed_form(maps[0]),
            },
            tolerance=1e-10,  # of 1e-16 at each of some hundred steps
            statuses={run.name: run.status for run in runs},
        )

    def _overrides(self, optimizer: str) -> list[str]:
        count = self._rates.count
        momentum = [f"optimizer.momentum={self._momentum!r}"] if optimizer == "manual_momentum" else []
        rates = self._rates.override("optimizer.lr", (count,), 0)
        return [f"optimizer={optimizer}", rates, *momentum, f"model.population={count}", "model.starts=same"]

    def _map(self, run: Finished, surface: Quadratic) -> Map:
        steps, path = path_of(run)
        momentum = self._momentum if run.name == HEAVY else 0.0
        rates, curvatures = self._rates.values, surface.eigenvalues.cpu().numpy()
        law = Law(rates[:, None], curvatures, momentum)
        said = law.distances(1.0, int(steps[-1]))[steps]
        error = float((np.abs(path - said) / np.maximum(1, np.abs(said))).max())
        return Map(run.name, momentum, rates, curvatures, long_run_factors(steps, path), law.factors, error)


def path_of(run: Finished) -> tuple[np.ndarray, np.ndarray]:
    """Every coordinate of every point of a population, as a share of its start.

    Returns:
        The steps that were looked at [k], and the shares [k, P, n].

    Raises:
        BadInput: there are not enough, or they are not at equal distances.
    """
    if SNAPSHOT not in run.memory.tags(SNAPSHOT):
        raise BadInput("this study looks at all points: use the probe snapshots, its largest at least their numbers")
    steps, path = run.memory.arrays(SNAPSHOT)
    if len(steps) < LOOKS or np.ptp(np.diff(steps)):
        raise BadInput(
            f"this study needs {LOOKS} or more snapshots at equal distances: change trainer.max_steps, or "
            "probes.snapshots.schedule.n"
        )
    return steps, path / path[0]


def long_run_factors(steps: np.ndarray, path: np.ndarray) -> np.ndarray:
    """By what a size is multiplied at each step, once the beginning is past.

    The largest size in the last quarter over the largest in the quarter before it: with momentum the distance swings,
    and is near 0 at times.

    Args:
        steps: [k], k ≥ 8, at equal distances.
        path: the sizes at these steps, [k, …].

    Returns:
        […]; 0 where nothing is left to divide by.

    Example:
        >>> steps = np.arange(0, 40, 2)
        >>> long_run_factors(steps, np.array([[0.5, -2.0]]) ** steps[:, None]).tolist()
        [0.5, 2.0]
    """
    quarter = len(steps) // 4
    before, last = np.abs(path[-2 * quarter : -quarter]).max(axis=0), np.abs(path[-quarter:]).max(axis=0)
    ratio = np.divide(last, before, out=np.zeros_like(last), where=before > 0)
    return ratio ** (1 / (steps[quarter] - steps[0]))


def _from_closed_form(plain: Map) -> float:
    """How far the measured factors are from |1 − lr · λ|, relative to it, or to 1 where it is smaller."""
    said = np.abs(1 - plain.products)
    return float((np.abs(plain.factors - said) / np.maximum(1, said)).max())


def _numbers(maps: list[Map]) -> dict[str, float]:
    return {
        "cells": float(maps[0].factors.size),
        **{f"edge of theory, {m.method}": m.edge for m in maps},
        **{f"largest lr × curvature that shrinks, {m.method}": m.largest_that_shrinks for m in maps},
        **{f"smallest lr × curvature that grows, {m.method}": m.smallest_that_grows for m in maps},
        **{f"cells on the wrong side, {m.method}": float(m.wrong_side) for m in maps},
        f"fastest lr × curvature, {maps[0].method}": maps[0].fastest,
        f"median factor, {maps[1].method}": float(np.median(maps[1].factors)),
        f"predicted median factor, {maps[1].method}": float(np.median(maps[1].predicted)),
    }


def _cells(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:.6g}" for value in values)
