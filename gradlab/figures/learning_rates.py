"""Descents on one bowl under several learning rates, and what theory says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import contour, style
from gradlab.figures.comparison import draw_curves
from gradlab.figures.loss import TAG as LOSS
from gradlab.sinks import MemorySink

if TYPE_CHECKING:
    from gradlab.studies.learning_rates import Bowl, Descended

LOSSES = "a straight line: the same factor at every step"
FACTORS = "below 1 the distance shrinks at every step, above 1 it grows; the slowest direction sets the pace"
COLUMNS = 3


def paths(descents: Sequence[Descended]) -> Figure:
    """The path of each descent from above, one panel each and all of one scale; in the last panel the losses."""
    rows = -(-(len(descents) + 1) // COLUMNS)
    picture, panels = style.canvas(4.5 * COLUMNS, 4.7 * rows + 0.5, rows=rows, columns=COLUMNS)
    ground = max(descents, key=lambda d: float(np.ptp(_path(d)))).memory  # its surface reaches farthest
    points = np.concatenate([_path(d) for d in descents])
    for axes, descent in zip(panels, descents, strict=False):
        _draw_path(axes, descent, ground, points)
    last, *unused = panels[len(descents) :]
    draw_curves(last, {d.name: d.memory.scalars(LOSS)[LOSS] for d in descents}, log=True)
    _remove_legend(last)
    picture.legend(*last.get_legend_handles_labels(), loc="outside lower center", ncols=len(descents))
    style.dress(last, "Loss", LOSSES, style.STEP, "loss (logarithmic)")
    for axes in unused:
        axes.set_visible(False)
    return picture


def factors(descents: Sequence[Descended], bowl: Bowl) -> Figure:
    """The factor per step over the learning rate: theory as lines, one for each curvature, descents as dots."""
    picture, (axes,) = style.canvas(10, 7.5)
    rates = np.linspace(0, 1.15 * max(bowl.limit, *(d.rate for d in descents)), 500)
    looks = style.line_styles(len(bowl.curvatures))
    for curvature, (color, dash) in zip(bowl.curvatures[::-1], looks, strict=True):
        label = f"predicted, |1 − {style.number(curvature)}·lr|"
        axes.plot(rates, np.abs(1 - rates * curvature), dash, color=color, label=label)
    axes.axhline(1, color=style.GREY, linewidth=1)
    axes.axvline(bowl.limit, color=style.GREY, linestyle=":", label=f"2/λmax = {style.number(bowl.limit)}")
    rates = np.array([d.rate for d in descents])
    flat, *_, steep = np.transpose([d.factors for d in descents])
    axes.plot(rates, steep, "o", color=style.INK, markersize=9, label="measured, steep direction")
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 2}
    axes.plot(rates, flat, "o", color=style.INK, markersize=9, label="measured, flat direction", **hollow)
    axes.set_ylim(0, 1.1 * max(1.2, *steep))
    style.legend_below(axes)
    style.dress(axes, "By what factor does the distance change at each step?", FACTORS, "learning rate lr", "factor")
    return picture


def _draw_path(axes: Axes, descent: Descended, ground: MemorySink, points: np.ndarray) -> None:
    """The surface with the way taken, the start as a filled dot and the end as a ring."""
    path = _path(descent)
    view, _ = contour.draw_ground(axes, ground, points, bar=False)
    axes.plot(*path.T, "o-", color="white", markersize=4, markeredgecolor="black", markeredgewidth=0.5, linewidth=1.4)
    axes.plot(*path[0], "o", color=style.VERMILLION, markersize=11, markeredgecolor="black")
    axes.plot(*path[-1], "o", color=style.VERMILLION, markersize=15, markerfacecolor="none", markeredgewidth=3)
    contour.draw_minimizers(axes, ground, view)
    says = f"lr = {style.number(descent.rate)}, loss at the end {style.number(descent.loss)}"
    style.dress(axes, descent.name.capitalize(), says, *contour.AXES)


def _remove_legend(axes: Axes) -> None:
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()


def _path(descent: Descended) -> np.ndarray:
    return descent.memory.arrays(contour.PATH)[1]
