"""A formula as a graph, twice: values and local derivatives going forwards, the gradient going back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from gradlab.figures import style
from gradlab.figures.edges import Wire, label_places, label_size, wires
from gradlab.figures.graph_words import Pass, backwards, forwards, number
from gradlab.figures.layers import Place, layers

if TYPE_CHECKING:
    from gradlab.studies.expression_graph import Edge, Graph

FORWARDS = (
    "every box computes a number from the boxes on its left; beside each arrow the local derivative:\n"
    "how much the number at its tip changes for each unit that the number at its start grows"
)
BACKWARDS = (
    "start on the right with ∂f/∂f = 1: each arrow takes its box's number (upstream) times the local derivative\n"
    "and hands the product (downstream) to the left; where several arrows arrive, the box adds them up"
)
PLUS, MINUS, ZERO, FORWARD = style.BLUE, style.VERMILLION, "#AAAAAA", "#777777"
FACES = {"variable": "#DDEBF7", "operation": "#F2F2F2", "result": "#DFF2E4"}
ROW, LINE = 1.4, 0.26  # inches from row to row, and from line to line in a box
ROOM, LEAST = 0.65, 2.0  # inches between boxes: beyond what the longest label needs, and at least
MARGIN, FRAME = 0.45, 0.07
INCHES_A_LETTER = 0.113
THIN, THICK = 1.6, 8.0


def figure(graph: Graph) -> Figure:
    """The forward pass above, the backward pass below.

    Args:
        graph: with all its numbers.
    """
    links = [(edge.source, edge.target) for edge in graph.edges]
    cells, routes = layers([node.name for node in graph.nodes], links)
    passes = (forwards(graph), backwards(graph, [-route[1][1] for route in routes]))
    widths = _widths(cells, passes)
    longest = max(label_size(label)[0] for each in passes for label in each.labels)
    across = _across(widths, max(LEAST, longest + ROOM))
    places = {name: (across[column], height * ROW) for name, (column, height) in cells.items()}
    sizes = {across[column]: width for column, width in widths.items()}
    curves = wires(places, [[(across[c], height * ROW) for c, height in route] for route in routes], links, sizes)
    drawings = [_Drawing(graph, each, places, sizes, curves) for each in passes]
    low, high = min(each.low for each in drawings) - MARGIN, max(each.high for each in drawings) + MARGIN
    right = max(x + width / 2 for x, width in sizes.items()) + 0.15
    picture, panels = style.canvas(max(right + 0.8, 13.0), 2 * (high - low + 1.6), rows=2)
    for axes, drawing in zip(panels, drawings, strict=True):
        axes.set_aspect("equal")
        axes.set_xlim(-0.15, right)
        axes.set_ylim(low, high)
        drawing.draw(axes)
    title = f"1. Forwards: f = {graph.text} at " + ", ".join(f"{n.name} = {number(n.value)}" for n in graph.variables)
    style.dress(panels[0], title, FORWARDS, "", "")
    style.dress(panels[1], "2. Backwards: upstream × local derivative = downstream", BACKWARDS, "", "")
    return picture


# --- where it stands ----------------------------------------------------------------------------------------


def _widths(cells: Mapping[str, Place], passes: Sequence[Pass]) -> dict[float, float]:
    """For each column the width of its boxes: what the longest line of both passes needs."""
    widths: dict[float, float] = {}
    for name, (column, _) in cells.items():
        longest = max(len(line) for each in passes for line in each.boxes[name])
        widths[column] = max(widths.get(column, 1.1), INCHES_A_LETTER * longest + 0.25)
    return widths


def _across(widths: Mapping[float, float], gap: float) -> dict[float, float]:
    """The middle of each column, in inches."""
    middles, edge = {}, 0.0
    for column in sorted(widths):
        middles[column] = edge + widths[column] / 2
        edge += widths[column] + gap
    return middles


def _height(lines: Sequence[str]) -> float:
    return LINE * len(lines) + 0.23


# --- the drawing --------------------------------------------------------------------------------------------


class _Drawing:
    """One pass with everything in its place, in inches."""

    def __init__(
        self,
        graph: Graph,
        words: Pass,
        places: Mapping[str, Place],
        widths: Mapping[float, float],
        curves: Sequence[Wire],
    ) -> None:
        self._graph = graph
        self._words = words
        self._curves = curves
        self._boxes = {name: (*at, widths[at[0]], _height(words.boxes[name])) for name, at in places.items()}
        self._labels = label_places(curves, words.labels, [*self._boxes.values()])
        tops = [(y, height) for _, y, _, height in self._boxes.values()]
        tops += [(label.y, label_size(label.text)[1]) for label in self._labels]
        self.low, self.high = min(y - h / 2 for y, h in tops), max(y + h / 2 for y, h in tops)

    def draw(self, axes: Axes) -> None:
        graph, is_forward = self._graph, self._words.is_forward
        largest = max(abs(edge.downstream) for edge in graph.edges) or 1.0
        for edge, curve, label in zip(graph.edges, self._curves, self._labels, strict=True):
            color = style.INK if is_forward or not edge.downstream else _color(edge)
            is_framed = len(self._words.boxes[edge.source]) > 2
            _draw_arrow(axes, curve, None if is_forward else edge, largest, FRAME if is_framed else 0)
            looks: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 13, "linespacing": 1.1, "zorder": 2.5}
            frame = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            axes.text(label.x, label.y, label.text, color=color, bbox=frame, **looks)
        for node in graph.nodes:
            kind = "result" if node is graph.result else "operation" if node.formula else "variable"
            _draw_box(axes, self._boxes[node.name], self._words.boxes[node.name], FACES[kind])
        axes.set_axis_off()
        _explain(axes, graph, is_forward)


def _draw_box(axes: Axes, box: tuple[float, float, float, float], lines: Sequence[str], face: str) -> None:
    """A box with its text; what gets a sum has a double frame."""
    x, y, width, height = box
    for frame, color in ((FRAME, "white"), (0.0, face)) if len(lines) > 2 else ((0.0, face),):
        corner = x - width / 2 - frame, y - height / 2 - frame
        looks: dict[str, Any] = {"facecolor": color, "edgecolor": style.INK, "linewidth": 1.3, "zorder": 3}
        shape = "round,pad=0,rounding_size=0.12"
        axes.add_patch(FancyBboxPatch(corner, width + 2 * frame, height + 2 * frame, boxstyle=shape, **looks))
    for i, line in enumerate(lines):
        weight = "bold" if i == 0 else "normal"
        middle = y + LINE * ((len(lines) - 1) / 2 - i)
        axes.text(x, middle, line, ha="center", va="center", fontsize=15, fontweight=weight, zorder=4)


def _draw_arrow(axes: Axes, curve: Wire, edge: Edge | None, largest: float, shorter: float) -> None:
    """Grey to the right; for an edge's gradient to the left, as thick as it is large, and shorter by so many inches."""
    looks: dict[str, Any] = {"linewidth": THIN, "color": FORWARD}
    if edge is not None:
        looks = {"linewidth": THIN + (THICK - THIN) * abs(edge.downstream) / largest, "color": _color(edge)}
    head = f"-|>,head_length={5 + looks['linewidth']},head_width={2 + 0.6 * looks['linewidth']}"
    path = curve.path if edge is None else curve.reversed(shorter)
    looks |= {"shrinkA": 0, "shrinkB": 0, "capstyle": "butt", "joinstyle": "miter", "zorder": 2}
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle=head, mutation_scale=1, **looks))


def _color(edge: Edge) -> str:
    return PLUS if edge.downstream > 0 else MINUS if edge.downstream < 0 else ZERO


def _explain(axes: Axes, graph: Graph, is_forward: bool) -> None:
    handles: list[Patch | Line2D] = []
    if is_forward:
        handles += [Patch(facecolor=face, edgecolor=style.INK, label=kind) for kind, face in FACES.items()]
    else:
        kinds = {_color(edge) for edge in graph.edges}
        words = {PLUS: "positive gradient", MINUS: "negative gradient", ZERO: "zero: nothing flows"}
        handles += [
            Line2D([], [], color=color, linewidth=THIN if color == ZERO else 4, label=label)
            for color, label in words.items()
            if color in kinds
        ]
        handles.append(Line2D([], [], color=style.GREY, linewidth=THICK, label="the thicker, the larger"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=7, handlelength=1.6)
