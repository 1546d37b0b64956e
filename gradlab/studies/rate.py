"""A success rate and how well it is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution, for intervals of 95 %


@dataclass(frozen=True, slots=True)
class Rate:
    """So many successes in so many tries.

    Attributes:
        successes, tries: whole numbers.
    """

    successes: int
    tries: int

    @property
    def share(self) -> float:
        """Successes over tries."""
        return self.successes / self.tries

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true rate lies with a confidence of 95 %: Wilson's score interval.

        It holds the rates p from which the measured share s is at most 1.96 standard deviations away,
        |s − p| ≤ z √(p (1 − p) / n). Unlike s ± z √(s (1 − s) / n), it has a width also for 0 or n successes.

        References:
            E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, Journal of the
            American Statistical Association 22(158), 1927; L. D. Brown, T. T. Cai, A. DasGupta, *Interval estimation
            for a binomial proportion*, Statistical Science 16(2), 2001, recommend it.

        Example:
            >>> [round(end, 3) for end in Rate(9, 10).interval]
            [0.596, 0.982]
        """
        n, s = self.tries, self.share
        middle = (s + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * math.sqrt(s * (1 - s) / n + Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.successes + other.successes, self.tries + other.tries)

    def __str__(self) -> str:
        """In percent.

        Example:
            >>> str(Rate(9, 10))
            '90 (60–98)'
        """
        low, high = self.interval
        return f"{100 * self.share:.0f} ({100 * low:.0f}–{100 * high:.0f})"
