"""How many units are dead at each step, and how far below zero their sums lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.dead_units import Units

DEAD = "a dead unit gets a gradient of exactly 0 from every sample\na dashed line runs on top of another one"
HIGHEST = (
    "its sum for the sample that excites it most, at the end; a ReLU below the line is dead\n"
    "the axis is even from −1 to 1, and counts in powers of ten beyond"
)


def figure(units: Mapping[str, Units]) -> Figure:
    """On the left the share of dead units over the steps; on the right every unit's highest sum at the end."""
    picture, (left, right) = style.canvas(17, 8, columns=2)
    drawn: list[np.ndarray] = []
    for (name, own), (color, _) in zip(units.items(), style.line_styles(len(units)), strict=True):
        dash = "--" if any(_is_hidden(own.shares, earlier) for earlier in drawn) else "-"
        drawn.append(own.shares)
        left.plot(own.steps, 100 * own.shares, dash, color=color, label=name, linewidth=2.5)
        right.plot(np.linspace(0, 100, len(own.highest)), own.highest, "o", color=color, markersize=4, label=name)
    left.set_ylim(-3, 103)
    style.legend_below(left)
    style.dress(left, "Dead units", DEAD, style.STEP, "dead units in %")
    _finish(right)
    return picture


def _is_hidden(shares: np.ndarray, below: np.ndarray) -> bool:
    """Whether a line would hide another one for most of its length.

    Example:
        >>> _is_hidden(np.array([0.0, 0.0, 0.5]), np.zeros(3))
        True
    """
    return len(shares) == len(below) and float(np.mean(shares == below)) > 0.5


def _finish(axes: Axes) -> None:
    axes.axhline(0, color=style.INK, linewidth=1.5)
    axes.set_yscale("symlog", linthresh=1.0)
    low, high = axes.get_ylim()
    axes.set_yticks([t for t in style.symlog_ticks(1.0, max(-low, high, 10.0), 4) if low <= t <= high])
    axes.yaxis.set_major_formatter(lambda value, _: style.number(value))
    style.legend_below(axes)
    style.dress(axes, "How far each unit is from zero", HIGHEST, "units in %, the lowest first", "highest sum")
