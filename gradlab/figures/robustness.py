"""Success rates of optimizers on surfaces as a table of colours, and over all surfaces with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.rate import Rate
    from gradlab.studies.robustness import Results

TABLE = "percent of the random starts\nbelow: between which numbers the true rate lies, with 95 % confidence"
OVERALL = "lines: where the true rate lies,\nwith 95 % confidence"
DARK = 0.6  # from here on the colours are so bright that text on them is dark


def figure(results: Results) -> Figure:
    """On the left every optimizer on every surface; on the right all surfaces together."""
    rows = len(results.ranked)
    widths = max(8.0, 1.15 * len(results.surfaces) + 1.5), 6.5
    picture, (left, right) = style.canvas(sum(widths), 0.95 * max(rows, 3) + 3.2, columns=2)
    grid = left.get_gridspec()
    assert grid is not None
    grid.set_width_ratios(widths)
    _draw_table(left, results)
    _draw_overall(right, results)
    return picture


def _draw_table(axes: Axes, results: Results) -> None:
    names, surfaces = results.ranked, results.surfaces
    rates = [[trial.found for trial in results.of(name)] for name in names]
    shares = np.array([[rate.share for rate in row] for row in rates])
    axes.imshow(shares, cmap=style.SEQUENCE, vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        color = style.INK if share > DARK else "white"
        _write(axes, column, row, rates[row][column], color)
    axes.set_xticks(range(len(surfaces)), [surface.replace("_", "\n") for surface in surfaces])
    axes.set_yticks(range(len(names)), [f"{name}\nlr = {results.rates[name]:g}" for name in names])
    axes.grid(False)
    axes.tick_params(length=0)
    style.dress(axes, f"At a global minimum after {results.steps} steps", TABLE, "surface", "")


def _write(axes: Axes, x: int, y: int, rate: Rate, color: str) -> None:
    low, high = rate.interval
    looks: dict[str, Any] = {"ha": "center", "color": color}
    axes.text(x, y - 0.02, f"{100 * rate.share:.0f}", va="bottom", fontsize=16, fontweight="bold", **looks)
    axes.text(x, y + 0.06, f"{100 * low:.0f}–{100 * high:.0f}", va="top", fontsize=11, **looks)


def _draw_overall(axes: Axes, results: Results) -> None:
    names = results.ranked
    kinds = (
        ("at a global minimum", results.overall, "o", style.BLUE),
        ("diverged", results.diverged, "X", style.VERMILLION),
    )
    for label, kind, marker, color in kinds:
        rates = [kind(name) for name in names]
        shares = np.array([100 * rate.share for rate in rates])
        ends = 100 * np.array([rate.interval for rate in rates]).T
        spread = np.abs(ends - shares)
        looks: dict[str, Any] = {"capsize": 4, "markersize": 9, "color": color, "label": label}
        axes.errorbar(shares, np.arange(len(names)), xerr=spread, fmt=marker, **looks)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(left=-3)
    style.legend_below(axes)
    style.dress(axes, "All surfaces together", OVERALL, "percent of the starts", "")
