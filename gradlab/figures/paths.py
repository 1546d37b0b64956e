"""The ways of a population's points across a surface, seen from above."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from gradlab.figures import contour, style
from gradlab.sinks import MemorySink

POINTS = "path/points"


def ready(memory: MemorySink) -> bool:
    """Whether the records of a surface and of several points in the plane have come.

    Example:
        >>> ready(MemorySink())
        False
    """
    came = all(tag in memory.tags("surface/") for tag in contour.SURFACE) and POINTS in memory.tags(POINTS)
    return came and memory.arrays(POINTS)[1].shape[2] == 2


def figure(memory: MemorySink, name: str = "loss") -> Figure:
    """A line for each point, a dot where it begins and a ring where it ends.

    Args:
        memory: holds the surface's records (see `contour.draw`) and a ``path/points`` [k, 2] for each step.
        name: of the loss, for the title.
    """
    picture, (axes,) = style.canvas(10.5, 10)
    steps, paths = memory.arrays(POINTS)
    # The ends alone decide what is in view: the first steps of a point on a steep wall may lead far away and back.
    ends = paths[[0, -1]].reshape(-1, 2)
    view, caption = contour.draw_ground(axes, memory, ends[np.isfinite(ends).all(1)])
    for path in paths.transpose(1, 0, 2):
        shown = path[np.isfinite(path).all(1)]
        axes.plot(*shown.T, color="white", linewidth=0.9, alpha=0.8, zorder=3)
    starts, stops = f"start, step {steps[0]}", f"end, step {steps[-1]}"
    color, first, last = style.VERMILLION, paths[0], paths[-1]
    axes.scatter(first[:, 0], first[:, 1], s=26, color=color, edgecolor="black", linewidth=0.6, zorder=4, label=starts)
    axes.scatter(last[:, 0], last[:, 1], s=90, color="none", edgecolor=color, linewidth=1.6, zorder=5, label=stops)
    contour.draw_minimizers(axes, memory, view)
    style.legend_below(axes)
    style.dress(axes, f"{name}: the ways of {paths.shape[1]} points", caption, *contour.AXES)
    return picture
