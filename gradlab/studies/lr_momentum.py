"""Learning rate × momentum: how many steps the heavy ball needs on a bowl, for every pair at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.losses import Quadratic
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.heavy_ball import HeavyBall
from gradlab.studies.span import Span

MAP, BEST = "the map", "theory's optimum"
ARRIVALS = "population/arrival"


@dataclass(frozen=True, slots=True)
class Descents:
    """One descent for each learning rate and each momentum.

    Attributes:
        ball: on which bowl, and from where.
        rates, momenta: lr [a] and m [b], ascending.
        looks: at how many steps they were looked at, from 0 on.
        needed: the steps until each has arrived, [a, b]; infinite where that is never.
        needed_at_best: the steps with the settings that are best by theory.
    """

    ball: HeavyBall
    rates: np.ndarray
    momenta: np.ndarray
    looks: int
    needed: np.ndarray
    needed_at_best: float

    @property
    def fewest(self) -> float:
        """The steps of the best cells."""
        return float(self.needed.min())

    @property
    def best_cells(self) -> np.ndarray:
        """The learning rate and the momentum of each cell that needs no more than any other, [k, 2]."""
        places = np.argwhere(self.needed == self.fewest)
        return np.stack([self.rates[places[:, 0]], self.momenta[places[:, 1]]], axis=1)

    @property
    def roughly(self) -> np.ndarray:
        """The steps if every step were alike, [a, b]."""
        return self.ball.roughly(self.rates[:, None], self.momenta)

    @property
    def beyond(self) -> np.ndarray:
        """Which cells lie beyond the edge, [a, b], bool."""
        return self.rates[:, None] > self.ball.edge(self.momenta)


class LrMomentum:
    """A map of the steps that the heavy ball needs, over learning rates up to 4/λmax and momenta up to 1.

    Args:
        count: how many learning rates and how many momenta.
        shrink: the share of the first distance from the minimizer at which a descent has arrived, for good.
    """

    def __init__(self, count: int = 100, shrink: float = 1e-3) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 2 or not 0 < shrink < 1:
            raise BadInput("study: give a count of 2 or more, and a shrink between 0 and 1")
        self._count, self._shrink = count, float(shrink)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import lr_momentum as picture  # matplotlib is slow to import

        surface = setting.surface
        if not isinstance(surface, Quadratic) or surface.dimension < 2 or surface.eigenvalues[-1] <= 1:
            raise BadInput("this study descends a bowl: choose loss=quadratic, with loss.condition above 1")
        ball = HeavyBall(surface.eigenvalues.cpu().numpy(), surface.start, self._shrink)
        runs = setting.run(self._variants(ball))
        found, errors = self._judge(ball, *runs)
        return Findings(
            numbers=_numbers(found),
            title=f"κ = {ball.curvatures[-1]:g}: steps until the distance is {self._shrink:g} of what it was, for good",
            rows=_rows(found),
            figures={"lr_momentum": picture.figure(found)},
            errors=errors,
            statuses={run.name: run.status for run in runs},
        )

    def _spans(self, ball: HeavyBall) -> tuple[Span, Span]:
        step = ball.largest_rate / self._count
        rates = Span(step, ball.largest_rate, self._count, "linear")
        return rates, Span(0.0, 1 - 1 / self._count, self._count, "linear")

    def _variants(self, ball: HeavyBall) -> dict[str, list[str]]:
        rates, momenta = self._spans(ball)
        shape = (self._count, self._count)
        common = ["optimizer=manual_momentum", "model.starts=same", f"probes.arrivals.within={self._shrink!r}"]
        grid = [rates.override("optimizer.lr", shape, 0), momenta.override("optimizer.momentum", shape, 1)]
        rate, momentum = ball.optimum
        best = [f"optimizer.lr=[{rate!r}]", f"optimizer.momentum=[{momentum!r}]", "model.population=1"]
        return {MAP: [*common, *grid, f"model.population={self._count**2}"], BEST: [*common, *best]}

    def _judge(self, ball: HeavyBall, cells: Finished, best: Finished) -> tuple[Descents, dict[str, float]]:
        rates, momenta = (span.values for span in self._spans(ball))
        needed, looks = _arrived(cells)
        if np.isinf(needed).all():
            raise BadInput(f"no descent has arrived within {looks} steps: raise trainer.max_steps, or study.shrink")
        at_best, _ = _arrived(best)
        found = Descents(ball, rates, momenta, looks, needed.reshape(len(rates), -1), float(at_best[0]))
        said = ball.steps(rates[:, None], momenta, looks)
        rate, momentum = ball.optimum
        name = "powers of the step's matrix"
        return found, {
            f"{name}, {cells.name}": _gap(found.needed, said),
            f"{name}, {best.name}": _gap(at_best, ball.steps(rate, momentum, looks)[None]),
        }


def _arrived(run: Finished) -> tuple[np.ndarray, int]:
    """The steps until each point had arrived for good, [P], and the number of steps that were looked at."""
    if ARRIVALS not in run.memory.tags(ARRIVALS):
        raise BadInput("this study asks when each point arrives: use the probe arrivals")
    steps, values = run.memory.arrays(ARRIVALS)
    return np.where(values[-1] < 0, math.inf, values[-1]), int(steps[-1]) + 1


def _gap(found: np.ndarray, said: np.ndarray) -> float:
    """The largest relative difference between two numbers of steps; infinite where only one of them is."""
    if not np.array_equal(np.isinf(found), np.isinf(said)):
        return math.inf
    both = np.isfinite(said)
    return float((np.abs(found[both] - said[both]) / np.maximum(1, said[both])).max(initial=0.0))


def _numbers(found: Descents) -> dict[str, float]:
    ball = found.ball
    rate, momentum = ball.optimum
    best_rate, best_momentum = found.best_cells.mean(axis=0)
    rough = found.roughly
    return {
        "cells": float(found.needed.size),
        "cells that arrive": float(np.isfinite(found.needed).sum()),
        "cells that arrive beyond the edge": float(np.isfinite(found.needed[found.beyond]).sum()),
        "lr, theory's optimum": rate,
        "momentum, theory's optimum": momentum,
        "factor, theory's optimum": float(ball.factors(rate, momentum)),
        "steps if every step were alike, theory's optimum": float(ball.roughly(rate, momentum)),
        "steps, theory's optimum": found.needed_at_best,
        "best cells": float(len(found.best_cells)),
        "lr, best cells": float(best_rate),
        "momentum, best cells": float(best_momentum),
        "factor, best cells": float(ball.factors(best_rate, best_momentum)),
        "steps, best cells": found.fewest,
        "steps, best without momentum": float(found.needed[:, 0].min()),
        "median of steps / steps if every step were alike": float(np.median(_ratios(found.needed, rough))),
    }


def _ratios(needed: np.ndarray, rough: np.ndarray) -> np.ndarray:
    arrived = np.isfinite(needed) & np.isfinite(rough)
    return needed[arrived] / rough[arrived]


def _rows(found: Descents) -> list[Sequence[str]]:
    ball = found.ball
    plain = int(found.needed[:, 0].argmin())
    settings = {
        "theory's optimum": (*ball.optimum, found.needed_at_best),
        "best cells (their middle)": (*found.best_cells.mean(axis=0), found.fewest),
        "best without momentum": (float(found.rates[plain]), 0.0, float(found.needed[plain, 0])),
    }
    return [
        ("", "lr", "momentum", "factor in the long run", "if every step were alike", "steps"),
        *(
            (
                name,
                f"{rate:.4g}",
                f"{momentum:.3g}",
                f"{float(ball.factors(rate, momentum)):.4f}",
                f"{float(ball.roughly(rate, momentum)):.1f}",
                f"{steps:.0f}" if math.isfinite(steps) else f"not within {found.looks}",
            )
            for name, (rate, momentum, steps) in settings.items()
        ),
    ]
