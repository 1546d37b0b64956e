"""The backward pass as a graph: operations, values and uses, each with its numbers, for the Gradlab tab."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gradlab.agreement import Agreement, worst_place
from gradlab.backprop import Breakdown
from gradlab.backprop.breakdown import BreakdownTerm, Content, GradientContent, PathSum, TermInput
from gradlab.probes.base import Need, Step
from gradlab.probes.slots import Slots
from gradlab.reconcile import Passed, Reconciliation
from gradlab.records import Array, Graph, Record
from gradlab.schedules import Schedule, every
from gradlab.tensors import dense
from gradlab.witnesses.operation import numeric_downstream

SCHEMA = 1


class GraphProbe:
    """What the Gradlab tab draws: the structure once, and a vector of numbers for each step.

    The structure changes only where the forward pass does; then it is written again under a number of its own. Of every
    operation there are the norms of its upstream and downstream gradients, their ratio, how far manual and autograd lie
    apart in what it passes down, and the worst entry of that by three witnesses: manual, autograd and numeric (a finite
    difference of that operation alone). Of every value there are its own norm and mean, and those of its gradient.

    Args:
        schedule: the steps to look at; every 10th by default.
        readable: tensors of at most this many entries come with their numbers, and so do small local derivatives.
        most: of a backward pass with more operations than this, only the last ones before the loss are drawn.
    """

    needs: Need = "reconciliation"

    def __init__(self, schedule: Schedule | None = None, readable: int = 9, most: int = 2000) -> None:
        self.schedule = schedule or every(10)
        self.most = most
        self._writer = GraphWriter(readable)

    def measure(self, step: Step) -> Iterator[Record]:
        assert step.terms is not None
        assert step.reconciliation is not None
        scale = 1.0 if step.scale is None else float(step.scale)
        readable = self._writer.readable
        if len(step.terms) <= self.most:
            breakdown = step.breakdown(readable, measured=True)
        else:
            breakdown = Breakdown.of(step.terms[: self.most], step.root, readable=readable, measured=True)
        yield from self._writer.records(breakdown, step.reconciliation, float(step.loss), step.index, scale)


class GraphWriter:
    """Writes breakdowns as records of a graph: a structure only where it has not been written before.

    Args:
        readable: the breakdowns hold the numbers of tensors of at most this many entries.
    """

    def __init__(self, readable: int = 9) -> None:
        self.readable = readable
        self._known: dict[str, str] = {}

    def records(
        self, breakdown: Breakdown, reconciliation: Reconciliation, loss: float, step: int, scale: float = 1.0
    ) -> Iterator[Record]:
        """A `Graph` where the structure is new, and an `Array` of the numbers.

        Args:
            breakdown: measured, of a backward pass.
            reconciliation: of the same.
            loss: its value.
            step: under which the records stand.
            scale: by what a gradient scaler has multiplied every gradient.
        """
        slots = Slots()
        document = _Document(breakdown, reconciliation, slots, scale).content(loss)
        structure = json.dumps(document, ensure_ascii=False, allow_nan=False)
        key = hashlib.sha256(structure.encode()).hexdigest()
        if key not in self._known:
            self._known[key] = f"graph/{len(self._known)}"
            yield Graph(self._known[key], step, structure)
        yield Array(f"{self._known[key]}/values", step, slots.vector())


class _Document:
    """One breakdown as what JSON can hold; numbers that change with the step are places in a vector."""

    def __init__(self, breakdown: Breakdown, reconciliation: Reconciliation, slots: Slots, scale: float) -> None:
        self._breakdown = breakdown
        self._slots = slots
        self._scale = scale
        self._reconciliation = reconciliation
        self._passed = reconciliation.by_operation()
        self._edges: list[dict[str, Any]] = []

    def content(self, loss: float) -> dict[str, Any]:
        operations = [self._operation(term) for term in self._breakdown.terms]
        return {
            "schema": SCHEMA,
            "loss": self._slots.add(loss),
            "operations": operations,
            "values": [self._value(path_sum) for path_sum in self._breakdown.path_sums.values()],
            "edges": self._edges,
        }

    def _operation(self, term: BreakdownTerm) -> dict[str, Any]:
        (entry,) = self._breakdown.recorded(term.place)
        passed = self._passed.get(entry)
        for used in term.inputs:
            self._edges.append(self._edge(term, used))
        settings = "".join(f", {name} = {value:.6g}" for name, value in term.settings.items())
        outputs = [o for o in term.outputs if o.upstream is not None]
        return {
            "name": f"{term.operation} #{term.place}",
            "operation": term.operation,
            "module": term.module,
            "formula": term.formula + settings,
            "local": term.local,
            "line": term.line,
            "function": "" if passed is None else passed.function,
            "source": "" if passed is None else passed.source,
            "outputs": [o.name for o in term.outputs],
            "shape": self._shape(outputs[0].content.shape if outputs else ()),
            "value": self._content(outputs[0].content) if outputs else None,
            "upstream": self._gradient(outputs[0].upstream) if outputs and outputs[0].upstream else None,
            "downstream": self._number(term.downstream),
            "gain": self._slots.add(math.nan if term.gain is None else term.gain),
            "agreement": None if passed is None else self._operation_agreement(term, passed),
        }

    def _edge(self, term: BreakdownTerm, used: TermInput) -> dict[str, Any]:
        return {
            "value": used.name,
            "operation": term.place - 1,
            "symbol": used.symbol,
            "kind": used.kind,
            "how": list(used.how),
            "shape": self._shape(used.content.shape),
            "local": None if used.local is None else self._slots.add_all(used.local),
            "is_jacobian": used.is_jacobian,
            "downstream": None if used.downstream is None else self._gradient(used.downstream),
            "gain": self._slots.add(math.nan if used.gain is None else used.gain),
        }

    def _value(self, path_sum: PathSum) -> dict[str, Any]:
        return {
            "name": path_sum.name,
            "kind": path_sum.kind,
            "made_by": None if path_sum.made_by is None else path_sum.made_by - 1,
            "shape": self._shape(path_sum.content.shape),
            "dtype": path_sum.content.dtype,
            "value": self._content(path_sum.content),
            "gradient": self._gradient(path_sum.gradient),
            "contributions": [
                {
                    "operation": None if c.place is None else c.place - 1,
                    "symbol": c.symbol,
                    "gradient": self._gradient(c.gradient),
                }
                for c in path_sum.contributions
            ],
            "agreement": self._leaf_agreement(path_sum.name),
        }

    def _content(self, content: Content) -> dict[str, Any]:
        l2, mean = (math.nan if each is None else each for each in (content.l2, content.mean))
        numbers = None if content.numbers is None else self._slots.add_all(content.numbers)
        return {"l2": self._slots.add(l2), "mean": self._slots.add(mean), "numbers": numbers}

    def _gradient(self, gradient: GradientContent) -> dict[str, Any]:
        numbers = None if gradient.numbers is None else self._slots.add_all(gradient.numbers, self._scale)
        return {
            "l2": self._number(gradient.l2),
            "linf": self._number(gradient.linf),
            "mean": self._number(gradient.mean),
            "numbers": numbers,
        }

    def _agreement(self, found: Agreement, worst: Worst, which: float = math.nan) -> dict[str, Any]:
        """Of a comparison: the relative error, what rounding explains, and the worst entry by each witness.

        ``input`` is the place, among the operation's inputs, of that whose gradient is meant.
        """
        return {
            "error": self._slots.add(found.error),
            "tolerance": self._slots.add(found.tolerance),
            "input": self._slots.add(which),
            "entry": self._slots.add(worst.at),
            "manual": self._number(worst.manual),
            "autograd": self._number(worst.autograd),
            "numeric": self._number(worst.numeric),
        }

    def _operation_agreement(self, term: BreakdownTerm, passed: Passed) -> dict[str, Any]:
        worst = Worst.of(passed.manual, passed.autograd)
        if worst.index is not None and passed.manual is not None:
            fits = passed.manual.shape == passed.value.tensor.shape
            worst.numeric = numeric_downstream(passed.terms, passed.value, worst.index) if fits else math.nan
        used = self._breakdown.used(term.place)
        which = next((float(i) for i, values in enumerate(used) if passed.value in values), math.nan)
        return self._agreement(passed.agreement, worst, which)

    def _leaf_agreement(self, name: str) -> dict[str, Any] | None:
        found = self._reconciliation.agreements.get(name)
        return None if found is None else self._agreement(found, Worst.of(*self._reconciliation.pair(name)))

    def _shape(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """A shape is a number that changes: the last batch of an epoch may be smaller."""
        return self._slots.add_all([float(size) for size in shape])

    def _number(self, number: float | None) -> int:
        """A gradient's number without the factor of a gradient scaler."""
        return self._slots.add(math.nan if number is None else number / self._scale)


@dataclass(slots=True)
class Worst:
    """The entry at which two gradients differ most; where they differ nowhere, that of largest magnitude.

    Attributes:
        at: its place, counted over the flattened tensor.
        manual, autograd, numeric: the number there by each witness; NaN where there is none.
        index: the same place, one number for each dimension; None where nothing was compared.
    """

    at: float = math.nan
    manual: float = math.nan
    autograd: float = math.nan
    numeric: float = math.nan
    index: tuple[int, ...] | None = None

    @classmethod
    def of(cls, manual: Tensor | None, autograd: Tensor | None) -> Worst:
        """Of two gradients of one shape.

        Example:
            >>> import torch
            >>> worst = Worst.of(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]))
            >>> worst.at, worst.manual, worst.autograd
            (1, 2.0, 2.5)
        """
        if manual is None or autograd is None or manual.is_complex() or not manual.numel():
            return cls()
        manual, autograd = dense(manual.detach()), dense(autograd.detach())
        at = worst_place(manual, autograd)
        index = tuple(int(i) for i in np.unravel_index(at, manual.shape))
        if manual[index] == autograd[index]:
            at = worst_place(manual, manual.new_zeros(()).expand_as(manual))
            index = tuple(int(i) for i in np.unravel_index(at, manual.shape))
        return cls(at, float(manual[index]), float(autograd[index]), index=index)
