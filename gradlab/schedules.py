"""When to look: a schedule is a function from a step's number to yes or no."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], bool]
DECADES = 13  # beyond 10¹³ steps nobody counts


class Steps:
    """A schedule that knows its next step: certain steps, and the multiples of certain periods.

    Example:
        >>> schedule = Steps(chosen=[1, 7], periods=[10])
        >>> schedule(7), schedule.after(7), schedule.after(10)
        (True, 10, 20)
    """

    __slots__ = ("chosen", "periods")

    def __init__(self, chosen: Iterable[int] = (), periods: Iterable[int] = ()) -> None:
        self.chosen = frozenset(chosen)
        self.periods = tuple(dict.fromkeys(periods))

    def __call__(self, step: int) -> bool:
        if step in self.chosen:
            return True
        for period in self.periods:  # noqa: SIM110 (`any` takes twice the time)
            if step % period == 0:
                return True
        return False

    def after(self, step: int) -> float:
        """The next step that it chooses after one; infinity where there is none."""
        coming = [chosen for chosen in self.chosen if chosen > step]
        return min([*coming, *((step // period + 1) * period for period in self.periods)], default=math.inf)


def every(n: int) -> Schedule:
    """Steps 0, n, 2n, …

    Example:
        >>> [step for step in range(10) if every(4)(step)]
        [0, 4, 8]
    """
    if n < 1:
        raise ValueError(f"every(n) needs a number of steps of at least 1, got {n}")
    return Steps(periods=[n])


def at(steps: Iterable[int]) -> Schedule:
    """Exactly these steps.

    Example:
        >>> [step for step in range(10) if at([0, 7])(step)]
        [0, 7]
    """
    return Steps(steps)


def log_spaced(per_decade: int) -> Schedule:
    """Step 0 and then ``per_decade`` steps in each power of ten: often at first, when most happens, then rarely.

    Example:
        >>> [step for step in range(1001) if log_spaced(3)(step)]
        [0, 1, 2, 5, 10, 22, 46, 100, 215, 464, 1000]
    """
    if per_decade < 1:
        raise ValueError(f"log_spaced(per_decade) needs a count of at least 1, got {per_decade}")
    return Steps([0, *(round(10 ** (d + k / per_decade)) for d in range(DECADES) for k in range(per_decade))])


def either(*schedules: Schedule) -> Schedule:
    """Every step that at least one of several schedules chooses.

    Example:
        >>> [step for step in range(3001) if either(log_spaced(1), every(1000))(step)]
        [0, 1, 10, 100, 1000, 2000, 3000]
    """
    known = [schedule for schedule in schedules if isinstance(schedule, Steps)]
    if len(known) < len(schedules):
        return lambda step: any(schedule(step) for schedule in schedules)
    return Steps([step for each in known for step in each.chosen], [n for each in known for n in each.periods])
