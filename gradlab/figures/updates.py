"""Updates: by which share of its size each weight moves at a step, and what clipping did to the gradient before.

A learning rate that fits shows here more directly than in the loss: as a rule of thumb, the update is about a
thousandth of the weight (A. Karpathy, *CS231n: Neural networks part 3*, "Ratio of weights:updates").
"""

from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure

from gradlab.diagnosis import depth_weights
from gradlab.figures import style
from gradlab.sinks import MemorySink

PREFIX, SUFFIX = "update/", "/ratio"
TOTAL = "total/"
RULE_OF_THUMB = 1e-3
MOST_NAMES = 8
BRIGHTEST = 0.92  # of viridis: beyond, a line is too pale on white

_Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``update/<parameter>/ratio``.

    Example:
        >>> ready(MemorySink())
        False
    """
    return bool(_ratios(memory))


def figure(memory: MemorySink) -> Figure:
    """The updates, and below them, where they were recorded, the total norm and the clip coefficient.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("update/0.weight/ratio", 0, 1e-3), Scalar("total/norm_before_clipping", 0, 2.0)])
        >>> [axes.get_title(loc="left") for axes in figure(memory).axes]
        ['Updates', 'Total gradient norm']
    """
    norms, coefficients = _totals(memory, "norm_before_clipping"), _totals(memory, "clip_coefficient")
    is_clipped = any((values < 1).any() for _, values in coefficients.values())
    count = 1 + bool(norms) + is_clipped
    picture, panels = style.canvas(12, 1 + 5 * count, rows=count)
    draw(panels[0], memory)
    if norms:
        draw_norms(panels[1], memory)
    if is_clipped:
        draw_coefficients(panels[-1], memory)
    return picture


def draw(axes: Axes, memory: MemorySink) -> None:
    """Draw the update-to-weight ratio ‖Δw‖/‖w‖ of each weight, and the rule of thumb as a line.

    Biases are left out (they begin at or near 0, so that any update is large beside them), unless nothing else
    was recorded.

    Args:
        axes: where to draw.
        memory: holds ``update/<parameter>/ratio``, first the parameter nearest to the input.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("update/0.weight/ratio", 0, 2e-3), Scalar("update/0.bias/ratio", 0, 5.0)])
        >>> _, (axes,) = style.canvas(6, 4)
        >>> draw(axes, memory)
        >>> axes.get_legend_handles_labels()[1]
        ['0.weight', 'rule of thumb: about 0.001']
    """
    curves = _ratios(memory)
    looks = [(color, dash, 1.5) for color, dash in style.line_styles(len(curves))]
    if len(curves) > MOST_NAMES:
        shades = colormaps[style.SEQUENCE](np.linspace(0, BRIGHTEST, len(curves)))
        looks = [(to_hex(shade), "-", 0.7) for shade in shades]
        _depth_bar(axes, len(curves))
    labels = style.shorten_all(list(curves)) if len(curves) <= MOST_NAMES else [None] * len(curves)
    for curve, (color, dash, width), label in zip(curves.values(), looks, labels, strict=True):
        axes.plot(*curve, color=color, linestyle=dash, linewidth=width, label=label)
    rule = f"rule of thumb: about {style.number(RULE_OF_THUMB)}"
    axes.axhline(RULE_OF_THUMB, color=style.INK, linestyle=(0, (6, 3)), linewidth=2, label=rule)
    _logarithmic(axes, list(curves.values()), RULE_OF_THUMB)
    style.legend_below(axes)
    caption = "by which share of its size a weight w moves at a step\n"
    caption += "far above the rule of thumb, the learning rate may be too high; far below it, too low"
    style.dress(axes, "Updates", caption, style.STEP, "‖Δw‖ / ‖w‖ (logarithmic)")


def draw_norms(axes: Axes, memory: MemorySink) -> None:
    """Draw the L2 norm of all gradients together, before clipping, and after it where anything was clipped.

    Args:
        axes: where to draw.
        memory: holds ``total/norm_before_clipping``, and ``total/norm_after_clipping`` and
            ``total/clip_coefficient`` if gradients are clipped.
    """
    before, after = _totals(memory, "norm_before_clipping"), _totals(memory, "norm_after_clipping")
    coefficients = _totals(memory, "clip_coefficient")
    for (label, curve), color in zip(before.items(), cycle(style.COLORS), strict=False):
        suffix = f" ({label})" if label else ""
        known = label in coefficients
        clipped = known and bool((coefficients[label][1] < 1).any())
        axes.plot(
            *curve, color=color, label=("before clipping" if clipped or not known else "nothing was clipped") + suffix
        )
        if clipped and label in after:
            axes.plot(*after[label], color=style.INK, linestyle="--", linewidth=1.2, label=f"after clipping{suffix}")
    _logarithmic(axes, [*before.values(), *after.values()])
    style.legend_below(axes)
    caption = "the length of the gradient of all parameters together"
    style.dress(axes, "Total gradient norm", caption, style.STEP, "L2 norm (logarithmic)")


def draw_coefficients(axes: Axes, memory: MemorySink) -> None:
    """Draw the number by which clipping multiplied the gradient: 1 where it let it be.

    Args:
        axes: where to draw.
        memory: holds ``total/clip_coefficient``.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write(Scalar("total/clip_coefficient", step, value) for step, value in enumerate([1.0, 0.25]))
        >>> _, (axes,) = style.canvas(6, 4)
        >>> draw_coefficients(axes, memory)
        >>> axes.get_legend_handles_labels()[1]
        ['clipped at 50% of the steps']
    """
    coefficients = _totals(memory, "clip_coefficient")
    for (label, curve), color in zip(coefficients.items(), cycle(style.COLORS), strict=False):
        share = f"clipped at {np.mean(curve[1] < 1):.0%} of the steps"
        axes.plot(*curve, color=color, label=f"{label}: {share}" if label else share)
    axes.axhline(1, color=style.GREY, linewidth=1)
    axes.set_ylim(0, 1.08)
    style.mark_nonfinite(axes, coefficients.values())
    style.legend_below(axes)
    caption = "clipping multiplies the gradient by this number; 1: nothing was clipped"
    style.dress(axes, "Clip coefficient", caption, style.STEP, "norm after / before")


def _ratios(memory: MemorySink) -> _Curves:
    """The ratios of the weights, or of everything if no name tells of a weight."""
    found = memory.scalars(PREFIX)
    curves = {tag[len(PREFIX) : -len(SUFFIX)]: curve for tag, curve in found.items() if tag.endswith(SUFFIX)}
    return {name: curves[name] for name in depth_weights(curves) or curves}


def _totals(memory: MemorySink, field: str) -> _Curves:
    """The curves of a total by optimizer; the name of a single optimizer is empty."""
    found = memory.scalars(TOTAL)
    return {tag[len(TOTAL) : -len(field)].rstrip("/"): curve for tag, curve in found.items() if tag.endswith(field)}


def _logarithmic(axes: Axes, curves: list[tuple[np.ndarray, np.ndarray]], reference: float | None = None) -> None:
    """A logarithmic axis on which everything positive has room, with marks where there is no logarithm."""
    values = np.concatenate([values for _, values in curves])
    shown = np.append(values[np.isfinite(values) & (values > 0)], reference or [])
    low, high = np.clip([shown.min(), shown.max()], style.SMALLEST, style.LARGEST) if len(shown) else (0.1, 1.0)
    axes.set_ylim(
        max(low / 2, style.SMALLEST), min(high * 3, style.LARGEST)
    )  # before the scale, which would look for limits of its own, and warn of zeros
    axes.set_yscale("log", nonpositive="mask")
    zeros = np.unique(np.concatenate([steps[values == 0] for steps, values in curves]))
    if len(zeros):
        along, label = axes.get_xaxis_transform(), f"exactly zero, first at step {zeros[0]}"
        axes.plot(zeros, np.full(len(zeros), 0.03), "x", transform=along, color=style.PINK, label=label, markersize=5)
    style.mark_nonfinite(axes, curves)


def _depth_bar(axes: Axes, count: int) -> None:
    """What the shades of many curves mean."""
    shades = ListedColormap(colormaps[style.SEQUENCE](np.linspace(0, BRIGHTEST, 256)))
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, 1), shades), ax=axes, pad=0.02, label=f"{count} weights")
    bar.set_ticks([0, 1], labels=["input", "loss"])
