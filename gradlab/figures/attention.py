"""The gradient along the skip connections of a network: what comes around each branch, and what through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.attention import Skip

PATHS = (
    "from the loss (left) down to the input (right):\nwhat h gets in h + branch(h), around the branch and through it"
)
SHARES = "1: as much through the branch as around it;\nwhat a branch passes on, it has to learn"
LOSS = "dotted: a network that knows nothing and guesses,\nln of the number of characters"


def figure(skips: Sequence[Skip], losses: tuple[np.ndarray, np.ndarray], guess: float) -> Figure:
    """Norms at the last step, their ratio over the steps, and the loss.

    Args:
        skips: from the loss down.
        losses: steps and losses of the training.
        guess: the loss of a network that knows nothing.
    """
    picture, (left, middle, right) = style.canvas(23, 8, columns=3)
    _draw_norms(left, skips)
    for skip, (color, dash) in zip(skips, style.line_styles(len(skips)), strict=True):
        middle.plot(skip.steps, skip.share, dash, color=color, label=skip.name)
    middle.set_ylim(bottom=0)
    style.legend_below(middle)
    style.dress(middle, "Through the branch ÷ around it", SHARES, style.STEP, "ratio of the norms")
    right.plot(*losses, color=style.BLUE)
    right.axhline(guess, color=style.INK, linestyle=":")
    right.set_ylim(bottom=0)
    style.dress(right, "The network learns", LOSS, style.STEP, "loss")
    return picture


def _draw_norms(axes: Axes, skips: Sequence[Skip]) -> None:
    """Two bars for each branch at the first step and two at the last."""
    places = np.arange(len(skips))
    bars = (
        ([skip.around[0] for skip in skips], f"around, step {skips[0].steps[0]}", style.BLUE, 0.35),
        ([skip.through[0] for skip in skips], f"through, step {skips[0].steps[0]}", style.VERMILLION, 0.35),
        ([skip.around[-1] for skip in skips], f"around, step {skips[0].steps[-1]}", style.BLUE, 1),
        ([skip.through[-1] for skip in skips], f"through, step {skips[0].steps[-1]}", style.VERMILLION, 1),
    )
    for number, (heights, label, color, alpha) in enumerate(bars):
        axes.bar(places + 0.2 * (number - 1.5), heights, 0.2, color=color, alpha=alpha, label=label)
    axes.set_xticks(places, ["\n".join(style.shorten(skip.name).rsplit(".", 1)) for skip in skips])
    axes.grid(axis="x", visible=False)
    style.legend_below(axes)
    style.dress(axes, "Two ways down", PATHS, "", "norm of the gradient")
