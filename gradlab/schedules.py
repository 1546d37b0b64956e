"""When to look: a schedule is a function from a step's number to yes or no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], bool]


def every(n: int) -> Schedule:
    """Steps 0, n, 2n, …

    Example:
        >>> [step for step in range(10) if every(4)(step)]
        [0, 4, 8]
    """
    if n < 1:
        raise ValueError(f"every(n) needs a number of steps of at least 1, got {n}")
    return lambda step: step % n == 0


def at(steps: Iterable[int]) -> Schedule:
    """Exactly these steps.

    Example:
        >>> [step for step in range(10) if at([0, 7])(step)]
        [0, 7]
    """
    chosen = frozenset(steps)
    return lambda step: step in chosen


def log_spaced(per_decade: int) -> Schedule:
    """Step 0 and then ``per_decade`` steps in each power of ten: often at first, when most happens, then rarely.

    Example:
        >>> [step for step in range(1001) if log_spaced(3)(step)]
        [0, 1, 2, 5, 10, 22, 46, 100, 215, 464, 1000]
    """
    if per_decade < 1:
        raise ValueError(f"log_spaced(per_decade) needs a count of at least 1, got {per_decade}")

    @cache
    def chosen(digits: int) -> frozenset[int]:
        """The chosen steps among those of so many digits (and a few beyond)."""
        return frozenset(round(10 ** (d + k / per_decade)) for d in (digits - 2, digits - 1) for k in range(per_decade))

    return lambda step: step == 0 if step < 1 else step in chosen(len(str(step)))


def either(*schedules: Schedule) -> Schedule:
    """Every step that at least one of several schedules chooses.

    Example:
        >>> [step for step in range(3001) if either(log_spaced(1), every(1000))(step)]
        [0, 1, 10, 100, 1000, 2000, 3000]
    """
    return lambda step: any(schedule(step) for schedule in schedules)
