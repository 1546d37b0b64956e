"""The gradient flow's profile over depth: how much of the gradient reaches each layer, with a plain verdict.

The layers stand as in the heatmap of the gradient flow, the input below. What vanishes on its way back from the loss
leans to the left below, what explodes leans to the right, and what is healthy stands upright.
"""

import math
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.diagnosis import Flow, depth_biases, depth_weights, diagnose_flow, factor
from gradlab.figures import style
from gradlab.sinks import MemorySink

PREFIX, SUFFIX = "gradient/", "/rms"
PARTIAL = "partial/"
INCHES_A_NAME = 0.25
MOST_INCHES = 10
FIRST = 5
SHARE = 0.1

_Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``gradient/<parameter>/rms`` of at least two weights.

    Example:
        >>> ready(MemorySink())
        False
    """
    return len(_weights(memory, _curves(memory))) > 1


def figure(memory: MemorySink) -> Figure:
    """The profile of all weights.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write(Scalar(f"gradient/{i}.weight/rms", 0, 10.0**i) for i in range(4))
        >>> figure(memory).axes[0].get_title(loc="left")
        'Gradient flow over depth: vanishing'
    """
    layers = len(_weights(memory, _curves(memory)))
    picture, (axes,) = style.canvas(11, 5 + min(0.4 * layers, MOST_INCHES))
    draw(axes, memory)
    return picture


def draw(axes: Axes, memory: MemorySink) -> None:
    """Draw the RMS gradient of every weight at the end and at the start, and the line fitted to the former.

    Dots are medians over the last tenth of the steps, the bars behind them reach from the smallest to the
    largest value there, so that a spike stays. Parameters without depth (biases, gains, embeddings) are left out; the
    biases' gradients are drawn as small squares where the verdict needs them.

    Args:
        axes: where to draw.
        memory: holds ``gradient/<parameter>/rms``, first the parameter nearest to the input.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write(Scalar(f"gradient/{i}.weight/rms", step, 0.5) for i in range(2) for step in range(100))
        >>> _, (axes,) = style.canvas(6, 4)
        >>> draw(axes, memory)
        >>> axes.get_legend_handles_labels()[1][-1]
        'fitted line: × 1 a layer towards the input'
    """
    curves = _curves(memory)
    names = _weights(memory, curves)
    last = max(int(curves[name][0][-1]) for name in names)
    biases = depth_biases(curves, names, _vectors(memory))
    late = {name: _late(curves[name], last) for name in names}
    flow = diagnose_flow(late, {name: _late(curves[bias], last) for name, bias in biases.items()})
    places = np.arange(len(names))
    _draw_start(axes, [curves[name] for name in names])
    _draw_end(axes, list(late.values()), flow, f"end: {_span([curves[name][0] for name in names], last)}")
    _draw_line(axes, flow)
    if abs(flow.arriving_slope) * len(names) > 1:  # else they only crowd the picture
        label = "the biases (median at the end): what arrives from the loss"
        axes.plot(10**flow.arriving, places, "s", color=style.PINK, markersize=5, label=label)
    _widen(axes)
    _mark(axes, flow, names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    every = math.ceil(len(names) * INCHES_A_NAME / style.size(axes)[1])
    axes.set_yticks(places[::every], style.shorten_all(names)[::every])
    style.legend_below(axes)
    reasons, width = flow.words.partition(": ")[2].split("; "), int(style.size(axes)[0] * 12)
    caption = "\n".join(line for reason in reasons for line in textwrap.wrap(reason, width))
    title = f"Gradient flow over depth: {flow.verdict}"
    style.dress(axes, title, caption, "RMS of the gradient's entries (logarithmic)", "weight (input below)")


def _curves(memory: MemorySink) -> _Curves:
    found = memory.scalars(PREFIX)
    return {tag[len(PREFIX) : -len(SUFFIX)]: curve for tag, curve in found.items() if tag.endswith(SUFFIX)}


def _vectors(memory: MemorySink) -> set[str]:
    """Parameters of one dimension: the partials of such have a single index."""
    tags = (tag[len(PARTIAL) :] for tag in memory.tags(PARTIAL) if tag.endswith("]"))
    return {name for name, _, index in (tag.rpartition("[") for tag in tags) if "," not in index}


def _weights(memory: MemorySink, curves: _Curves) -> list[str]:
    return depth_weights(curves, _vectors(memory))


def _late(curve: tuple[np.ndarray, np.ndarray], last: int) -> np.ndarray:
    """The values of the last tenth of the steps."""
    steps, values = curve
    return values[steps > last - SHARE * (last - steps[0] + 1)]


def _span(steps: list[np.ndarray], last: int) -> str:
    """Which steps `_late` took, for the legend."""
    first = min((int(own[-len(late)]) for own in steps if len(late := _late((own, own), last))), default=last)
    return f"step {last}" if first == last else f"steps {first} to {last}"


def _draw_start(axes: Axes, curves: list[tuple[np.ndarray, np.ndarray]]) -> None:
    first = [(steps[:FIRST], values[:FIRST]) for steps, values in curves]
    low, high = min(int(steps[0]) for steps, _ in first), max(int(steps[-1]) for steps, _ in first)
    medians = [_median(values) for _, values in first]
    label = f"start: step {low}" if low == high else f"start: steps {low} to {high}"
    axes.plot(medians, range(len(first)), "o", color=style.GREY, markerfacecolor="white", label=label, zorder=2)


def _draw_end(axes: Axes, late: list[np.ndarray], flow: Flow, label: str) -> None:
    places = np.arange(len(late))
    positive = [_positive(values) for values in late]
    lows = np.array([values.min(initial=np.inf) for values in positive])
    highs = np.array([values.max(initial=0) for values in positive])
    some = highs > 0
    width = min(7.0, 30 * style.size(axes)[1] / len(late))
    axes.hlines(places[some], lows[some], highs[some], color=style.BLUE, alpha=0.3, linewidth=width, zorder=1)
    label += " (dot: median, bar: smallest to largest)"
    axes.plot(10**flow.levels, places, "o", color=style.BLUE, markersize=6, label=label, zorder=3)


def _draw_line(axes: Axes, flow: Flow) -> None:
    places = np.flatnonzero(np.isfinite(flow.levels))
    if len(places) > 1:
        ends = places[[0, -1]]
        label = f"fitted line: × {factor(flow.slope)} a layer towards the input"
        heights = np.clip(flow.height - flow.slope * ends, -300, 300)  # an outlier may lie beyond every float
        axes.plot(10**heights, ends, "--", color=style.VERMILLION, label=label, zorder=4)


def _widen(axes: Axes) -> None:
    """At least three powers of ten, so that harmless differences look small."""
    shown = [np.asarray(line.get_xdata(), float) for line in axes.lines]
    shown += [np.asarray(path.vertices)[:, 0] for bars in axes.collections for path in bars.get_paths()]
    logs = np.log10(np.clip(_positive(np.concatenate(shown)), style.SMALLEST, style.LARGEST))
    low, high = (logs.min(), logs.max()) if len(logs) else (-1.0, -1.0)
    margin = max(0.15 * (high - low), (3 - (high - low)) / 2)
    axes.set_xlim(10 ** (low - margin), 10 ** min(high + margin, 201.0))
    axes.set_xscale("log")


def _mark(axes: Axes, flow: Flow, names: list[str]) -> None:
    cases = [
        (flow.dead, "exactly zero", style.PINK, 0.015),
        (flow.missing, "no gradient recorded at the end", style.GREY, 0.015),
        (flow.nonfinite, "NaN or infinite", style.VERMILLION, 0.985),
    ]
    for which, label, color, at in cases:
        places = [place for place, name in enumerate(names) if name in which]
        if places:
            along = axes.get_yaxis_transform()
            axes.plot([at] * len(places), places, "x", transform=along, color=color, label=label, markeredgewidth=2)


def _positive(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values) & (values > 0)]


def _median(values: np.ndarray) -> float:
    positive = _positive(values)
    return float(np.median(positive)) if len(positive) else np.nan
