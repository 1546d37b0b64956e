"""How much of the gradient arrives at each layer, for several networks in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradlab.diagnosis import depth_weights
from gradlab.figures import style
from gradlab.sinks import MemorySink

if TYPE_CHECKING:
    from gradlab.studies.gradient_depth import Depth

PREFIX, SUFFIX = "gradient/", "/rms"
LAYER = "layer (1: next to the input; the gradient comes from the right)"
ARRIVING = "dots: measured, lines: theory; each layer further left multiplies by its gain"
WEIGHTS = "what a step is made of; a layer far below the others hardly moves"


def figure(depths: Mapping[str, Depth]) -> Figure:
    """On the left what arrives at each hidden layer, with theory's lines; on the right the gradients of the weights."""
    picture, (left, right) = style.canvas(16, 8, columns=2)
    for (name, depth), (color, dash) in zip(depths.items(), style.line_styles(len(depths)), strict=True):
        layers = np.arange(1, len(depth.measured) + 1)
        left.plot(layers, depth.predicted, dash, color=color, linewidth=1.2)
        fill = color if dash == "-" else "white"  # a colour that comes again is told apart
        left.plot(layers, depth.measured / depth.measured[-1], "o", color=color, markersize=6, markerfacecolor=fill)
        left.plot([], [], "o" + dash, color=color, label=name, markerfacecolor=fill)
    title, share = "How much of the gradient arrives at a layer?", "gradient, as a share of the last hidden layer's"
    _finish(left, title, ARRIVING, share)
    _draw_weights(right, {name: depth.weights for name, depth in depths.items()})
    return picture


def weights(runs: Mapping[str, MemorySink]) -> Figure:
    """The RMS gradient of every weight matrix at the first recorded step of each run, in the order of the layers."""
    picture, (axes,) = style.canvas(10, 7.5)
    _draw_weights(axes, {name: _of_weights(memory) for name, memory in runs.items()})
    return picture


def _draw_weights(axes: Axes, sizes: Mapping[str, np.ndarray]) -> None:
    for (name, values), (color, dash) in zip(sizes.items(), style.line_styles(len(sizes)), strict=True):
        axes.plot(np.arange(1, len(values) + 1), values, "o" + dash, color=color, markersize=4, label=name)
    _finish(axes, "Gradients of the weights", WEIGHTS, "RMS of the gradient's entries")


def _of_weights(memory: MemorySink) -> np.ndarray:
    found = {
        tag[len(PREFIX) : -len(SUFFIX)]: values
        for tag, (_, values) in memory.scalars(PREFIX).items()
        if tag.endswith(SUFFIX)
    }
    return np.array([found[name][0] for name in depth_weights(found)])


def _finish(axes: Axes, title: str, caption: str, y: str) -> None:
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend_below(axes)
    style.dress(axes, title, caption, LAYER, f"{y} (logarithmic)")
