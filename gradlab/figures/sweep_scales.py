"""Where values of a setting or an objective lie on an axis from 0 to 1: as categories, evenly, or by logarithm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from gradlab.figures import style

FEW = 8  # so many different values of a setting get a tick each
CLOSE = 0.055  # of the axis: labels nearer to each other would touch
BREAK = 0.1  # of a logarithmic axis lies below its smallest value, where it has to show a zero too
LONGEST = 20  # characters of a label
FAILED = 1.1  # where a job that came to no number is drawn

Value = float | int | str


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis.

    Args:
        kind: "category", "linear" or "log".
        values: all different values, in order; of categories as text.
        exact: whether a few values are labelled themselves, instead of round numbers between them.
    """

    kind: str
    values: tuple[Value, ...]
    exact: bool = True

    def position(self, value: Value | None) -> float:
        """From 0 (below) to 1; NaN for what is no finite number on an axis of numbers.

        Example:
            >>> scale_of([0.001, 0.01, 0.1]).position(0.01)
            0.5
        """
        if self.kind == "category":
            return _between(self.values.index(_text(value)), 0, len(self.values) - 1)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return math.nan
        low, high = self._ends()
        if self.kind == "linear":
            return _between(value, low, high)
        if value <= 0:
            return 0.0
        share = _between(math.log(value), math.log(low), math.log(high))
        return BREAK + (1 - BREAK) * share if self._is_broken() else share

    def ticks(self) -> list[tuple[float, str]]:
        """Positions and labels, so few that they can be read."""
        if not self.values:
            return []
        few = self.exact and len(self.values) <= FEW
        shown: Sequence[Value] = self.values if self.kind == "category" or few else self._round_values()
        return _apart([(self.position(value), label(value)) for value in shown])

    def _round_values(self) -> list[float]:
        low, high = self._ends()
        fine = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
        locator = LogLocator(subs=fine, numticks=9) if self.kind == "log" else MaxNLocator(6)
        values = [value for value in np.asarray(locator.tick_values(low, high)).tolist() if low <= value <= high]
        values = values if len(values) > 1 else sorted({low, high})
        return [float(self.values[0]), *values] if self._is_broken() else values

    def _ends(self) -> tuple[float, float]:
        values = [float(value) for value in self.values if self.kind == "linear" or float(value) > 0]
        return values[0], values[-1]

    def _is_broken(self) -> bool:
        return self.kind == "log" and float(self.values[0]) <= 0


def scale_of(values: Iterable[Value | None]) -> Scale:
    """The axis of a setting, on which its values can be told apart best.

    Numbers lie evenly, or by their logarithms where they reach over a factor of ten and lie more evenly so; one that
    has no logarithm, such as 0, then lies below a break. Anything but numbers makes them categories.

    Args:
        values: None for a setting that is not set; numbers that are not finite do not count.

    Example:
        >>> [scale_of(v).kind for v in ([1, 2, 3], [0, 0.01, 0.1], [0.1, "cosine"], range(1, 11))]
        ['linear', 'log', 'category', 'linear']
    """
    kept = list(values)
    words = [value for value in kept if not isinstance(value, (int, float))]
    numbers = _numbers(kept)
    if words:
        return Scale("category", tuple(dict.fromkeys(map(_text, [*numbers, *words]))))
    return Scale("log" if _is_geometric(numbers) else "linear", numbers)


def scale_of_objective(values: Iterable[float]) -> Scale:
    """The axis of an objective: by logarithm also where the values reach over a factor of a hundred.

    Example:
        >>> scale_of_objective([0.001, 0.5, 0.6, 0.7]).kind
        'log'
    """
    numbers = _numbers(values)
    positive = [value for value in numbers if value > 0]
    decades = bool(positive) and numbers[0] >= 0 and positive[-1] >= 100 * positive[0]
    return Scale("log" if decades or _is_geometric(numbers) else "linear", numbers, exact=False)


def _numbers(values: Iterable[Value | None]) -> tuple[float, ...]:
    return tuple(sorted({v for v in values if isinstance(v, (int, float)) and math.isfinite(v)}))


def _is_geometric(values: Sequence[float]) -> bool:
    """Whether the middle one of positive numbers over a factor of ten is nearer to their geometric middle.

    One other number may be among them. Two numbers, which have no middle one, are taken for a geometric row.
    """
    positive = [float(value) for value in values if value > 0]
    if len(positive) < max(2, len(values) - 1) or positive[-1] < 10 * positive[0]:
        return False
    middle, low, high = float(np.median(positive)), positive[0], positive[-1]
    on_linear = abs((middle - low) / (high - low) - 0.5)
    on_log = abs(math.log(middle / low) / math.log(high / low) - 0.5)
    return len(positive) == 2 or on_log < on_linear


def put_ticks(axes: Axes, x: Scale, y: Scale, failed: str = "") -> None:
    """Label axes whose data are positions on scales.

    Args:
        axes: where to label.
        x, y: the scales.
        failed: what stands above the vertical scale for jobs without a number, if there are any.
    """
    axes.set_xticks(*_split(x.ticks()))
    crowded = sum(len(text) + 2 for _, text in x.ticks()) > 10 * style.size(axes)[0]
    axes.tick_params("x", rotation=30 if crowded else 0)
    axes.set_xlim(-0.06, 1.06)
    axes.set_yticks(*_split([*y.ticks(), *([(FAILED, failed)] if failed else [])]))
    axes.set_ylim(-0.06, FAILED + 0.06 if failed else 1.06)


def label(value: Value | None) -> str:
    """A value as a label: whole numbers in full, others with four digits; None is "not set".

    Example:
        >>> label(65536), label(0.0123456), label(-1.5)
        ('65536', '0.01235', '−1.5')
    """
    if value is None or isinstance(value, str):
        return style.shorten(_text(value), LONGEST)
    whole = isinstance(value, int) or (abs(value) < 1e5 and value == round(value))
    return (f"{int(value)}" if whole else f"{value:.4g}").replace("-", "−")


def _text(value: Value | None) -> str:
    return "not set" if value is None else str(value)


def _between(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)


def _apart(places: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those that leave each other room, the first and the last among them."""
    kept = places[:1]
    for place, text in places[1:-1]:
        if place - kept[-1][0] >= CLOSE and places[-1][0] - place >= CLOSE:
            kept.append((place, text))
    return kept + places[1:][-1:]


def _split(ticks: list[tuple[float, str]]) -> tuple[list[float], list[str]]:
    return [place for place, _ in ticks], [text for _, text in ticks]
