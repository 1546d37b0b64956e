"""What was compared in a run, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gradlab.reconcile import Reconciliation


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One backward pass in which manual and autograd differ."""

    step: int
    reconciliation: Reconciliation


@dataclass(slots=True)
class Tally:
    """Comparisons, counted.

    Attributes:
        steps: optimizer steps with at least one comparison.
        backwards: backward passes compared.
        partials: entries compared, over all of them.
        worst_error, worst_place, worst_step: the largest relative error, and where it was.
        tolerance: the error allowed there.
        disagreements: how many backward passes disagreed.
        first: the first of them, in full.
    """

    steps: int = 0
    backwards: int = 0
    partials: int = 0
    worst_error: float = 0.0
    worst_place: str = ""
    worst_step: int = -1
    tolerance: float = math.nan
    disagreements: int = 0
    first: Disagreement | None = None
    _last_step: int = field(default=-1, repr=False)

    def add(self, step: int, reconciliation: Reconciliation) -> None:
        self.steps += step != self._last_step
        self._last_step = step
        self.backwards += 1
        self.partials += sum(a.partials for a in reconciliation.agreements.values())
        worst = reconciliation.worst
        if worst is not None and (self.worst_step < 0 or not worst.error <= self.worst_error):
            self.worst_error, self.worst_place, self.worst_step = worst.error, worst.place, step
            self.tolerance = worst.tolerance
        if not reconciliation.ok:
            self.disagreements += 1
            self.first = self.first or Disagreement(step, reconciliation.settled())  # kept for the whole run
