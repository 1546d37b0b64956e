"""A formula as a graph: each operation with its value and its gradient, each use with its local derivative."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradlab.backprop import Breakdown
from gradlab.studies.written import Step

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True, slots=True)
class Node:
    """A variable, or what an operation makes.

    Attributes:
        name: such as ``c``.
        formula: what the operation computes, such as ``x·b``; empty for a variable.
        value: going forwards.
        gradient: of the result by it, going backwards: the sum over its uses.
    """

    name: str
    formula: str
    value: float
    gradient: float


@dataclass(frozen=True, slots=True)
class Edge:
    """One use of a value by an operation.

    Attributes:
        source, target: the names of the value and of what the operation makes.
        formula: the local derivative ∂target/∂source in closed form.
        local, closed_form: the same in numbers: by gradlab's handwritten rule, and by sympy.
        upstream, downstream: the gradient that arrives at the target, and what is passed on: upstream × local.
    """

    source: str
    target: str
    formula: str
    local: float
    closed_form: float
    upstream: float
    downstream: float


Path = tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A formula as a graph. Each of ``edges`` has its source before its target in ``nodes``.

    Attributes:
        text: the formula.
        nodes: first the variables, then the operations in their order; the last one makes the result.
        edges: the uses.
    """

    text: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def count(self, start: str) -> int:
        """How many paths there are from a node to the result."""
        counts = dict.fromkeys((node.name for node in self.nodes), 0) | {self.result.name: 1}
        for edge in reversed(self.edges):
            counts[edge.source] += counts[edge.target]
        return counts[start]

    @property
    def result(self) -> Node:
        return self.nodes[-1]

    @property
    def variables(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if not node.formula)

    def paths(self, start: str) -> Iterator[Path]:
        """Every way along the edges from a node to the result."""
        for edge in self.edges:
            if edge.source == start:
                if edge.target == self.result.name:
                    yield (edge,)
                else:
                    yield from ((edge, *rest) for rest in self.paths(edge.target))


def product(path: Path) -> float:
    """The product of the local derivatives along a path."""
    return math.prod(edge.local for edge in path)


def route(path: Path) -> str:
    """The names along a path.

    Example:
        >>> route((Edge("x", "a", "y", 2.0, 2.0, 1.0, 2.0), Edge("a", "f", "1", 1.0, 1.0, 1.0, 1.0)))
        'x → a → f'
    """
    return " → ".join((path[0].source, *(edge.target for edge in path)))


def graph_of(text: str, values: Mapping[str, float], steps: Sequence[Step], breakdown: Breakdown) -> Graph:
    """The graph of a formula, with the numbers of a sweep.

    Args:
        text: the formula.
        values: of its variables.
        steps: its operations, in order.
        breakdown: of the sweep from the last of them, under the names of the variables and steps.
    """
    formulas = {**dict.fromkeys(values, ""), **{step.name: step.formula for step in steps}}
    numbers = {**values, **{step.name: step.tensor.item() for step in steps}}
    gradients = {name: _number(each.gradient) for name, each in breakdown.path_sums.items()}
    nodes = (Node(name, formula, numbers[name], gradients[name]) for name, formula in formulas.items())
    return Graph(readable(text), tuple(nodes), tuple(_edges(steps, numbers, breakdown)))


def _edges(steps: Sequence[Step], numbers: Mapping[str, float], breakdown: Breakdown) -> Iterator[Edge]:
    """For each operation the numbers of its term; its uses stand in the same order in both."""
    terms = {output.name: term for term in breakdown.terms for output in term.outputs}
    for step in steps:
        term = terms[step.name]
        uses = [each for each in term.inputs if each.name in numbers]
        for name, formula, use in zip(step.inputs, step.locals, uses, strict=True):
            assert use.name == name
            yield Edge(
                source=name,
                target=step.name,
                formula=_plain(readable(formula)),
                local=float(use.local),  # type: ignore[arg-type]
                closed_form=float(formula.subs({s: numbers[str(s)] for s in formula.free_symbols})),
                upstream=_number(term.outputs[0].upstream),
                downstream=_number(use.downstream),
            )


def _plain(formula: str) -> str:
    """Heaviside's step function in words, where it is the whole formula."""
    return re.sub(r"^step\((.*)\)$", r"1 if \1 > 0, else 0", formula)


def _number(gradient: Any) -> float:
    return float(gradient.numbers)


def readable(formula: sympy.Expr | str) -> str:
    """A formula as people write it.

    Example:
        >>> import sympy
        >>> x = sympy.Symbol("x")
        >>> readable(-2 * x * sympy.cos(x) ** 2)
        '−2·x·cos(x)²'
    """
    text = str(formula).replace("**2", "²").replace("**3", "³").replace("**", "^")
    return text.replace("*", "·").replace("-", "−").replace("Heaviside", "step")
