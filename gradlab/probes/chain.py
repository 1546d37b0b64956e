"""The chain rule written out: upstream × local derivative = downstream, operation by operation and layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gradlab.backprop.breakdown import BreakdownTerm
from gradlab.backprop.chain.modules import Flow, flows
from gradlab.probes.base import Need, Step
from gradlab.records import Breakdown as BreakdownRecord
from gradlab.records import Record, Scalar
from gradlab.records import Term as TermRecord
from gradlab.schedules import Schedule, either, every, log_spaced


class ChainRuleProbe:
    """The breakdown of a step: scalars for each module, and a table of operations for chosen steps.

    For a module, *upstream* is the norm of the gradient at its outputs, *downstream* the norm of what it passes on to
    the modules below, and *gain* their ratio. The first layer passes nothing on: its input needs no gradient.

    Args:
        schedule: the steps at which the modules' scalars are taken.
        tables: the steps at which the table of operations is written besides.
        readable: tensors of at most this many entries are shown with their numbers.
    """

    needs: Need = "terms"

    def __init__(self, schedule: Schedule | None = None, tables: Schedule | None = None, readable: int = 4) -> None:
        self._scalars = schedule or every(10)
        self._tables = tables or log_spaced(1)
        self.schedule = either(self._scalars, self._tables)
        self.readable = readable

    def measure(self, step: Step) -> Iterator[Record]:
        assert step.terms is not None
        scale = 1.0 if step.scale is None else float(step.scale)
        if step.is_due(self._scalars):
            for flow in flows(step.terms, step.root):
                yield from _scalars(flow, step.index, scale)
        if step.is_due(self._tables):
            terms = step.breakdown(self.readable).terms
            yield BreakdownRecord("chain/table", step.index, tuple(_record(t, scale, self.readable) for t in terms))


def _scalars(flow: Flow, step: int, scale: float) -> Iterator[Record]:
    if flow.module:  # operations outside every module are left out
        yield Scalar(f"chain/{flow.module}/upstream", step, flow.upstream / scale)
        if flow.downstream is not None and flow.gain is not None:
            yield Scalar(f"chain/{flow.module}/downstream", step, flow.downstream / scale)
            yield Scalar(f"chain/{flow.module}/gain", step, flow.gain)


def _record(term: BreakdownTerm, scale: float, readable: int) -> TermRecord:
    """What is passed on, or where there is nothing below, what goes to parameters; unscaled."""
    leaves = math.hypot(*(i.downstream.l2 for i in term.inputs if i.downstream is not None))
    downstream = leaves if term.downstream is None else term.downstream
    return TermRecord(
        module=term.module,
        operation=term.operation,
        formula=term.formula + "".join(f", {name} = {value:.6g}" for name, value in term.settings.items()),
        local=term.local,
        shape=next(o.upstream.shape for o in term.outputs if o.upstream is not None),
        upstream=term.upstream / scale,
        downstream=downstream / scale,
        gain=downstream / term.upstream if term.upstream else math.nan,
        values={name: [x / scale for x in numbers] for name, numbers in _numbers(term, readable).items()},
        place=term.place,
    )


def _numbers(term: BreakdownTerm, readable: int) -> dict[str, list[float]]:
    """The entries themselves, where all of a term are few enough to be read."""
    upstream = [("upstream", o.upstream) for o in term.outputs if o.upstream is not None]
    downstream = [(i.name, i.downstream) for i in term.inputs if i.downstream is not None]
    found: dict[str, list[float]] = {}
    for name, gradient in (*upstream[:1], *downstream):
        if gradient.numbers is None or math.prod(gradient.shape) > readable:
            return {}
        here = _flat(gradient.numbers)
        found[name] = [a + b for a, b in zip(found[name], here, strict=True)] if name in found else here
    return found


def _flat(numbers: Any) -> list[float]:
    return [entry for each in numbers for entry in _flat(each)] if isinstance(numbers, list) else [numbers]
