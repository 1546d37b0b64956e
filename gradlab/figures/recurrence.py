"""The gradient of the last output by the state at each time, for plain recurrent networks and for those with gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.recurrence import Fading

PLAIN = (
    "read from right to left: the gradient goes back in time\n"
    "rings: without tanh, radius^(steps back); lines: with tanh, never above their rings"
)
GATED = (
    "PyTorch's cells as they start; and with the gate opened that keeps the state:\n"
    "a share σ(bias) is kept at each step (dotted: what this gate alone would do)"
)
TIME = "time step t (the loss looks at the last one)"
SIZE = "length of the gradient at t ÷ at the last step"


def figure(plain: Sequence[tuple[Fading, Fading]], gated: Sequence[Fading]) -> Figure:
    """On the left each radius without and with tanh; on the right the cells with gates.

    Args:
        plain: for each radius the linear network and the one with tanh.
        gated: PyTorch's cells.
    """
    picture, (left, right) = style.canvas(18, 8.5, columns=2)
    for (line, curve), (color, _) in zip(plain, style.line_styles(len(plain)), strict=False):
        steps = np.arange(len(line.sizes))
        every = max(1, len(steps) // 20)
        left.plot(steps[::every], line.sizes[::every], "o", color=color, label=line.name, markerfacecolor="none")
        left.plot(steps, curve.sizes, color=color, label=curve.name)
    _finish(left, "A plain recurrent network", PLAIN)
    for fading, (color, dash) in zip(gated, style.line_styles(len(gated)), strict=False):
        right.plot(np.arange(len(fading.sizes)), fading.sizes, dash, color=color, label=fading.name)
    theory = {fading.factor: fading.predicted() for fading in gated if fading.factor is not None}
    for factor, sizes in theory.items():
        label = f"{style.number(factor)}^(steps back)"
        right.plot(np.arange(len(sizes)), sizes, ":", color=style.INK, label=label)
    _finish(right, "Networks with gates", GATED)
    return picture


def _finish(axes: Axes, title: str, caption: str) -> None:
    axes.set_yscale("log")
    style.legend_below(axes)
    style.dress(axes, title, caption, TIME, SIZE)
