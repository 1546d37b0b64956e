"""A curve with its tangent and secants, and the error of the secants' slopes over h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.derivative import Tangent

CAPTION = "a secant through x and x + h turns into the tangent as h shrinks"
KINK = "the slope jumps: there is no tangent; autograd must answer with some slope all the same"
ERRORS = "right: h is too coarse; left: rounding takes over; both axes in powers of ten"


def figure(tangent: Tangent, errors: Mapping[float, float]) -> Figure:
    """The curve on the left; on the right the error of (f(x+h) − f(x))/h for each h."""
    picture, (left, right) = style.canvas(17, 7.5, columns=2)
    _draw_curve(left, tangent)
    for (h, slope), (color, dash) in zip(tangent.secants.items(), style.line_styles(9)[1:], strict=False):
        _draw_line(left, tangent, slope, color, dash, f"secant, h = {h:g}: slope {style.number(slope)}")
        there = tangent.at + h, tangent.value + slope * h
        left.plot(*there, "o", color=color)
    _draw_line(left, tangent, tangent.slope, style.INK, "-", f"tangent: slope {style.number(tangent.slope)}")
    left.plot(tangent.at, tangent.value, "o", color=style.INK, zorder=5)
    style.legend_below(left)
    style.dress(left, f"f(x) = {tangent.formula}", CAPTION, "x", "f(x)")
    _draw_errors(right, errors)
    return picture


def kink(tangent: Tangent) -> Figure:
    """A curve whose slopes from the left and from the right differ, with both, and what autograd gives."""
    picture, (axes,) = style.canvas(9, 7)
    _draw_curve(axes, tangent, below=0.5)
    sides = ((tangent.left, "left", style.VERMILLION, "--"), (tangent.right, "right", style.GREEN, "--"))
    for slope, side, color, dash in sides:
        _draw_line(axes, tangent, slope, color, dash, f"slope from the {side}: {style.number(slope)}")
    _draw_line(axes, tangent, tangent.slope, style.INK, ":", f"autograd's answer: {style.number(tangent.slope)}")
    axes.plot(tangent.at, tangent.value, "o", color=style.INK, zorder=5)
    style.legend_below(axes)
    style.dress(axes, f"A kink: f(x) = {tangent.formula}", KINK, "x", "f(x)")
    return picture


def _draw_curve(axes: Axes, tangent: Tangent, below: float = 0.1) -> None:
    axes.plot(tangent.x, tangent.y, color=style.BLUE, linewidth=3, label="the curve")
    height = np.ptp(tangent.y)
    axes.set_ylim(tangent.y.min() - below * height, tangent.y.max() + 0.1 * height)


def _draw_line(axes: Axes, tangent: Tangent, slope: float, color: str, dash: str, label: str) -> None:
    """A straight line of that slope through the point."""
    line = tangent.value + slope * (tangent.x - tangent.at)
    axes.plot(tangent.x, line, dash, color=color, label=label)


def _draw_errors(axes: Axes, errors: Mapping[float, float]) -> None:
    steps, values = np.array(list(errors)), np.array(list(errors.values()))
    axes.loglog(steps, np.where(values > 0, values, np.nan), "o-", color=style.BLUE, label="|secant's slope − f′(x)|")
    best = int(np.where(values > 0, values, np.inf).argmin())
    note = f"best: h = {steps[best]:.0e}, error {values[best]:.0e}"
    axes.plot(steps[best], values[best], "*", color=style.VERMILLION, markersize=18, label=note)
    axes.set_ylim(values[values > 0].min() / 10, 10 * values.max())
    style.legend_below(axes)
    style.dress(axes, "How far off is a secant?", ERRORS, "step h", "error of the slope")
