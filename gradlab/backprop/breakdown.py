"""The chain rule of one step as data: upstream × local derivative = downstream, operation by operation.

    >>> import torch
    >>> from gradlab.backprop import Tape
    >>> w, x = torch.tensor(3.0, requires_grad=True), torch.tensor(2.0)
    >>> with Tape() as tape:
    ...     y = (w * x + w) ** 2
    >>> terms = []
    >>> gradients = tape.backward(y, terms=terms)
    >>> breakdown = Breakdown.of(terms, names={"w": w, "x": x})
    >>> [(c.by, c.gradient.numbers) for c in breakdown.path_sums["w"].contributions]
    [('add #2', 18.0), ('mul #3', 36.0)]
    >>> breakdown.path_sums["w"].gradient.numbers
    54.0

`Breakdown.by_module` joins the operations of each module into one term, and ``print(breakdown)`` writes all of it out.
The data hold numbers and words only, no tensors; `Breakdown.as_dict` turns them into what JSON can hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.backprop.chain.graph import Block, Graph, Use, graph_of
from gradlab.backprop.chain.modules import by_module, passed_on
from gradlab.backprop.chain.names import Names, ValueNames
from gradlab.backprop.chain.numbers import Local, Numbers, Readings, content_of, local_derivatives
from gradlab.backprop.chain.text import table
from gradlab.backprop.chain.wording import worded
from gradlab.backprop.sweep import Term
from gradlab.backprop.values import Entry, Value

READABLE = 16


@dataclass(frozen=True, slots=True)
class Content:
    """What a value holds.

    Attributes:
        shape, dtype: of the tensor.
        numbers: its entries, nested as its dimensions are; None where they are too many, or overwritten since.
        l2, mean: its L2 norm and the mean of its entries, where the breakdown was asked for them; None where it was
            overwritten since, and of what is not floating.
    """

    shape: tuple[int, ...]
    dtype: str
    numbers: Numbers | None
    l2: float | None = None
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class GradientContent:
    """A gradient, or a contribution to one.

    Attributes:
        shape, dtype: of the tensor.
        l2: its length, the L2 norm.
        linf: the size of its largest entry.
        mean: of its entries; for complex ones, the size of their mean.
        numbers: its entries, nested as its dimensions are; None where they are too many.
    """

    shape: tuple[int, ...]
    dtype: str
    l2: float
    linf: float
    mean: float
    numbers: Numbers | None


@dataclass(frozen=True, slots=True)
class TermOutput:
    """What an operation makes.

    Attributes:
        name: of the value.
        is_named: whether the name is the user's own; else it is made up from the operation's.
        content: the value itself.
        upstream: the gradient that comes in from above; None where nothing flows back.
    """

    name: str
    is_named: bool
    content: Content
    upstream: GradientContent | None


@dataclass(frozen=True, slots=True)
class TermInput:
    """What an operation uses, and what it passes down to it.

    Attributes:
        symbol: what the formula calls it, such as ``a``; empty for a module.
        name: of the value.
        kind: ``parameter``, ``buffer``, ``input`` (from outside), ``made`` (by another operation) or ``constant``.
        how: what views made of the value before it was used, such as ``("transposed",)``; and ``broadcast``. On the
            way down it is undone: the downstream gradient has the value's own shape.
        content: the value as the operation got it.
        local: the local derivative of the output by what the operation got, where that is small: one number for each
            entry, or the Jacobian.
        is_jacobian: whether ``local`` is a Jacobian: the output's dimensions, then the input's.
        downstream: the contribution to the gradient of the value; None where no gradient flows.
        gain: ‖downstream‖ ÷ ‖upstream‖; NaN where nothing came in.
    """

    symbol: str
    name: str
    kind: str
    how: tuple[str, ...]
    content: Content
    local: Numbers | None
    is_jacobian: bool
    downstream: GradientContent | None
    gain: float | None


@dataclass(frozen=True, slots=True)
class BreakdownTerm:
    """One term of the chain rule: an operation, or a module with all its operations.

    Attributes:
        place: its place from the loss down, from 1.
        module: the path of the module; empty outside of every module.
        operation: such as ``mul``; for a module its class.
        operations: all of them, from the loss down.
        formula, local: what the operation computes and its local derivative, in words; empty for several operations.
        settings: the numbers in the formula, such as ``{"n": 2}``.
        line: file and line of the user's code, where the tape noted it.
        outputs, inputs: the values it makes and uses.
        upstream: the L2 norm of what comes in from above, over all outputs.
        downstream: the L2 norm of what it passes on, over all values but parameters, whose gradients end here; None
            where it passes nothing on.
        gain: downstream ÷ upstream.
    """

    place: int
    module: str
    operation: str
    operations: tuple[str, ...]
    formula: str
    local: str
    settings: dict[str, float]
    line: str
    outputs: tuple[TermOutput, ...]
    inputs: tuple[TermInput, ...]
    upstream: float
    downstream: float | None
    gain: float | None


@dataclass(frozen=True, slots=True)
class Contribution:
    """One part of a path sum.

    Attributes:
        place: the term that contributes it; None for what the backward pass was started with.
        by: its name, such as ``mul #3``; ``start`` for what the backward pass was started with.
        symbol: what the term's formula calls the value.
        gradient: the contribution.
    """

    place: int | None
    by: str
    symbol: str
    gradient: GradientContent


@dataclass(frozen=True, slots=True)
class PathSum:
    """The gradient of a value: the sum over its uses.

    Attributes:
        name, kind: of the value, as in `TermInput`.
        made_by: the place of the term that made it; None where it entered from outside.
        content: the value itself.
        contributions: one for each use, from the loss down.
        gradient: their sum.
    """

    name: str
    kind: str
    made_by: int | None
    content: Content
    contributions: tuple[Contribution, ...]
    gradient: GradientContent


@dataclass(frozen=True, slots=True)
class _Source:
    """What a breakdown was made from, to make another of it."""

    graph: Graph
    model: nn.Module | None
    names: Mapping[str, Tensor]
    readable: int
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The chain rule of one step written out, from the loss down.

    It keeps the sweep's tensors, for `by_module`: drop it, or keep `as_dict`, once you have what you want.

    Attributes:
        terms: the operations, or the modules.
        path_sums: the gradient of each value, by its name. Of a tensor from outside that backward was *started* with
            it is what came by way of operations.
    """

    terms: tuple[BreakdownTerm, ...]
    path_sums: dict[str, PathSum]
    _source: _Source = field(repr=False, compare=False)
    _graph: Graph = field(repr=False, compare=False)

    @classmethod
    def of(
        cls,
        terms: Iterable[Term],
        model: nn.Module | None = None,
        names: Mapping[str, Tensor] | None = None,
        readable: int = READABLE,
        measured: bool = False,
    ) -> Breakdown:
        """The breakdown of a sweep, operation by operation. Make it before the optimizer's step.

        Operations that only show the same numbers in another shape (views, transposes, clones) are no terms of their
        own: whoever uses the view uses the value behind it.

        Args:
            terms: what ``tape.backward(loss, terms=terms)`` filled.
            model: names and module paths are relative to it; by default to the outermost module called.
            names: names for further tensors, intermediate ones included.
            readable: tensors of at most this many entries are kept with their numbers.
            measured: whether the norm and the mean of every value are taken too, as they are of every gradient.

        Example:
            >>> import torch
            >>> from gradlab.backprop import Tape
            >>> layer = torch.nn.Linear(2, 1)
            >>> with Tape() as tape:
            ...     loss = layer(torch.tensor([[1.0, 2.0]])).tanh().sum()
            >>> terms = []
            >>> gradients = tape.backward(loss, terms=terms)
            >>> breakdown = Breakdown.of(terms)
            >>> [term.operation for term in breakdown.terms]
            ['sum', 'tanh', 'addmm']
            >>> [(i.symbol, i.name, i.how) for i in breakdown.terms[-1].inputs]
            [('C', 'bias', ()), ('A', 'input', ()), ('B', 'weight', ('transposed',))]
        """
        return cls._from(_Source(graph_of(terms), model, names or {}, readable, measured))

    @classmethod
    def of_modules(
        cls,
        terms: Iterable[Term],
        model: nn.Module | None = None,
        names: Mapping[str, Tensor] | None = None,
        readable: int = READABLE,
        depth: int | None = None,
        together: bool = False,
    ) -> Breakdown:
        """The breakdown of a sweep, module by module, without looking at single operations; see `of`, `by_module`."""
        source = _Source(graph_of(terms), model, names or {}, readable)
        return cls._from(source, by_module(source.graph, depth, together))

    def by_module(self, depth: int | None = None, together: bool = False) -> Breakdown:
        """The same chain rule with the operations of each module joined into one term.

        A module's upstream is the gradient that enters its outputs, its downstream what leaves to values made outside
        of it; the gradients of its parameters belong to it. What runs outside of every module stays as it is.

        Args:
            depth: how far below the outermost module the joining begins, which is 0; None joins at the innermost.
            together: one term for each module. By default a module that runs several times, or runs on after another
                one that it called, has a term for each, so that the terms stay in the order of the chain.

        Example:
            >>> import torch
            >>> from gradlab.backprop import Tape
            >>> layer = torch.nn.Linear(1, 1)
            >>> with Tape() as tape:
            ...     loss = layer(layer(torch.ones(1, 1))).sum()
            >>> terms = []
            >>> gradients = tape.backward(loss, terms=terms)
            >>> modules = Breakdown.of(terms).by_module()
            >>> [contribution.by for contribution in modules.path_sums["weight"].contributions]
            ['Linear #2', 'Linear #3']
        """
        return self._from(self._source, by_module(self._source.graph, depth, together))

    @classmethod
    def _from(cls, source: _Source, graph: Graph | None = None) -> Breakdown:
        with torch.no_grad():
            graph = source.graph if graph is None else graph
            writer = _Writer(source, graph)
            return cls(writer.terms(), writer.path_sums(), source, graph)

    def recorded(self, place: int) -> tuple[Entry, ...]:
        """What the tape recorded for the term at a place (from 1): one operation, or those of a module."""
        return tuple(term.entry for term in self._graph.blocks[place - 1].terms)

    def used(self, place: int) -> tuple[tuple[Value, Value], ...]:
        """The inputs of the operation at a place (from 1), in their order: the value, and what views made of it."""
        return tuple((use.value, use.argument) for use in self._graph.blocks[place - 1].uses)

    def table(self, numbers: bool = False) -> str:
        """The chain rule as plain text, one use of a value a line, then the path sums.

        Args:
            numbers: whether the entries of tensors that do not fit on a line follow below.
        """
        return table(self, numbers)

    def __str__(self) -> str:
        return self.table()

    def as_dict(self) -> dict[str, Any]:
        """The terms and path sums as dictionaries, lists, strings and numbers.

        What JSON has no number for is a string: ``"nan"``, ``"inf"``, ``"-inf"``, and complex numbers.

        Example:
            >>> Breakdown.of([]).as_dict()
            {'terms': [], 'path_sums': {}}
        """
        return {
            "terms": [_jsonable(asdict(term)) for term in self.terms],
            "path_sums": {name: _jsonable(asdict(each)) for name, each in self.path_sums.items()},
        }


# --- from the graph to data ---------------------------------------------------------------------------------


class _Writer:
    """Writes a graph down as data: first all numbers are read at once, then each term takes its own."""

    def __init__(self, source: _Source, graph: Graph) -> None:
        self._graph = graph
        self._names = Names(source.model, source.names, source.graph)
        self._operations = [_operation(block) for block in graph.blocks]
        self._values = ValueNames(graph, self._names, self._operations)
        self._locals = [local_derivatives(block, source.readable) for block in graph.blocks]
        is_parameter = {value for value in _values_of(graph) if self._values.kind(value) == "parameter"}
        self._passed_on = [passed_on(block, is_parameter.__contains__) for block in graph.blocks]
        small = (value for value in _values_of(graph) if value.tensor.numel() <= source.readable)
        self._contents = {value: content_of(value) for value in small}
        self._written: dict[int, GradientContent] = {}
        self._places = {block: place for place, block in enumerate(graph.blocks, 1)}
        locals_ = [local.tensor for each in self._locals for local in each.values()]
        contents = [content for content in self._contents.values() if content is not None]
        self._measured = (
            {v: t for v in _values_of(graph) if (t := _measurable(v)) is not None} if source.measured else {}
        )
        statistics = [*self._gradients(), *self._measured.values()]
        self._readings = Readings(statistics, contents, locals_, source.readable)

    def terms(self) -> tuple[BreakdownTerm, ...]:
        return tuple(self._term(place, block) for place, block in enumerate(self._graph.blocks, 1))

    def path_sums(self) -> dict[str, PathSum]:
        makers = {value: place for block, place in self._places.items() for value, _ in block.outputs}
        return {self._values[v]: self._path_sum(v, uses, makers.get(v)) for v, uses in self._graph.uses.items()}

    def _gradients(self) -> Iterable[Tensor]:
        yield from self._graph.sums.values()
        for block, passed in zip(self._graph.blocks, self._passed_on, strict=True):
            yield from (g for _, g in block.outputs if g is not None)
            yield from (use.gradient for use in block.uses if use.gradient is not None)
            yield from passed
        for uses in self._graph.uses.values():
            yield from (use.gradient for use in uses if use.gradient is not None)

    def _term(self, place: int, block: Block) -> BreakdownTerm:
        formula, local, settings = worded(block.terms[0]) if block.is_single else ("", "", {})
        upstream = self._length(g for _, g in block.outputs if g is not None)
        passed = self._passed_on[place - 1]
        downstream = self._length(passed) if passed else None
        return BreakdownTerm(
            place=place,
            module=self._names.label(block.scope),
            operation=self._operations[place - 1],
            operations=tuple(_name(term) for term in block.terms),
            formula=formula,
            local=local,
            settings=settings,
            line=block.terms[0].entry.line if block.is_single else "",
            outputs=tuple(self._output(value, gradient) for value, gradient in block.outputs),
            inputs=tuple(self._input(use, upstream, self._locals[place - 1]) for use in self._shown_uses(block)),
            upstream=upstream,
            downstream=downstream,
            gain=None if downstream is None else _ratio(downstream, upstream),
        )

    def _shown_uses(self, block: Block) -> list[Use]:
        """All uses of an operation; of a module, not the buffers that it reads."""
        return [
            u for u in block.uses if block.is_single or u.gradient is not None or self._values.kind(u.value) != "buffer"
        ]

    def _output(self, value: Value, upstream: Tensor | None) -> TermOutput:
        gradient = None if upstream is None else self._gradient(upstream)
        return TermOutput(self._values[value], self._values.is_given(value), self._content(value), gradient)

    def _input(self, use: Use, upstream: float, locals_: dict[tuple[int, int], Local]) -> TermInput:
        is_single = use.block is not None and use.block.is_single
        local = locals_.get(use.place) if is_single and use.gradient is not None else None
        downstream = None if use.gradient is None else self._gradient(use.gradient)
        return TermInput(
            symbol=use.symbol if is_single else "",
            name=self._values[use.value],
            kind=self._values.kind(use.value),
            how=use.how,
            content=self._content(use.argument),
            local=None if local is None else self._readings.numbers(local.tensor),
            is_jacobian=local is not None and local.is_jacobian,
            downstream=downstream,
            gain=None if downstream is None else _ratio(downstream.l2, upstream),
        )

    def _path_sum(self, value: Value, uses: list[Use], made_by: int | None) -> PathSum:
        return PathSum(
            name=self._values[value],
            kind=self._values.kind(value),
            made_by=made_by,
            content=self._content(value),
            contributions=tuple(self._contribution(use) for use in uses),
            gradient=self._gradient(self._graph.sums[value]),
        )

    def _contribution(self, use: Use) -> Contribution:
        assert use.gradient is not None
        gradient = self._gradient(use.gradient)
        if use.block is None:
            return Contribution(None, "start", "", gradient)
        place = self._places[use.block]
        symbol = use.symbol if use.block.is_single else ""
        return Contribution(place, f"{self._operations[place - 1]} #{place}", symbol, gradient)

    def _content(self, value: Value) -> Content:
        tensor, measured = value.tensor, self._measured.get(value)
        found = None if measured is None else self._readings.statistics(measured)
        l2, mean = (None, None) if found is None else (found.l2, found.mean)
        return Content(tuple(tensor.shape), _dtype(tensor), self._readings.numbers(self._contents.get(value)), l2, mean)

    def _gradient(self, gradient: Tensor) -> GradientContent:
        """What is downstream of one term is upstream of another, and part of a sum: written once."""
        found = self._written.get(id(gradient))
        if found is None:
            statistics, numbers = self._readings.statistics(gradient), self._readings.numbers(gradient)
            l2, linf, mean = statistics.l2, statistics.linf, statistics.mean
            found = GradientContent(tuple(gradient.shape), _dtype(gradient), l2, linf, mean, numbers)
            self._written[id(gradient)] = found
        return found

    def _length(self, gradients: Iterable[Tensor]) -> float:
        return math.hypot(*(self._readings.statistics(g).l2 for g in gradients))


def _values_of(graph: Graph) -> Iterable[Value]:
    for block in graph.blocks:
        yield from (value for value, _ in block.outputs)
        for use in block.uses:
            yield from (use.value, use.argument)
    yield from graph.uses


def _measurable(value: Value) -> Tensor | None:
    content = content_of(value) if value.is_differentiable else None
    return content if content is not None and content.numel() else None


def _operation(block: Block) -> str:
    return type(block.scope.module).__name__ if block.is_module else _name(block.terms[0])


def _name(term: Term) -> str:
    return term.entry.name if term.rule is None else term.rule.name


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _ratio(below: float, above: float) -> float:
    return below / above if above else math.nan


def _jsonable(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _jsonable(each) for name, each in data.items()}
    if isinstance(data, (list, tuple)):
        return [_jsonable(each) for each in data]
    if isinstance(data, complex) or (isinstance(data, float) and not math.isfinite(data)):
        return str(data)
    return data
