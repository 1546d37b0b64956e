"""When to look: a schedule is a function from a step's number to yes or no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], bool]
DECADES = 13  # beyond 10¹³ steps nobody counts


class _Steps:
    """Certain steps, and the multiples of certain periods. A schedule is asked at every step, so it answers at once."""

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


def every(n: int) -> Schedule:
    """Steps 0, n, 2n, …

    Example:
        >>> [step for step in range(10) if every(4)(step)]
        [0, 4, 8]
    """
    if n < 1:
        raise ValueError(f"every(n) needs a number of steps of at least 1, got {n}")
    return _Steps(periods=[n])


def at(steps: Iterable[int]) -> Schedule:
    """Exactly these steps.

    Example:
        >>> [step for step in range(10) if at([0, 7])(step)]
        [0, 7]
    """
    return _Steps(steps)


def log_spaced(per_decade: int) -> Schedule:
    """Step 0 and then ``per_decade`` steps in each power of ten: often at first, when most happens, then rarely.

    Example:
        >>> [step for step in range(1001) if log_spaced(3)(step)]
        [0, 1, 2, 5, 10, 22, 46, 100, 215, 464, 1000]
    """
    if per_decade < 1:
        raise ValueError(f"log_spaced(per_decade) needs a count of at least 1, got {per_decade}")
    return _Steps([0, *(round(10 ** (d + k / per_decade)) for d in range(DECADES) for k in range(per_decade))])


def either(*schedules: Schedule) -> Schedule:
    """Every step that at least one of several schedules chooses.

    Example:
        >>> [step for step in range(3001) if either(log_spaced(1), every(1000))(step)]
        [0, 1, 10, 100, 1000, 2000, 3000]
    """
    if not all(isinstance(schedule, _Steps) for schedule in schedules):
        return lambda step: any(schedule(step) for schedule in schedules)
    known: list[_Steps] = list(schedules)  # type: ignore[arg-type]
    return _Steps([step for each in known for step in each.chosen], [n for each in known for n in each.periods])
