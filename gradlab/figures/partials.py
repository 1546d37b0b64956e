"""Partial derivatives over the steps: one curve for each entry, one panel for each parameter."""

import re
from collections import defaultdict

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gradlab.figures import style
from gradlab.sinks import MemorySink

PREFIX = "partial/"
MOST_PANELS = 9
MOST_NAMES = 8

_Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``partial/<parameter>[i,j]``.

    Example:
        >>> ready(MemorySink())
        False
    """
    return bool(memory.scalars(PREFIX))


def figure(memory: MemorySink) -> Figure:
    """The partials of the first parameters, at most nine.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("partial/0.bias[1]", 0, 0.5), Scalar("partial/2.bias[0]", 0, 0.1)])
        >>> [axes.get_title(loc="left") for axes in figure(memory).axes]
        ['0.bias', '2.bias']
    """
    groups = _groups(memory)
    names = list(groups)[:MOST_PANELS]
    columns = 2 if len(names) == 4 else min(3, len(names))
    rows = -(-len(names) // columns)
    picture, panels = style.canvas(max(9, 6.5 * columns), 1 + 5 * rows, rows, columns)
    for axes, name in zip(panels, names, strict=False):
        draw(axes, name, groups[name])
    for axes in panels[len(names) :]:
        axes.remove()
    left_out = len(groups) - len(names)
    more = f" ({left_out} more parameters are not shown)" if left_out else ""
    picture.suptitle(f"Partial derivatives: how the loss changes with one entry alone{more}", fontsize=18)
    return picture


def draw(axes: Axes, parameter: str, entries: _Curves) -> None:
    """Draw the partials of one parameter.

    Args:
        axes: where to draw.
        parameter: its name.
        entries: for each index, such as ``[2,0]``, the steps and the values of ∂L/∂θ there.

    Example:
        >>> _, (axes,) = style.canvas(4, 3)
        >>> draw(axes, "theta", {"[0]": (np.arange(2), np.ones(2)), "[1]": (np.arange(2), np.zeros(2))})
        >>> axes.get_legend_handles_labels()[1]
        ['[0]', '[1]']
    """
    few = len(entries) <= MOST_NAMES
    axes.axhline(0, color=style.GREY, linewidth=1)
    for (index, curve), (color, dash) in zip(entries.items(), _looks(len(entries)), strict=True):
        label = (index or "the only entry") if few else None
        marker = "o" if len(curve[0]) == 1 else ""  # a line needs two points
        axes.plot(*curve, marker=marker, color=color, linestyle=dash, linewidth=1.5 if few else 0.8, label=label)
    if style.mark_nonfinite(axes, entries.values()) or few:
        style.legend_below(axes)
    caption = f"{len(entries)} entries" if len(entries) != 1 else "1 entry"
    caption += "" if few else ", from the first (dark) to the last (bright)"
    style.dress(axes, style.shorten(parameter), caption, style.STEP, "∂L/∂θ of an entry θ")


def _looks(count: int) -> list[tuple[str, str]]:
    if count <= MOST_NAMES:
        return style.line_styles(count)
    return [(to_hex(color), "-") for color in colormaps[style.SEQUENCE](np.linspace(0, 0.95, count))]


def _groups(memory: MemorySink) -> dict[str, _Curves]:
    """The curves by parameter and index; the index of a parameter that is a single number is empty."""
    groups: defaultdict[str, _Curves] = defaultdict(dict)
    for tag, curve in memory.scalars(PREFIX).items():
        index = re.search(r"(\[[\d,]*\])?$", tag)
        at = index.start() if index else len(tag)
        groups[tag[len(PREFIX) : at]][tag[at:]] = curve
    return dict(groups)
