"""Precision: how far the gradient of every tensor is from the one in float64, dtype by dtype."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.checking.precision_report import PrecisionReport, Row

TRUTH = "float64"
CAPTION = (
    "How far is each gradient from autograd's in float64? At 1e-3 about three digits agree: further left is better. "
    "A few ε are usual: ε (dashed, in the dtype's colour) is the distance from 1 to the next number. A gradient that "
    "is tiny beside the largest one stands far left whatever becomes of it: there, look out for triangles."
)
INCHES_A_NAME = 0.25
MOST_INCHES = 10
ALONE = "autograd alone is off"


def figure(report: PrecisionReport) -> Figure:
    """The errors of all tensors.

    Args:
        report: what `gradlab.checking.precision.precision` gave.

    Example:
        >>> import torch
        >>> from gradlab.checking.precision_report import precision
        >>> figure(precision(torch.sin, torch.tensor([0.1, 0.7]))).axes[0].get_title(loc="left")
        'Precision of the gradient: sin'
    """
    with style.look():
        picture, (axes,) = style.canvas(11, 4.5 + min(0.45 * len(_names(report)), MOST_INCHES))
        draw(axes, report)
    return picture


def draw(axes: Axes, report: PrecisionReport) -> None:
    """Draw a dot for autograd and a ring for the handwritten sweep, and a dashed line at each dtype's ε.

    Args:
        axes: where to draw.
        report: its rows have finite errors, zeros (on the left edge), infinite ones (on the right edge), or none.

    Example:
        >>> import torch
        >>> from gradlab.checking.precision_report import precision
        >>> _, (axes,) = style.canvas(8, 4)
        >>> draw(axes, precision(lambda x: x.exp(), torch.tensor(12.0), dtypes=[torch.float16]))
        >>> axes.get_legend_handles_labels()[1][-1]
        'inf or NaN: overflow'
    """
    names = _names(report)
    colors = dict(zip(report.dtypes, (color for color, _ in style.line_styles(len(report.dtypes))), strict=True))
    rows = [row for row in report.rows if row.name]
    _limit(axes, rows)
    for place, (dtype, color) in enumerate(colors.items()):
        own = [row for row in rows if row.dtype == dtype]
        if own:
            _draw_dtype(axes, own, names, color)
            _draw_overflow(axes, own, names, color, 0.99 - 0.02 * place)
    _draw_alone(axes, rows, names)
    axes.set_ylim(len(names) - 0.3, -0.7)  # the first on top, as in the table
    every = max(1, math.ceil(len(names) * INCHES_A_NAME / style.size(axes)[1]))
    axes.set_yticks(range(0, len(names), every), style.shorten_all(names)[::every])
    style.legend_below(axes, [*_keys(rows, colors), *axes.get_legend_handles_labels()[0]])
    caption = [CAPTION, *(f"Nothing ran in {row.dtype}: {row.reason}" for row in report.rows if row.reason)]
    lines = [line for part in caption for line in textwrap.wrap(part, int(style.size(axes)[0] * 12))]
    title = f"Precision of the gradient: {style.shorten(report.target, 40)}"
    style.dress(axes, title, "\n".join(lines), "relative error against float64 (logarithmic)", "tensor")


def _names(report: PrecisionReport) -> list[str]:
    return list(dict.fromkeys(row.name for row in report.rows if row.name))


def _limit(axes: Axes, rows: list[Row]) -> None:
    """From below the smallest error to 1, where nothing is right; and a band on the left for errors of exactly 0."""
    errors = [e for row in rows for e in _drawn(row) if e is not None]
    positive = [e for e in errors if 0 < e < math.inf]
    low = min([*positive, *(row.epsilon for row in rows), 1e-3]) / 10
    axes.set_xscale("log")
    axes.set_xlim(max(low / 30, style.SMALLEST) if 0 in errors else low, 5 * max([1.0, *positive]))
    if 0 in errors:
        axes.axvspan(axes.get_xlim()[0], low, color=style.GREEN, alpha=0.12, linewidth=0)


def _drawn(row: Row) -> tuple[float | None, float | None]:
    """The errors of autograd and of the sweep; float64's own autograd is what all others are measured by."""
    return None if row.dtype == TRUTH else row.error, row.manual_error


def _draw_dtype(axes: Axes, rows: list[Row], names: list[str], color: str) -> None:
    axes.axvline(rows[0].epsilon, color=color, linestyle="--", linewidth=1.2, zorder=1)
    left = axes.get_xlim()[0] * 4
    for which, size, fill in ((0, 7, color), (1, 12, "none")):
        for mark in ("o", "v"):
            some = [row for row in rows if (mark == "v") == bool(row.underflow) and _is_finite(_drawn(row)[which])]
            places = [_drawn(row)[which] or left for row in some]
            heights = [names.index(row.name) for row in some]
            axes.plot(places, heights, mark, color=color, zorder=3, markersize=size, markerfacecolor=fill)


def _is_finite(error: float | None) -> bool:
    return error is not None and math.isfinite(error)


def _draw_overflow(axes: Axes, rows: list[Row], names: list[str], color: str, at: float) -> None:
    """A cross on the right edge, a little further left for each dtype."""
    places = [names.index(row.name) for row in rows if not all(_is_finite(e) for e in _drawn(row) if e is not None)]
    if places:
        known = "inf or NaN: overflow" in axes.get_legend_handles_labels()[1]
        label = None if known else "inf or NaN: overflow"
        along, at_all = axes.get_yaxis_transform(), np.full(len(places), at)
        axes.plot(at_all, places, "x", transform=along, color=color, label=label, markeredgewidth=2.5, markersize=8)


def _draw_alone(axes: Axes, rows: list[Row], names: list[str]) -> None:
    some = [row for row in rows if ALONE in row.marks and _is_finite(row.error)]
    if some:
        errors, places = [row.error or 0.0 for row in some], [names.index(row.name) for row in some]
        axes.plot(errors, places, "s", color=style.INK, label=ALONE, markersize=15, markerfacecolor="none")


def _keys(rows: list[Row], colors: dict[str, str]) -> Iterator[Line2D]:
    """What the legend explains besides what has a label of its own."""
    epsilons = {row.dtype: row.epsilon for row in rows}
    for dtype, epsilon in epsilons.items():
        yield Line2D([], [], color=colors[dtype], linestyle="", marker="o", label=f"{dtype}, ε = {epsilon:.1e}")
    yield Line2D([], [], color=style.GREY, linestyle="", marker="o", label="autograd")
    if any(row.manual_error is not None for row in rows):
        ring = Line2D([], [], color=style.GREY, linestyle="", marker="o", label="handwritten sweep", markersize=12)
        ring.set_markerfacecolor("none")
        yield ring
    if any(row.underflow and any(map(_is_finite, _drawn(row))) for row in rows):
        yield Line2D([], [], color=style.GREY, linestyle="", marker="v", label="some entries became 0: underflow")
    if any(0 in _drawn(row) for row in rows):
        yield Line2D([], [], color=style.GREEN, alpha=0.3, linewidth=8, label="equal to the last bit")
