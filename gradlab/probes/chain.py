"""The chain rule written out: upstream × local derivative = downstream, operation by operation and layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gradlab.backprop import Term, Value
from gradlab.probes.base import Need, Step
from gradlab.records import Breakdown, Record, Scalar
from gradlab.records import Term as TermRecord
from gradlab.schedules import Schedule, every, log_spaced
from gradlab.tensors import floats

aten = torch.ops.aten

# Operations that only look at the same numbers in another shape: a table without them reads better.
RESHAPES = frozenset(
    op.default if op is not aten.transpose else op.int
    for op in (aten.t, aten.transpose, aten.permute, aten.view, aten._unsafe_view, aten.unsqueeze, aten.alias)
)


class ChainRuleProbe:
    """The breakdown of a step: scalars for each module, and a table of operations for chosen steps.

    For a module, *upstream* is the norm of the gradient at its output, *downstream* the norm of what it passes on to
    the module below, and *gain* their ratio. The first layer passes nothing on: its input needs no gradient.

    Args:
        schedule: the steps at which the modules' scalars are taken.
        tables: the steps at which the table of operations is written besides.
        readable: tensors of at most this many entries are shown with their numbers.
    """

    needs: Need = "terms"

    def __init__(self, schedule: Schedule | None = None, tables: Schedule | None = None, readable: int = 4) -> None:
        self._scalars = schedule or every(10)
        self._tables = tables or log_spaced(1)
        self.readable = readable

    def schedule(self, step: int) -> bool:
        return self._scalars(step) or self._tables(step)

    def measure(self, step: Step) -> Iterator[Record]:
        assert step.terms is not None
        if self._scalars(step.index):
            yield from self._modules(step, step.terms)
        if self._tables(step.index):
            names = {id(p): name for name, p in step.parameters.items()}
            yield Breakdown("chain/table", step.index, tuple(self._table(step, step.terms, names)))

    def _modules(self, step: Step, terms: list[Term]) -> Iterator[Record]:
        upstream: dict[str, list[Tensor]] = {}
        downstream: dict[str, list[Tensor]] = {}
        for module, group in _by_module(step, terms).items():
            upstream[module] = [g for g in group[0].upstream if g is not None]
            downstream[module] = list(_passed_on(group).values())
        norms = iter(_norms([*upstream.values(), *downstream.values()]))
        above = {module: next(norms) for module in upstream}
        below = {module: next(norms) for module in downstream}
        for module in upstream:
            yield Scalar(f"chain/{module}/upstream", step.index, above[module])
            if downstream[module]:
                yield Scalar(f"chain/{module}/downstream", step.index, below[module])
                yield Scalar(f"chain/{module}/gain", step.index, _ratio(below[module], above[module]))

    def _table(self, step: Step, terms: list[Term], names: Mapping[int, str]) -> Iterator[TermRecord]:
        shown = [t for t in terms if t.rule is not None and t.entry.op not in RESHAPES]
        upstream = _norms([[g for g in t.upstream if g is not None] for t in shown])
        downstream = _norms([_below(t) for t in shown])
        for term, above, below in zip(shown, upstream, downstream, strict=True):
            assert term.rule is not None
            yield TermRecord(
                module=step.label(term.entry),
                operation=term.rule.name,
                formula=term.rule.formula,
                local=term.rule.local,
                shape=tuple(next(g for g in term.upstream if g is not None).shape),
                upstream=above,
                downstream=below,
                gain=_ratio(below, above),
                values=self._numbers(term, names),
            )

    def _numbers(self, term: Term, names: Mapping[int, str]) -> dict[str, list[float]]:
        """The entries themselves, where they are few enough to be read."""
        upstream = next(g for g in term.upstream if g is not None)
        if upstream.numel() > self.readable or any(g.numel() > self.readable for _, g in term.downstream):
            return {}
        numbers = {"upstream": upstream.reshape(-1).tolist()}
        for value, gradient in term.downstream:
            name = _name(term, value, names)
            sofar = numbers.get(name)
            here = gradient.reshape(-1).tolist()
            numbers[name] = here if sofar is None else [a + b for a, b in zip(sofar, here, strict=True)]
        return numbers


def _by_module(step: Step, terms: list[Term]) -> dict[str, list[Term]]:
    """The terms of each module, from the loss downwards; operations outside every module are left out."""
    groups: dict[str, list[Term]] = {}
    for term in terms:
        if term.entry.scope.module is not None:
            groups.setdefault(step.label(term.entry), []).append(term)
    return groups


def _passed_on(group: list[Term]) -> dict[Value, Tensor]:
    """What a module's operations pass to values made outside it, each with its path sum."""
    made_inside = {v for term in group for v in term.entry.outputs}
    passed: dict[Value, Tensor] = {}
    for term in group:
        for value, gradient in term.downstream:
            if value not in made_inside and not _is_reshaped_source(value):
                passed[value] = passed[value] + gradient if value in passed else gradient
    return passed


def _below(term: Term) -> list[Tensor]:
    """What an operation passes to other operations; where there are none below it, what it passes to leaves."""
    return [g for v, g in term.downstream if not _is_reshaped_source(v)] or [g for _, g in term.downstream]


def _is_reshaped_source(value: Value) -> bool:
    """Whether a value is a leaf, or a leaf in another shape: the transposed weight of a linear layer."""
    return _unreshaped(value).entry is None


def _unreshaped(value: Value) -> Value:
    while value.entry is not None and value.entry.op in RESHAPES:
        value = value.entry.inputs[0]
    return value


def _name(term: Term, value: Value, names: Mapping[int, str]) -> str:
    """A parameter's own name, else the name of the operation that made the value, else the argument's."""
    origin = _unreshaped(value)
    if id(origin.tensor) in names:
        return names[id(origin.tensor)]
    if origin.entry is not None:
        return f"output of {origin.entry.name}"
    places = term.entry.facts.tensor_arguments
    named = zip(places, term.entry.grouped(), strict=True)
    return next((name for (_, name), group in named if group is value), "input")


def _norms(groups: list[list[Tensor]]) -> list[float]:
    """The L2 norm over all tensors of each group; 0 for an empty one."""
    flat = [t.detach() for group in groups for t in group]
    norms = iter(floats(torch._foreach_norm(flat)) if flat else [])
    return [math.hypot(*(next(norms) for _ in group)) for group in groups]


def _ratio(below: float, above: float) -> float:
    return below / above if above else math.nan
