"""Rates of change in all directions around a point, on the map and on a compass; and in random directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import MaxNLocator

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.gradient import Compass
    from gradlab.studies.random_directions import RandomDirections

LEVELS = 18
ARROW = 0.6  # the gradient's length on the map, as a share of the map's half
MOST_MARKS = 90  # on the compass
MAP = "the gradient, whose two parts are the partial derivatives,\nis at right angles to the contour line"
ROSE = (
    "distance from the middle, in rings: how much f changes for a unit\n"
    "of way; angle: from the x axis; marks: {shown} measured"
)
CLOUD = "how fast f changes in directions chosen at random, and in the gradient's own direction"


def figure(compass: Compass) -> Figure:
    """The map on the left, the compass on the right."""
    picture, (left, right) = style.canvas(14, 7.6, columns=2)
    _draw_map(left, compass)
    place = right.get_subplotspec()
    assert place is not None
    right.remove()
    _draw_rose(picture.add_subplot(place, projection="polar"), compass)
    return picture


def histogram(far: RandomDirections) -> Figure:
    """How the rates in random directions are distributed, with the theory's curve, and the gradient's own rate."""
    from gradlab.studies.random_directions import density

    picture, (axes,) = style.canvas(11, 6.8)
    edges = np.linspace(-1, 1, max(41, 1 + round(7 * far.dimension**0.5)))
    heights, _ = np.histogram(far.shares, edges, density=True)
    label = f"{len(far.shares):,} random directions"
    axes.stairs(heights, edges, fill=True, color=style.BLUE, alpha=0.6, label=label)
    t = np.linspace(-1, 1, 2003)[1:-1]
    axes.plot(t, density(t, far.dimension), color=style.INK, label=f"theory: spread 1/√n = {far.dimension**-0.5:.3g}")
    top = 1.15 * heights.max()
    for side, color, word in ((1, style.GREEN, "the gradient's direction"), (-1, style.VERMILLION, "the opposite one")):
        axes.plot([side * far.along] * 2, [0, 0.6 * top], color=color, linewidth=4, label=word)
    axes.set_ylim(0, top)
    axes.set_xlim(-1.1, 1.1)
    style.legend_below(axes)
    name = f"{far.name} in {far.dimension:,} dimensions"
    x = "rate of change, as a share of the gradient's length |∇f|"
    style.dress(axes, f"Which way is up? {name}", CLOUD, x, "density of the directions")
    return picture


def _draw_map(axes: Axes, compass: Compass) -> None:
    land, at = compass.land, np.array(compass.land.at)
    filled = axes.contourf(land.x, land.y, land.z, LEVELS, cmap=style.SEQUENCE)
    axes.figure.colorbar(filled, cax=axes.inset_axes((1.03, 0, 0.04, 1)), label="f(x, y)")
    outline: list[AbstractPathEffect] = [withStroke(linewidth=4.5, foreground="black")]
    axes.contour(land.x, land.y, land.z, [compass.value], colors="white", linewidths=3).set_path_effects(outline)
    label = f"contour line f = {style.number(compass.value)}"
    axes.plot([], [], color="white", linewidth=3, path_effects=outline, label=label)
    reach = ARROW * np.ptp(land.x) / 2
    tip = at + reach * compass.gradient / compass.length
    corner = np.array([tip[0], at[1]])
    for start, end, name in ((at, corner, "∂f/∂x"), (corner, tip, "∂f/∂y")):
        axes.plot(*np.stack([start, end]).T, "--", color="white", linewidth=2)
        halo = [withStroke(linewidth=4, foreground="white")]
        axes.annotate(name, tuple((start + end) / 2), (6, 8), textcoords="offset points", path_effects=halo, zorder=7)
    across = np.array([-1, 1])[:, None] * reach * np.array([-compass.gradient[1], compass.gradient[0]]) / compass.length
    axes.plot(*(at + across).T, ":", color=style.INK, linewidth=3, label="at right angles to the gradient")
    _draw_arrow(axes, at, tip)
    axes.plot([], [], color=style.VERMILLION, linewidth=4, label="gradient ∇f (its direction)")
    axes.plot(*at, "o", color=style.INK, markersize=9, zorder=6)
    axes.set_aspect("equal")
    axes.grid(False)
    style.legend_below(axes)
    style.dress(axes, f"{land.name} from above", MAP, "x", "y")


def _draw_arrow(axes: Axes, start: np.ndarray, end: np.ndarray) -> None:
    look = {"arrowstyle": "-|>,head_width=0.5,head_length=0.9", "color": style.VERMILLION, "linewidth": 4}
    axes.annotate("", tuple(end), tuple(start), arrowprops={**look, "shrinkA": 0, "shrinkB": 0}, zorder=5)


def _draw_rose(axes: Any, compass: Compass) -> None:
    around = np.radians(np.linspace(0, 360, 721))
    every = max(1, len(compass.angles) // MOST_MARKS)
    turned = np.cos(around - np.radians(compass.angle))
    axes.plot(
        around,
        compass.length * np.abs(turned),
        color=style.INK,
        linewidth=1,
        label="|∇f · u|, as the gradient predicts it",
    )
    for sign, color, marker, word in ((1, style.BLUE, "o", "f rises"), (-1, style.GREEN, "x", "f falls")):
        chosen = np.sign(compass.rates) == sign
        angles, rates = np.radians(compass.angles[chosen]), np.abs(compass.rates[chosen])
        axes.plot(angles, rates, marker, color=color, markersize=5, markevery=every, label=f"{word} (measured)")
    axes.plot(
        np.radians([compass.angle] * 2), [0, compass.length], color=style.VERMILLION, linewidth=4, label="gradient ∇f"
    )
    line = np.radians(compass.level_line)
    axes.plot([line, line + np.pi], [compass.length] * 2, ":", color=style.INK, linewidth=2.5, label="contour line")
    axes.set_ylim(0, 1.25 * compass.length)
    axes.set_rticks([tick for tick in MaxNLocator(4).tick_values(0, compass.length) if 0 < tick <= compass.length])
    axes.set_rlabel_position(compass.angle + 104)
    axes.tick_params(axis="x", pad=-22)  # inside the rim: above it stands the caption
    style.legend_below(axes)
    title = f"Steepest at {compass.angles[compass.rates.argmax()]:g}° (gradient: {compass.angle:.1f}°)"
    shown = f"1 in {every} of the {len(compass.angles):,}" if every > 1 else "the directions"
    style.dress(axes, title, ROSE.format(shown=shown), "", "")
