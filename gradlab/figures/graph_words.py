"""What stands in the boxes and beside the arrows of a formula's graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlab.studies.expression_graph import Edge, Graph, Node


@dataclass(frozen=True, slots=True)
class Pass:
    """The words of one of the two passes.

    Attributes:
        is_forward: which it is.
        boxes: the lines in each box, by name.
        labels: beside each edge, in order.
    """

    is_forward: bool
    boxes: dict[str, list[str]]
    labels: list[str]


def forwards(graph: Graph) -> Pass:
    """Values and local derivatives."""
    return Pass(True, {node.name: _value(node) for node in graph.nodes}, [_local(edge) for edge in graph.edges])


def backwards(graph: Graph, order: Sequence[float]) -> Pass:
    """Gradients, and what flows along each edge.

    Args:
        graph: with all its numbers.
        order: by which the parts of a sum are sorted: one number for each edge.
    """
    ranked = [edge for _, edge in sorted(zip(order, graph.edges, strict=True), key=lambda pair: pair[0])]
    parts = {node.name: [e.downstream for e in ranked if e.source == node.name] for node in graph.nodes}
    boxes = {node.name: _gradient(node, parts[node.name]) for node in graph.nodes}
    return Pass(False, boxes, [_flow(edge) for edge in graph.edges])


def number(value: float) -> str:
    """Three decimals, so that sums come out as one would add them by hand; three digits of what is very small or large.

    Example:
        >>> number(-1.66459), number(2.0), number(0.000123), number(12345.0), number(-0.0)
        ('−1.665', '2', '0.000123', '1.23e+04', '0')
    """
    text = f"{round(value, 3) + 0.0:.6g}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"
    return text.replace("-", "−")


def signed(value: float) -> str:
    """A number as it stands in a product.

    Example:
        >>> signed(-0.5), signed(2)
        ('(−0.5)', '2')
    """
    return f"({number(value)})" if value < 0 else number(value)


def summed(parts: Sequence[float]) -> str:
    """Numbers as a sum.

    Example:
        >>> summed([1.0, -1.66459, 2.0])
        '1 − 1.665 + 2'
    """
    return number(parts[0]) + "".join(f" {'−' if part < 0 else '+'} {number(abs(part))}" for part in parts[1:])


def _value(node: Node) -> list[str]:
    return [f"{node.name} = {node.formula}" if node.formula else node.name, f"= {number(node.value)}"]


def _gradient(node: Node, arriving: Sequence[float]) -> list[str]:
    lines = [f"∂f/∂{node.name}", f"= {number(node.gradient)}"]
    if len(arriving) > 1:
        lines.insert(1, f"= {summed(arriving)}" if len(arriving) < 4 else f"sum of {len(arriving)} numbers")
    return lines


def _local(edge: Edge) -> str:
    is_number = edge.formula.lstrip("−").replace(".", "", 1).isdigit()
    head = f"∂{edge.target}/∂{edge.source} = {edge.formula}"
    return head if is_number else f"{head}\n= {number(edge.local)}"


def _flow(edge: Edge) -> str:
    return f"{signed(edge.upstream)} × {signed(edge.local)}\n= {number(edge.downstream)}"
