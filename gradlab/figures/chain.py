"""The chain rule of one step by layer: upstream × gain = downstream.

On a logarithmic axis a product is a sum, so each term is a slope: it starts at the height of the gradient that
arrives (upstream), rises or falls by the gain, and ends at the height of the gradient that it passes on
(downstream).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.figures import style
from gradlab.sinks import MemorySink

PREFIX = "chain/"
CAPTION = "what arrives from the loss (upstream), times the local derivative, is passed on (downstream)"
BROKEN = "NaN or infinite"
MOST_TERMS = 24
INCHES_A_GAIN, INCHES_A_NAME = 0.65, 0.3

_HALF = 0.32
_GROWS, _SHRINKS = style.BLUE, style.VERMILLION


@dataclass(frozen=True)
class Slope:
    """One term as it is drawn; the numbers are L2 norms. None: nothing is passed on, as to the input data."""

    label: str
    upstream: float
    gain: float | None
    downstream: float | None


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: a breakdown, or ``chain/<module>/upstream``.

    Example:
        >>> ready(MemorySink())
        False
    """
    return bool(_terms(memory)[1] or _modules(memory)[1])


def figure(memory: MemorySink) -> Figure:
    """The chain rule term by term where a breakdown is short enough to be read, else module by module.

    Example:
        >>> from gradlab.records import Breakdown, Term
        >>> term = Term("1", "tanh", "y = tanh(x)", "1 − y²", (2,), 1.0, 0.5, 0.5)
        >>> memory = MemorySink()
        >>> memory.write([Breakdown("chain/table", 7, (term,))])
        >>> figure(memory).axes[0].get_title(loc="left")
        'Chain rule at step 7: upstream × gain = downstream'
    """
    step, slopes = _terms(memory)
    if not 0 < len(slopes) <= MOST_TERMS:
        step, slopes = _modules(memory) if _modules(memory)[1] else (step, slopes[:MOST_TERMS])
    picture, (axes,) = style.canvas(min(20, max(10, 3 + 0.9 * len(slopes))), 6.5)
    draw(axes, step, slopes)
    return picture


def draw_modules(axes: Axes, memory: MemorySink) -> None:
    """Draw the chain rule module by module, or term by term if no scalars of modules came.

    Args:
        axes: where to draw.
        memory: holds ``chain/<module>/upstream``, and ``.../gain`` and ``.../downstream`` where the module passes
            a gradient on; first the module nearest to the loss.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("chain/0/upstream", 3, 1.0)])
        >>> _, (axes,) = style.canvas(4, 3)
        >>> draw_modules(axes, memory)
        >>> axes.get_xticklabels()[0].get_text()
        '0'
    """
    step, slopes = _modules(memory)
    draw(axes, *((step, slopes) if slopes else _terms(memory)))


def draw(axes: Axes, step: int, slopes: list[Slope]) -> None:
    """Draw slopes side by side.

    Args:
        axes: where to draw.
        step: at which the numbers were measured.
        slopes: from the loss back to the parameters.

    Example:
        >>> _, (axes,) = style.canvas(4, 3)
        >>> draw(axes, 0, [Slope("tanh", 1.0, 0.5, 0.5)])
        >>> [label.get_text() for label in axes.get_xticklabels()]
        ['tanh']
    """
    heights = np.array([height or 0 for slope in slopes for height in (slope.upstream, slope.downstream)])
    shown = heights[np.isfinite(heights) & (heights > 0)]
    low, high = (shown.min(), shown.max()) if len(shown) else (0.1, 1.0)
    margin = (high / low) ** 0.2 * 1.5
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin**1.5)
    axes.set_xlim(-0.6, len(slopes) - 0.4)
    room = style.size(axes)[0] / len(slopes)
    for x, slope in enumerate(slopes):
        _draw_slope(axes, x, slope, room)
    _draw_links(axes, slopes)
    _name(axes, [slope.label for slope in slopes], room)
    _explain(axes)
    title = f"Chain rule at step {step}: upstream × gain = downstream"
    style.dress(axes, title, CAPTION, "from the loss back to the parameters →", "L2 norm of the gradient")


def _terms(memory: MemorySink) -> tuple[int, list[Slope]]:
    """The step and the slopes of the latest breakdown."""
    breakdowns = memory.breakdowns(PREFIX)
    if not breakdowns:
        return 0, []
    terms = breakdowns[-1].terms
    modules = style.shorten_all([term.module for term in terms], 18)
    return breakdowns[-1].step, [
        Slope(f"{term.operation}\n{module}".strip(), term.upstream, term.gain, term.downstream)
        for term, module in zip(terms, modules, strict=True)
    ]


def _modules(memory: MemorySink) -> tuple[int, list[Slope]]:
    """The latest step of the scalars, and the slopes of the modules that came at it."""
    curves = memory.scalars(PREFIX)
    step = max((int(steps[-1]) for steps, _ in curves.values()), default=0)
    latest = {tag: float(values[-1]) for tag, (steps, values) in curves.items() if steps[-1] == step}
    modules = [tag[: -len("/upstream")] for tag in latest if tag.endswith("/upstream")]
    labels = style.shorten_all([module[len(PREFIX) :] for module in modules], 18)
    return step, [
        Slope(label, latest[f"{name}/upstream"], latest.get(f"{name}/gain"), latest.get(f"{name}/downstream"))
        for name, label in zip(modules, labels, strict=True)
    ]


def _draw_slope(axes: Axes, x: int, slope: Slope, room: float) -> None:
    floor = axes.get_ylim()[0]
    below = slope.upstream if slope.downstream is None else slope.downstream
    if not (math.isfinite(slope.upstream) and math.isfinite(below)):
        axes.plot(x, floor, "x", color=_SHRINKS, markersize=9, markeredgewidth=2, clip_on=False, label=BROKEN)
        return
    # Zero lies infinitely deep on this axis: its dot sits on the lower edge.
    ends = [max(slope.upstream, floor), max(below, floor)]
    color = style.INK if slope.gain is None else _color(slope.gain)
    dot: dict[str, Any] = {"marker": "o", "color": color, "markersize": 8 if room > 0.5 else 4, "clip_on": False}
    if slope.downstream is not None:
        axes.plot([x - _HALF, x + _HALF], ends, color=color, linewidth=3 if room > 0.5 else 1.5)
        axes.plot(x + _HALF, ends[1], **dot)
    axes.plot(x - _HALF, ends[0], markerfacecolor="white", **dot)
    if room > INCHES_A_GAIN:
        at = (x, max(ends))
        axes.annotate(_gain(slope), at, xytext=(0, 9), textcoords="offset points", ha="center", color=color)


def _color(gain: float) -> str:
    if math.isclose(gain, 1, rel_tol=1e-3):
        return style.INK
    return _GROWS if gain > 1 else _SHRINKS


def _gain(slope: Slope) -> str:
    if slope.gain is None:
        return "parameters\nonly"
    return "no gradient" if math.isnan(slope.gain) else f"× {style.number(slope.gain)}"


def _draw_links(axes: Axes, slopes: list[Slope]) -> None:
    """Dotted lines: the downstream gradient of one term is the upstream gradient of another."""
    for x, slope in enumerate(slopes):
        height = slope.downstream or math.nan
        following = [y for y in range(x + 1, len(slopes)) if math.isclose(slopes[y].upstream, height, rel_tol=1e-5)]
        if following:
            ends = [x + _HALF, following[0] - _HALF]
            axes.plot(ends, [height] * 2, ":", color=style.GREY, linewidth=1.5, zorder=1)


def _name(axes: Axes, labels: list[str], room: float) -> None:
    longest = max(len(line) for label in labels for line in label.split("\n"))
    turned = 0.11 * longest > room
    every = math.ceil(INCHES_A_NAME / room)
    looks: dict[str, Any] = {"rotation": 30, "ha": "right"} if turned else {"ha": "center"}
    axes.set_xticks(range(0, len(labels), every), labels[::every], **looks)
    axes.grid(False, axis="x")


def _explain(axes: Axes) -> None:
    def key(label: str, **looks: Any) -> Line2D:
        return Line2D([], [], label=label, **looks)

    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "color": style.INK}
    handles = [key("upstream", markerfacecolor="white", **dot), key("downstream", **dot)]
    handles += [
        key("grows", color=_GROWS, linewidth=3),
        key("shrinks", color=_SHRINKS, linewidth=3),
    ]
    handles += [line for line in axes.lines if line.get_label() == BROKEN][:1]
    axes.legend(handles=handles, loc="upper right", ncols=5, columnspacing=1, handletextpad=0.4, handlelength=1.4)
