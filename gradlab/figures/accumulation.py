"""How far accumulated gradients are from that of the large batch, and two trainings that should be the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.accumulation import Case

CASES = "each bar compares two gradients of 16 digits;\nat 1 they differ by as much as the large batch's is long"
LOSSES = "one with the large batch, one that accumulates,\nof the same rows in the same order (numbers of 7 digits)"
LEAST = 1e-17  # what is drawn for a difference of exactly 0


def figure(cases: Sequence[Case], gaps: Mapping[int, float], rounds: int) -> Figure:
    """On the left a bar for each way of accumulating; on the right how far the losses of two trainings are apart.

    Args:
        cases: see `gradlab.studies.accumulation.Case`.
        gaps: the relative difference of the losses by step, of either sign.
        rounds: how many whole large batches an epoch has.
    """
    picture, (left, right) = style.canvas(19, 8, columns=2)
    _draw_cases(left, cases)
    _draw_gaps(right, gaps, rounds)
    return picture


def _draw_cases(axes: Axes, cases: Sequence[Case]) -> None:
    places = np.arange(len(cases))
    colors = [style.BLUE if case.same else style.VERMILLION for case in cases]
    sizes = np.array([max(case.difference, LEAST) for case in cases])
    axes.barh(places, sizes - LEAST / 10, left=LEAST / 10, color=colors, height=0.65)
    axes.set_xscale("log")
    axes.set_xlim(LEAST / 10, 3e3)
    for place, case in enumerate(cases):
        axes.text(max(case.difference, LEAST) * 2, place, f"{case.difference:.2g}", va="center", fontsize=12)
    axes.set_yticks(places, [case.name for case in cases])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    labels = ((style.BLUE, "the same, but for rounding"), (style.VERMILLION, "another gradient"))
    style.legend_below(axes, [Patch(color=color, label=label) for color, label in labels])
    style.dress(axes, "Is it the gradient of the large batch?", CASES, "relative difference (logarithmic)", "")


def _draw_gaps(axes: Axes, gaps: Mapping[int, float], rounds: int) -> None:
    steps, values = np.array(list(gaps)), np.abs(list(gaps.values()))
    floor = max(values[values > 0].min(initial=1.0), 1e-9) / 10
    same = values < floor
    label = "|difference| ÷ loss"
    axes.semilogy(steps, np.maximum(values, floor), "o-", color=style.BLUE, markersize=5, linewidth=1, label=label)
    if same.any():
        label = "the same in all digits"
        axes.plot(steps[same], np.full(same.sum(), floor), "v", color=style.GREEN, markersize=8, label=label)
    label = f"step {rounds}: the rest of the epoch, less than a batch"
    axes.axvline(rounds, color=style.VERMILLION, linestyle="--", label=label)
    axes.set_ylim(floor / 3, 10 * max(values.max(), floor))
    style.legend_below(axes)
    style.dress(axes, "Two trainings with Lightning", LOSSES, style.STEP, "difference of the losses")
