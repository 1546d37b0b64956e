"""A training run at a glance: loss, length and steadiness of the gradient, and how far the weights move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import loss, style, updates
from gradlab.sinks import MemorySink

CAPTION = (
    "1: the gradient points where that of the step before pointed\n"
    "0: at a right angle to it, −1: right back (drawn is the mean over {} steps)"
)


def progress(memory: MemorySink) -> Figure:
    """The loss, and the length of the gradient, over the steps.

    Args:
        memory: holds ``loss/train`` and ``total/norm_before_clipping``.
    """
    picture, (left, right) = style.canvas(17, 6.5, columns=2)
    loss.draw(left, memory)
    updates.draw_norms(right, memory)
    return picture


def steps(memory: MemorySink, weights: Sequence[str], window: int) -> Figure:
    """Of each weight how steady its gradient's direction is, and how far it moves.

    Args:
        memory: holds ``gradient/<weight>/cosine`` and ``update/<weight>/ratio``.
        weights: their names.
        window: over how many steps the cosines are averaged.
    """
    picture, (left, right) = style.canvas(15.5, 7, columns=2)
    draw_cosines(left, memory, weights, window)
    updates.draw(right, memory)
    return picture


def draw_cosines(axes: Axes, memory: MemorySink, weights: Sequence[str], window: int) -> None:
    """Draw the cosine of each weight's gradient with that of the step before, averaged over neighbouring steps.

    Args:
        axes: where to draw.
        memory: holds ``gradient/<weight>/cosine``.
        weights: their names.
        window: over how many steps is averaged.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write(Scalar("gradient/0.weight/cosine", step, 0.5) for step in range(1, 9))
        >>> _, (axes,) = style.canvas(6, 4)
        >>> draw_cosines(axes, memory, ["0.weight"], 4)
        >>> axes.lines[0].get_xdata().tolist(), axes.lines[0].get_ydata().tolist()
        ([2.5, 3.5, 4.5, 5.5, 6.5], [0.5, 0.5, 0.5, 0.5, 0.5])
    """
    for weight, (color, dash) in zip(weights, style.line_styles(len(weights)), strict=False):
        tag = f"gradient/{weight}/cosine"
        places, values = (_means(each, window) for each in memory.scalars(tag)[tag])
        axes.plot(places, values, dash, color=color, label=weight)
    axes.axhline(0, color=style.GREY, linewidth=1)
    style.legend_below(axes)
    style.dress(axes, "Cosine with the step before", CAPTION.format(window), style.STEP, "cosine")


def _means(values: np.ndarray, window: int) -> np.ndarray:
    """Moving means over as many neighbours.

    Example:
        >>> _means(np.array([1.0, 2.0, 6.0]), 2).tolist()
        [1.5, 4.0]
    """
    window = max(1, min(window, len(values)))
    return np.convolve(values, np.full(window, 1 / window), mode="valid")
