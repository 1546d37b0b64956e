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

DEAD = "a dead unit gets a gradient of exactly 0 from every sample"
HIGHEST = "its sum for the sample that excites it most, at the end; a ReLU below the line is dead"


def figure(units: Mapping[str, Units]) -> Figure:
    """On the left the share of dead units over the steps; on the right every unit's highest sum at the end."""
    picture, (left, right) = style.canvas(17, 8, columns=2)
    styles = style.line_styles(len(units))
    for place, ((name, own), (color, dash)) in enumerate(zip(units.items(), styles, strict=True)):
        width = 1.5 + 0.7 * (len(units) - 1 - place)  # what lies below another line shows at both sides of it
        left.plot(own.steps, 100 * own.shares, dash, color=color, label=name, linewidth=width)
        right.plot(np.linspace(0, 100, len(own.highest)), own.highest, "o", color=color, markersize=4, label=name)
    left.set_ylim(-3, 103)
    style.legend_below(left)
    style.dress(left, "Dead units", DEAD, style.STEP, "dead units in %")
    _finish(right)
    return picture


def _finish(axes: Axes) -> None:
    axes.axhline(0, color=style.INK, linewidth=1.5)
    axes.set_yscale("symlog", linthresh=1.0)
    low, high = axes.get_ylim()
    axes.set_yticks([t for t in style.symlog_ticks(1.0, max(-low, high, 10.0), 4) if low <= t <= high])
    style.legend_below(axes)
    style.dress(axes, "How far each unit is from zero", HIGHEST, "units in %, the lowest first", "highest sum")
