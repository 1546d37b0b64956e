"""The chain rule on one formula: its graph, the gradient flowing back through it, and the sum over all paths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from gradlab.backprop import Breakdown, Tape, Term
from gradlab.errors import BadInput
from gradlab.probes.graph import GraphWriter
from gradlab.reconcile import GraphWatch, reconcile
from gradlab.records import Record
from gradlab.studies.base import Findings, Setting
from gradlab.studies.expression import Expression
from gradlab.studies.expression_graph import Graph, Path, graph_of, product, readable, route
from gradlab.studies.landscape import named
from gradlab.studies.witnessed import gradients, worst_errors
from gradlab.studies.written import Step, Written, names_in

MOST_OPERATIONS = 20
MOST_PATHS = 200
HEADING = ("operation", "value", "upstream", "local derivative", "its value", "downstream", "goes to")


class ChainRule:
    """A formula as a graph: values forwards, gradients backwards, and for each variable the sum over its paths.

    Args:
        expression: the formula, computed operation by operation as it is written.
        values: of its variables, as a mapping or as a text such as ``x = 2, y = -1``; those that the formula does not
            have are not looked at.

    Raises:
        BadInput: the formula cannot be followed, or a variable has no value.
    """

    def __init__(self, expression: str, values: Mapping[str, float] | str) -> None:
        self._text = str(expression)
        values = values_of(values) if isinstance(values, str) else values
        names = names_in(self._text)
        missing = [name for name in names if name not in values]
        if missing:
            raise BadInput(f"{missing[0]} has no value: give it one with 'study.values={{{missing[0]}: 1.0}}'")
        self._written = Written(self._text, names)
        self._closed = Expression(self._text, names)
        self._values = {name: float(values[name]) for name in names}

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import expression_graph, path_sums  # matplotlib is slow to import

        graph, records = self._follow()
        paths = {node.name: list(graph.paths(node.name)) for node in graph.variables}
        found = self._gradients(paths)
        return Findings(
            numbers=_numbers(graph),
            title=f"f = {graph.text}: upstream × local derivative = downstream, from f back to the variables",
            rows=[HEADING, *_rows(graph)],
            text=f"\n{_sums(graph, paths)}\n\n{self._summary(found)}",
            figures={"chain_rule": expression_graph.figure(graph), "paths": path_sums.figure(graph, paths)},
            errors={**worst_errors(found), "sympy's local derivatives": _local_error(graph)},
            records=records,
        )

    def _follow(self) -> tuple[Graph, list[Record]]:
        """The graph with all its numbers, by the handwritten sweep; and the same for the Gradlab tab."""
        leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in self._values.values()]
        with Tape() as tape:
            steps = self._written.steps(*leaves)
        self._check(steps)
        result = steps[-1].tensor
        watch = GraphWatch(result, leaves)
        result.backward()
        watch.close()
        terms: list[Term] = []
        swept = tape.backward(result, terms=terms)
        variables = dict(zip(self._values, leaves, strict=True))
        breakdown = Breakdown.of(terms, names=variables | {s.name: s.tensor for s in steps}, measured=True)
        graph = graph_of(self._text, self._values, steps, breakdown)
        if sum(graph.count(name) for name in self._values) > MOST_PATHS:
            raise BadInput(f"{self._text!r} has more than {MOST_PATHS} paths from its variables to the result")
        reconciliation = reconcile(watch, swept, terms, variables)
        return graph, list(GraphWriter().records(breakdown, reconciliation, result.item(), step=0))

    def _check(self, steps: Sequence[Step]) -> None:
        if len(steps) > MOST_OPERATIONS:
            raise BadInput(f"{self._text!r} has {len(steps)} operations; the picture has room for {MOST_OPERATIONS}")
        for step in steps:
            if not math.isfinite(step.tensor.item()):
                at = ", ".join(f"{name} = {value:g}" for name, value in self._values.items())
                raise BadInput(f"{step.name} = {step.formula} is {step.tensor.item()} at {at}: choose another point")

    def _gradients(self, paths: Mapping[str, Sequence[Path]]) -> dict[str, np.ndarray]:
        """By each variable, as each witness has it."""
        point = torch.tensor(list(self._values.values()), dtype=torch.float64)
        found = gradients(lambda at: self._written(*at.unbind()), point, witnesses=("autograd", "manual", "numeric"))
        at = {symbol: self._values[str(symbol)] for symbol in self._closed.symbols}
        closed = [float(self._closed.derivative(name).subs(at)) for name in self._values]
        return {
            **named(found),
            "symbolic": np.array(closed),
            "the sum over paths": np.array([sum(map(product, paths[name])) for name in self._values]),
        }

    def _summary(self, found: Mapping[str, np.ndarray]) -> str:
        """Each variable's derivative in closed form, and by all witnesses."""
        lines = []
        for i, name in enumerate(self._values):
            lines.append(f"∂f/∂{name} = {readable(self._closed.derivative(name))}")
            lines += [f"  {witness:<18} {values[i]:.12g}" for witness, values in found.items()]
        return "\n".join(lines)


def values_of(text: str) -> dict[str, float]:
    """Values as people write them.

    Raises:
        BadInput: it is not written so.

    Example:
        >>> values_of("x = 2, y = -1")
        {'x': 2.0, 'y': -1.0}
    """
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise BadInput(f"study.values={text!r}: write 'study.values={{x: 2, y: -1}}'") from None


def _local_error(graph: Graph) -> float:
    """Of the handwritten local derivatives against those in closed form, relative; the worst of all uses."""
    sizes = [max(abs(edge.local), abs(edge.closed_form)) or 1.0 for edge in graph.edges]
    return max(abs(e.local - e.closed_form) / size for e, size in zip(graph.edges, sizes, strict=True))


def _numbers(graph: Graph) -> dict[str, float]:
    """The value, each variable's derivative, and where there are several uses what comes by each of them."""
    numbers = {"f": graph.result.value}
    for node in graph.variables:
        numbers[f"df/d{node.name}"] = node.gradient
        uses = [edge for edge in graph.edges if edge.source == node.name]
        for i, edge in enumerate(uses if len(uses) > 1 else []):
            again = " again" * sum(edge.target == earlier.target for earlier in uses[:i])
            way = "directly" if edge.target == graph.result.name else f"through {edge.target}"
            numbers[f"df/d{node.name} {way}{again}"] = edge.downstream
    return numbers


def _rows(graph: Graph) -> Iterator[tuple[str, ...]]:
    """One row for each use of a value, from the result down."""
    for node in reversed(graph.nodes):
        head = (f"{node.name} = {node.formula}", f"{node.value:.6g}")
        for edge in (each for each in graph.edges if each.target == node.name):
            local = f"∂{edge.target}/∂{edge.source} = {edge.formula}"
            yield *head, f"{edge.upstream:.6g}", local, f"{edge.local:.6g}", f"{edge.downstream:.6g}", edge.source
            head = ("", "")


def _sums(graph: Graph, paths: Mapping[str, Sequence[Path]]) -> str:
    """The paths of each variable, each the product of its local derivatives, and their sum."""
    rows = []
    for node in graph.variables:
        for path in paths[node.name]:
            factors = " × ".join(f"{edge.local:.6g}" for edge in path)
            rows.append((route(path), f"{product(path):.6g}", f"= {factors}" if len(path) > 1 else ""))
        if len(paths[node.name]) > 1:
            rows.append((f"∂f/∂{node.name}", f"{node.gradient:.6g}", f"= the sum of {len(paths[node.name])} paths"))
    wide, number = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = (f"{name:<{wide}}  {value:>{number}}  {words}".rstrip() for name, value, words in rows)
    return "\n".join(["Every path from a variable to f", *lines])
