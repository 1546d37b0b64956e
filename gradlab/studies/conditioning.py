"""The condition number κ of a bowl, and how many steps gradient descent needs for it, with momentum and without."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.figures.contour import PATH
from gradlab.losses import Quadratic
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.law import Law

PLAIN, HEAVY = "gradient descent", "heavy ball"


def best_rate(low: float, high: float) -> tuple[float, float]:
    """The learning rate, and no momentum, with which gradient descent arrives soonest: 2 / (λmax + λmin).

    References:
        Y. Nesterov, *Lectures on Convex Optimization*, 2nd ed., 2018, theorem 2.1.15.

    Example:
        >>> best_rate(1.0, 4.0)
        (0.4, 0.0)
    """
    return 2 / (high + low), 0.0


def best_momentum(low: float, high: float) -> tuple[float, float]:
    """Learning rate 4 / (√λmax + √λmin)² and momentum ((√κ − 1) / (√κ + 1))², the best together.

    References:
        B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964.

    Example:
        >>> rate, momentum = best_momentum(1.0, 9.0)
        >>> rate, round(momentum, 12)
        (0.25, 0.25)
    """
    root = math.sqrt(high / low)
    return 4 / (math.sqrt(high) + math.sqrt(low)) ** 2, ((root - 1) / (root + 1)) ** 2


@dataclass(frozen=True, slots=True)
class Method:
    """A way to descend.

    Attributes:
        name: for tables and pictures.
        option: of the group ``optimizer``.
        settings: from λmin and λmax to the learning rate and the momentum.
        power: its factor per step is (κᵖ − 1) / (κᵖ + 1) with this p.
    """

    name: str
    option: str
    settings: Callable[[float, float], tuple[float, float]]
    power: float

    def factor(self, condition: float) -> float:
        """By what theory says the distance shrinks at each step, in the long run."""
        root = condition**self.power
        return (root - 1) / (root + 1)


METHODS = (Method(PLAIN, "sgd", best_rate, 1.0), Method(HEAVY, "momentum", best_momentum, 0.5))


@dataclass(frozen=True, slots=True)
class Arrival:
    """One descent of a bowl.

    Attributes:
        method, condition: which way, and κ.
        needed: the steps until the distance is ``shrink`` of its start; infinite where it never is.
        predicted: the same from powers of the step's matrix.
        roughly: the same from the factor per step alone, ln(shrink) / ln(factor).
        distances: from the minimizer at each step, as a share of the first, [n].
        error: of the distances against the matrix's powers, relative to the first distance.
    """

    method: Method
    condition: float
    needed: float
    predicted: float
    roughly: float
    distances: np.ndarray
    error: float


class Conditioning:
    """Descents of bowls that differ in their condition number, each method with its best settings.

    Args:
        conditions: the condition numbers κ = λmax/λmin, above 1.
        shrink: the share of the first distance from the minimizer at which a descent has arrived.
    """

    def __init__(self, conditions: Sequence[float] = (4.0, 16.0, 64.0, 256.0), shrink: float = 1e-3) -> None:
        if len(conditions) < 2 or min(conditions) <= 1 or not 0 < shrink < 1:
            raise BadInput("study: give two or more conditions above 1, and a shrink between 0 and 1")
        self._conditions, self._shrink = tuple(sorted(map(float, conditions))), float(shrink)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import conditioning as picture  # matplotlib is slow to import

        surface = setting.surface
        if not isinstance(surface, Quadratic):
            raise BadInput("this study changes the condition number of a bowl: choose loss=quadratic")
        bowls = {κ: Quadratic(surface.dimension, κ, surface.start) for κ in self._conditions}
        plans = [self._plan(method, κ, bowl) for method in METHODS for κ, bowl in bowls.items()]
        runs = setting.run({plan.name: plan.overrides for plan in plans})
        arrivals = [self._arrival(plan, run) for plan, run in zip(plans, runs, strict=True)]
        return Findings(
            numbers={
                **{f"steps, {a.method.name}, kappa={a.condition:g}": a.needed for a in arrivals},
                **{f"predicted steps, {a.method.name}, kappa={a.condition:g}": a.predicted for a in arrivals},
                **{f"power of kappa, {m.name}": _power([a for a in arrivals if a.method == m]) for m in METHODS},
            },
            title=f"steps until the distance from the minimizer is {self._shrink:g} of what it was",
            rows=[
                ("method", "κ", "steps", "predicted", "if every step were alike"),
                *(
                    (a.method.name, f"{a.condition:g}", f"{a.needed:.0f}", f"{a.predicted:.0f}", f"{a.roughly:.1f}")
                    for a in arrivals
                ),
            ],
            figures={"conditioning": picture.figure(arrivals, self._shrink)},
            errors={f"powers of the step's matrix, {p.name}": a.error for p, a in zip(plans, arrivals, strict=True)},
            statuses={run.name: run.status for run in runs},
        )

    def _plan(self, method: Method, condition: float, bowl: Quadratic) -> Plan:
        curvatures = bowl.eigenvalues.numpy()
        rate, momentum = method.settings(float(curvatures[0]), float(curvatures[-1]))
        laws = [Law(rate, float(λ), momentum) for λ in curvatures]
        return Plan(method, condition, laws, bowl.start, self._shrink)

    def _arrival(self, plan: Plan, run: Finished) -> Arrival:
        distances = np.linalg.norm(run.memory.arrays(PATH)[1], axis=1)
        said = plan.distances(len(distances) - 1)
        return Arrival(
            method=plan.method,
            condition=plan.condition,
            needed=first_below(distances, self._shrink * distances[0]),
            predicted=plan.steps,
            roughly=math.log(self._shrink) / math.log(plan.method.factor(plan.condition)),
            distances=distances / distances[0],
            error=float(np.abs(distances - said).max() / distances[0]),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A descent before it is made."""

    method: Method
    condition: float
    laws: list[Law]
    start: tuple[float, ...]
    shrink: float

    @property
    def name(self) -> str:
        return f"{self.method.name}, κ={self.condition:g}"

    @property
    def steps(self) -> float:
        """How many steps it will take."""
        horizon = 10 + int(4 * math.log(self.shrink) / math.log(self.method.factor(self.condition)))
        distances = self.distances(horizon)
        return first_below(distances, self.shrink * distances[0])

    @property
    def overrides(self) -> list[str]:
        """What makes a run of it; a few steps more than it will take."""
        law = self.laws[0]
        chosen = [f"optimizer={self.method.option}", f"optimizer.lr={law.rate!r}"]
        more = [f"optimizer.momentum={law.momentum!r}"] if law.momentum else []
        return [*chosen, *more, f"loss.condition={self.condition!r}", f"trainer.max_steps={int(self.steps) + 5}"]

    def distances(self, steps: int) -> np.ndarray:
        """From the minimizer, at steps 0, 1, …, [steps + 1]: each direction by its own law."""
        along = [law.distances(start, steps) for law, start in zip(self.laws, self.start, strict=True)]
        return np.linalg.norm(along, axis=0)


def first_below(values: np.ndarray, bound: float) -> float:
    """The index of the first value that is no larger; infinite where there is none.

    Example:
        >>> first_below(np.array([8.0, 4.0, 2.0, 1.0]), 2.5), first_below(np.array([1.0]), 0.5)
        (2.0, inf)
    """
    below = np.flatnonzero(values <= bound)
    return float(below[0]) if len(below) else math.inf


def _power(arrivals: Sequence[Arrival]) -> float:
    """The slope of the line through the last two points of log(steps) over log(κ)."""
    one, two = arrivals[-2:]
    return math.log(two.needed / one.needed) / math.log(two.condition / one.condition)
