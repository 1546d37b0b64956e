"""The gradient of each variable as a sum over paths: one bar for each path, and one for the sum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style
from gradlab.figures.graph_words import number, signed, summed

if TYPE_CHECKING:
    from gradlab.studies.expression_graph import Graph, Path

PLUS, MINUS = style.BLUE, style.VERMILLION
MOST_PATHS = 8
CAPTION = (
    "a coloured bar is one path from a variable to f: the product of the local derivatives along it\n"
    "a dark bar is the sum over all paths of one variable: the derivative by it"
)
INCHES_A_LETTER = 0.105


class Bar(NamedTuple):
    """One bar: what it stands for, its calculation, and its length."""

    name: str
    words: str
    value: float
    is_sum: bool = False


def figure(graph: Graph, paths: Mapping[str, Sequence[Path]]) -> Figure:
    """Bars, grouped by variable.

    Args:
        graph: with all its numbers.
        paths: of each variable; the largest are drawn one by one.
    """
    groups = [list(_bars(node.name, node.gradient, paths[node.name])) for node in graph.variables]
    bars = [bar for group in groups for bar in group]
    picture, (axes,) = style.canvas(14, 2.7 + 0.5 * len(bars))
    for y, bar in enumerate(bars):
        _draw_bar(axes, y, bar)
    _separate(axes, [len(group) for group in groups])
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    for label, bar in zip(axes.get_yticklabels(), bars, strict=True):
        label.set_fontweight("bold" if bar.is_sum else "normal")
    axes.axvline(0, color=style.INK, linewidth=1)
    axes.set_xlim(*_limits(bars, style.size(axes)[0]))
    axes.grid(False, axis="y")
    style.dress(axes, f"The sum over paths: f = {graph.text}", CAPTION, "derivative of f", "")
    return picture


def _bars(name: str, gradient: float, paths: Sequence[Path]) -> Iterator[Bar]:
    ranked = sorted(paths, key=lambda path: -abs(_product(path)))
    shown = [Bar(_route(p), _calculation(p), _product(p)) for p in paths if p in ranked[:MOST_PATHS]]
    if len(paths) > len(shown):
        rest = sum(map(_product, ranked[MOST_PATHS:]))
        shown.append(Bar(f"{len(paths) - MOST_PATHS} more paths", number(rest), rest))
    yield from shown
    start = f"{summed([bar.value for bar in shown])} = " if 1 < len(shown) < 5 else ""
    yield Bar(f"∂f/∂{name}", f"{start}{number(gradient)}", gradient, is_sum=True)


def _product(path: Path) -> float:
    return math.prod(edge.local for edge in path)


def _route(path: Path) -> str:
    return " → ".join((path[0].source, *(edge.target for edge in path)))


def _calculation(path: Path) -> str:
    factors = " × ".join(signed(edge.local) for edge in path)
    return f"{factors} = {number(_product(path))}" if len(path) > 1 else number(_product(path))


def _draw_bar(axes: Axes, y: int, bar: Bar) -> None:
    color = style.INK if bar.is_sum else PLUS if bar.value > 0 else MINUS
    axes.barh(y, bar.value, color=color, height=0.62)
    side, align = (6, "left") if bar.value >= 0 else (-6, "right")
    weight = "bold" if bar.is_sum else "normal"
    looks: dict[str, Any] = {"textcoords": "offset points", "va": "center", "ha": align, "fontweight": weight}
    axes.annotate(bar.words, (bar.value, y), (side, 0), **looks)


def _separate(axes: Axes, lengths: Sequence[int]) -> None:
    """A line between the bars of two variables; the first variable stands at the top."""
    for end in (sum(lengths[:i]) for i in range(1, len(lengths))):
        axes.axhline(end - 0.5, color=style.GREY, linewidth=1)
    axes.set_ylim(sum(lengths) - 0.4, -0.6)


def _limits(bars: Sequence[Bar], inches: float) -> tuple[float, float]:
    """From where to where the axis reaches so that the words beside the bars have room."""
    words = [(bar.value, INCHES_A_LETTER * (len(bar.words) + 2) / inches) for bar in bars]
    low, high = min(0.0, *(bar.value for bar in bars)), max(0.0, *(bar.value for bar in bars))
    if low == high:
        return -1.0, 1.0
    for _ in range(50):
        whole = high - low
        high = max(0.03 * whole, *(v + share * whole for v, share in words if v >= 0), 0.0)
        low = min(-0.03 * whole, *(v - share * whole for v, share in words if v < 0), 0.0)
    return low, high
