"""The steps that a bowl takes over its condition number, and the distance from the minimizer for the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.conditioning import Arrival

STEPS = "dots: measured; solid: predicted; dotted: if every step were alike"
DISTANCES = "dotted: if every step were alike, with the factor of the long run"


def figure(arrivals: Sequence[Arrival], shrink: float) -> Figure:
    """On the left the steps over κ, both logarithmic; on the right how the distance shrinks for the largest κ."""
    picture, (left, right) = style.canvas(17, 7.5, columns=2)
    methods = list(dict.fromkeys(a.method for a in arrivals))
    for method, color in zip(methods, style.COLORS, strict=False):
        own = [a for a in arrivals if a.method == method]
        _draw_steps(left, own, color, shrink)
        _draw_distances(right, own[-1], color)
    style.legend_below(left)
    style.dress(left, "Steps until it has arrived", STEPS, "condition number κ (logarithmic)", "steps (logarithmic)")
    right.axhline(shrink, color=style.GREY, label=f"arrived: {shrink:g} of the first distance")
    right.set_yscale("log")
    right.set_ylim(shrink / 3, 3 * max(a.distances.max() for a in arrivals))
    style.legend_below(right)
    largest = style.number(arrivals[-1].condition)
    style.dress(right, f"The way there for κ = {largest}", DISTANCES, style.STEP, "share of the first distance")
    return picture


def _draw_steps(axes: Axes, arrivals: Sequence[Arrival], color: str, shrink: float) -> None:
    method = arrivals[0].method
    measured = [a.condition for a in arrivals], [a.needed for a in arrivals]
    conditions = np.geomspace(measured[0][0], measured[0][-1], 200)
    root = conditions**method.power
    said = np.log(shrink) / np.log((root - 1) / (root + 1))
    power = "κ" if method.power == 1 else "√κ"
    axes.loglog(
        conditions, said, ":", color=color, label=f"{method.name}, if every step were alike: grows like {power}"
    )
    axes.plot(measured[0], [a.predicted for a in arrivals], color=color, label=method.name)
    axes.plot(*measured, "o", color=color, markersize=10)
    place: dict[str, Any] = {"xytext": (8, -15)} if method.power == 1 else {"xytext": (-6, 7), "ha": "right"}
    looks = {"textcoords": "offset points", "color": color, **place}
    for condition, steps in zip(*measured, strict=True):
        axes.annotate(f"{steps:.0f}", (condition, steps), **looks)


def _draw_distances(axes: Axes, arrival: Arrival, color: str) -> None:
    steps = np.arange(len(arrival.distances))
    axes.plot(steps, arrival.distances, color=color, label=arrival.method.name)
    axes.plot(steps, arrival.method.factor(arrival.condition) ** steps, ":", color=style.INK)
