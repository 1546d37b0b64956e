"""Descents that leave a saddle: their paths from above, and their distance from the ridge over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style, together

if TYPE_CHECKING:
    from gradlab.studies.saddle import Leaving

GROWTH = "a straight line here: the same factor at every step; theory in grey"
PATHS = "each path until it is away, or to its last step; a wide line has others on top of it"


def figure(descents: Sequence[Leaving], away: float) -> Figure:
    """The surface with all paths on the left; on the right the distance from the ridge, with what theory says."""
    picture, (left, right) = style.canvas(17, 8.5, columns=2)
    paths = {d.name: d.path[: _seen(d)] for d in descents}
    ground = min((d.memory for d in descents), key=together.width_of)
    together.draw(left, paths, ground, "From above", PATHS, widen=2.6)
    style.legend_below(left)
    _draw_growth(right, descents, away)
    return picture


def _seen(descent: Leaving) -> int:
    """How many points of a path are drawn."""
    return int(min(descent.needed + 2, len(descent.path)))


def _draw_growth(axes: Axes, descents: Sequence[Leaving], away: float) -> None:
    for descent, (color, dash) in zip(descents, style.line_styles(len(descents)), strict=True):
        shown = descent.aside[: _seen(descent)]
        if descent.law is not None and descent.aside[0] > 0:
            said = descent.law.distances(float(descent.aside[0]), len(shown) - 1)
            axes.plot(said, color="#BBBBBB", linewidth=6, solid_capstyle="round")
        note = "" if shown.any() else " (0 at every step)"
        axes.plot(np.where(shown > 0, shown, np.nan), dash, color=color, label=descent.name + note)
    axes.axhline(away, color=style.INK, linestyle=":", label=f"counts as away: {away:g}")
    axes.set_yscale("log")
    style.legend_below(axes)
    style.dress(axes, "Distance from the ridge", GROWTH, style.STEP, "distance (logarithmic)")
