"""Gradient flow: how large the gradient is in every layer at every step, in one picture.

A gradient that vanishes on its way back darkens towards the lower edge, where the input is; one that explodes
brightens there. Below it, where histograms came, stands how the entries of three weights are distributed.
"""

import math

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gradlab.figures import distribution, style
from gradlab.sinks import MemorySink

PREFIX, SUFFIX = "gradient/", "/rms"
CAPTION = "how strongly the loss pulls at each parameter (RMS of its gradient's entries)"
INCHES_A_NAME = 0.25
MOST_INCHES = 10
MOST_COLUMNS = 600

_ZERO, _BROKEN, _MISSING = style.PINK, style.VERMILLION, "#E0E0E0"
# A size is never negative, so this number can stand for "nothing was recorded".
_NOTHING = -1.0


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``gradient/<parameter>/rms``.

    Example:
        >>> ready(MemorySink())
        False
    """
    return any(tag.endswith(SUFFIX) for tag in memory.tags(PREFIX))


def figure(memory: MemorySink) -> Figure:
    """The gradient flow of all parameters, and the distribution of the entries of some.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("gradient/0.weight/rms", 0, 0.5), Scalar("gradient/0.bias/rms", 0, 0.0)])
        >>> [label.get_text() for label in figure(memory).axes[0].get_yticklabels()]
        ['0.weight', '0.bias']
    """
    height = 3.4 + min(0.4 * len(_table(memory)[0]), MOST_INCHES)
    columns = distribution.panels(memory)
    if not columns:
        picture, (axes,) = style.canvas(11, height)
    else:
        picture, (axes, *panels) = style.canvas_below(14, height, 5, columns)
        distribution.draw(panels, memory)
    draw(axes, memory)
    return picture


def draw(axes: Axes, memory: MemorySink) -> None:
    """Draw log₁₀ of the gradient's RMS as colour: parameters upwards from the input, steps to the right.

    Where there are more steps than columns, a column shows the largest of its steps, so that a spike stays.

    Args:
        axes: where to draw.
        memory: holds ``gradient/<parameter>/rms``, first the parameter nearest to the input.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("gradient/theta/rms", 0, 0.0)])
        >>> _, (axes,) = style.canvas(4, 3)
        >>> draw(axes, memory)
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['exactly zero']
    """
    names, edges, rms = _table(memory)
    colors = colormaps[style.SEQUENCE].with_extremes(bad=_MISSING, under=_ZERO, over=_BROKEN)
    rows = np.arange(len(names) + 1)
    mesh = axes.pcolormesh(edges, rows, _logarithm(rms), cmap=colors, norm=_norm(rms), rasterized=True)
    axes.figure.colorbar(mesh, ax=axes, label="log₁₀ of the RMS", pad=0.02)
    every = math.ceil(len(names) * INCHES_A_NAME / style.size(axes)[1])
    axes.set_yticks(rows[:-1:every] + 0.5, style.shorten_all(names)[::every])
    axes.grid(False)
    _explain(axes, rms)
    style.dress(axes, "Gradient flow", CAPTION, style.STEP, "parameter (input below)")


def _table(memory: MemorySink) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names [p], edges of the columns [n + 1] and the RMS [p, n]."""
    curves = {tag: curve for tag, curve in memory.scalars(PREFIX).items() if tag.endswith(SUFFIX)}
    steps = np.unique(np.concatenate([steps for steps, _ in curves.values()]))
    edges = _edges(steps)
    rms = np.full((len(curves), len(edges) - 1), _NOTHING)
    for row, (own_steps, values) in zip(rms, curves.values(), strict=True):
        columns = np.searchsorted(edges, own_steps, side="right") - 1
        with np.errstate(invalid="ignore"):  # the maximum with a NaN is NaN, as it should be
            np.maximum.at(row, columns, values)
        _bridge(row, edges, own_steps, values)
    return [tag[len(PREFIX) : -len(SUFFIX)] for tag in curves], edges, rms


def _bridge(row: np.ndarray, edges: np.ndarray, steps: np.ndarray, values: np.ndarray) -> None:
    """Let a value last until the next one is due: parameters may be recorded at different steps."""
    latest = np.searchsorted(steps, edges[:-1], side="right") - 1
    age = edges[:-1] - steps[latest]
    due = 2 * np.median(np.diff(steps)) if len(steps) > 1 else 0
    empty = (row == _NOTHING) & (age >= 0) & (age < due)
    row[empty] = values[latest[empty]]


def _edges(steps: np.ndarray) -> np.ndarray:
    if len(steps) > MOST_COLUMNS:
        return np.linspace(steps[0] - 0.5, steps[-1] + 0.5, MOST_COLUMNS + 1)
    return style.column_edges(steps)


def _logarithm(rms: np.ndarray) -> np.ma.MaskedArray:
    """The colour map has three colours beside its scale: under it (zero), over it (NaN, inf), and masked."""
    logarithm = np.full(rms.shape, 1e6)  # far over every float's logarithm; an infinity would be masked
    logarithm[rms == 0] = -1e6
    positive = np.isfinite(rms) & (rms > 0)
    logarithm[positive] = np.log10(rms[positive])
    return np.ma.masked_array(logarithm, rms == _NOTHING)


def _norm(rms: np.ndarray) -> Normalize:
    shown = rms[np.isfinite(rms) & (rms > 0)]
    low, high = (np.log10(shown.min()), np.log10(shown.max())) if len(shown) else (-1.0, 0.0)
    margin = 0.05 if low == high else 0.0
    return Normalize(low - margin, high + margin)


def _explain(axes: Axes, rms: np.ndarray) -> None:
    cases = {
        "exactly zero": (_ZERO, rms == 0),
        "NaN or infinite": (_BROKEN, ~np.isfinite(rms)),
        "no gradient recorded": (_MISSING, rms == _NOTHING),
    }
    handles = [Patch(color=color, label=label) for label, (color, where) in cases.items() if where.any()]
    if handles:
        style.legend_below(axes, handles)
