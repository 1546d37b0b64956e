"""The steps that the heavy ball needs over learning rate and momentum, as measured and as the long run has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gradlab.figures import maps, style

if TYPE_CHECKING:
    from gradlab.studies.lr_momentum import Descents

MEASURED = "one descent in each cell; white: it has not arrived within {looks:,} steps"
THEORY = "ln {shrink:g} / ln ρ, where ρ is the factor per step in the long run"
LEVELS = (0.75, 0.5, 0.25)  # shares of the best settings' 1 − ρ
FINE = 400  # points along each axis for the lines: ρ has kinks


def figure(found: Descents) -> Figure:
    """On the left the steps that were needed; on the right what they would be if every step were alike."""
    picture, (left, right) = style.canvas(18, 8.3, columns=2)
    rough = found.roughly
    norm = LogNorm(min(found.fewest, rough.min()), found.looks)
    for axes, steps in ((left, found.needed), (right, rough)):
        seen = np.where(steps < found.looks, steps, np.nan)
        mesh = maps.draw(axes, found.rates, found.momenta, seen, style.SEQUENCE, norm)
        _draw_marks(axes, found)
    bar = picture.colorbar(mesh, ax=[left, right], pad=0.02, format=FuncFormatter(lambda v, _: f"{v:.0f}"))
    bar.set_label("steps (logarithmic)")
    bar.ax.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:.0f}" if str(int(v))[0] in "25" else ""))
    _draw_levels(right, found)
    style.legend_below(left)
    names = "learning rate lr", "momentum m"
    style.dress(left, "Steps until it has arrived", MEASURED.format(looks=found.looks), *names)
    style.dress(right, "If every step were alike", THEORY.format(shrink=found.ball.shrink), *names)
    return picture


def _draw_marks(axes: Axes, found: Descents) -> None:
    ball = found.ball
    momenta = np.linspace(0, 1, 50)
    axes.plot(ball.edge(momenta), momenta, color=style.VERMILLION, linewidth=2.5, label="edge: lr = 2 (1 + m) / λmax")
    cells = f"{style.number(found.fewest)} steps, the fewest"
    axes.plot(*found.best_cells.T, "s", color="white", markeredgecolor="black", markersize=6, label=cells)
    best = f"theory's optimum: {style.number(found.needed_at_best)} steps"
    axes.plot(*ball.optimum, "*", color=style.VERMILLION, markeredgecolor="white", markersize=20, label=best)


def _draw_levels(axes: Axes, found: Descents) -> None:
    ball = found.ball
    levels = [1 - (1 - float(ball.factors(*ball.optimum))) * share for share in LEVELS]
    rates, momenta = (np.linspace(values[0], values[-1], FINE) for values in (found.rates, found.momenta))
    factors = ball.factors(rates[:, None], momenta)
    lines = axes.contour(rates, momenta, factors.T, levels=levels, colors="white", linewidths=1.5, zorder=1.5)
    axes.clabel(lines, fmt=lambda value: f"ρ = {style.number(value)}", fontsize=11)
