"""GradientLab: the order of events around one optimizer step.

The lab decides, from the probes' schedules, what has to be at hand in a step; records the forward pass; listens to
autograd's backward pass; sweeps the tape; lets the probes measure; and hands their records to the sinks. It knows
neither Lightning nor TensorBoard: whoever runs the loop calls its methods in this order,

    begin_step → (forward) → before_backward → (backward) → after_backward → before_update → (update) → end_step

with ``before_backward`` and ``after_backward`` once for each backward pass in the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gradlab.backprop import Entry, Tape, TapeError, Term
from gradlab.backprop.modules import is_compiled
from gradlab.probes.base import Probe, Step
from gradlab.reconcile import GraphWatch, Reconciliation, reconcile
from gradlab.records import Record, Scalar
from gradlab.sinks import Sink


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One backward pass in which manual and autograd differ."""

    step: int
    reconciliation: Reconciliation


@dataclass(slots=True)
class Tally:
    """What was compared in a run, in numbers.

    Attributes:
        steps: optimizer steps with at least one comparison.
        backwards: backward passes compared.
        partials: entries compared, over all of them.
        worst_error, worst_place, worst_step: the largest relative error, and where it was.
        tolerance: the error allowed there.
        disagreements: how many backward passes disagreed.
        first: the first of them, in full.
    """

    steps: int = 0
    backwards: int = 0
    partials: int = 0
    worst_error: float = 0.0
    worst_place: str = ""
    worst_step: int = -1
    tolerance: float = math.nan
    disagreements: int = 0
    first: Disagreement | None = None
    _last_step: int = field(default=-1, repr=False)

    def add(self, step: int, reconciliation: Reconciliation) -> None:
        self.steps += step != self._last_step
        self._last_step = step
        self.backwards += 1
        self.partials += sum(a.partials for a in reconciliation.agreements.values())
        worst = reconciliation.worst
        if worst is not None and (self.worst_step < 0 or not worst.error <= self.worst_error):
            self.worst_error, self.worst_place, self.worst_step = worst.error, worst.place, step
            self.tolerance = worst.tolerance
        if not reconciliation.ok:
            self.disagreements += 1
            self.first = self.first or Disagreement(step, reconciliation)


class GradientLab:
    """Watches the steps of one training run.

    Args:
        root: the module whose parameters are watched; names and module paths are relative to it.
        probes: what to measure, by name; none still records the loss and the learning rate.
        sinks: where the records go.
        lines: whether a disagreement names the line of the user's code that ran the operation to blame, which costs a
            look at the stack for each operation.

    Raises:
        TapeError: a probe asks for a recording, and a module is compiled, so that it cannot be recorded.
    """

    def __init__(
        self, root: nn.Module, probes: Mapping[str, Probe], sinks: Iterable[Sink], lines: bool = False
    ) -> None:
        self.root = root
        self.probes = dict(probes)
        self.lines = lines
        self.sinks = list(sinks)
        self.tally = Tally()
        self._paths = {module: name for name, module in root.named_modules()}
        self._tape: Tape | None = None
        self._watch: GraphWatch | None = None
        self._due: list[Probe] = []
        self._parameters: dict[str, Tensor] = {}
        self._index = -1
        self._is_recording = False
        self._is_reported = False
        self._seen: list[tuple[Tensor, list[Term] | None, Reconciliation | None]] = []
        if any(probe.needs != "gradients" for probe in self.probes.values()):
            _refuse_compiled(root)

    def label(self, entry: Entry) -> str:
        """The path of the module an operation ran in, relative to the root; a class name outside of it."""
        module = entry.scope.module
        return (self._paths.get(module) if module is not None else None) or entry.scope.label

    # --- around a step --------------------------------------------------------------------------------------

    def begin_step(self, index: int) -> None:
        """Call before the forward pass; from here on it is recorded, where a probe asks for that."""
        if index != self._index:  # the micro-batches of an accumulated step share its index
            self._seen.clear()
            self._is_reported = False
        self._index = index
        self._parameters = {name: p for name, p in self.root.named_parameters() if p.requires_grad}
        self._due = [probe for probe in self.probes.values() if probe.schedule(index)]
        self.record_next_forward()

    def record_next_forward(self) -> None:
        """Call before each further forward pass of the same step."""
        if any(probe.needs != "gradients" for probe in self._due):
            self._tape = Tape(lines=self.lines)
            self._tape.__enter__()
            self._is_recording = True

    def before_backward(self, loss: Tensor) -> None:
        """Call between the forward and the backward pass, with the tensor whose ``backward`` is about to run."""
        self.stop_recording()
        if any(probe.needs == "reconciliation" for probe in self._due):
            self._watch = GraphWatch(loss, self._parameters.values())

    def after_backward(self, loss: Tensor) -> None:
        """Call after the backward pass: sweeps the tape and compares."""
        terms: list[Term] | None = None
        reconciliation: Reconciliation | None = None
        if self._tape is not None:
            terms = []
            gradients = self._tape.backward(loss, terms=terms)
            self._tape = None
            if self._watch is not None:
                self._watch.close()
                reconciliation = reconcile(self._watch, gradients, terms, self._parameters, self.label)
                self.tally.add(self._index, reconciliation)
                self._watch = None
        if not self._seen:  # the first backward pass of a step is the one that is shown
            self._seen.append((loss.detach(), terms, reconciliation))

    def before_update(self, learning_rates: Iterable[float]) -> None:
        """Call when the gradients are complete and not yet clipped: the probes measure, the sinks take records."""
        if not self._seen or self._is_reported:  # a further closure of the same step
            return
        self._is_reported = True
        loss, terms, reconciliation = self._seen[0]
        step = Step(
            index=self._index,
            loss=float(loss),
            parameters=self._parameters,
            gradients={name: p.grad for name, p in self._parameters.items()},
            terms=terms,
            reconciliation=reconciliation,
            root=self.root,
        )
        records: list[Record] = [Scalar("loss/train", step.index, step.loss)]
        for group, rate in enumerate(learning_rates):
            records.append(Scalar(f"learning_rate/group{group}", step.index, rate))
        with torch.no_grad():
            for probe in self._due:
                records.extend(probe.measure(step))
        self.write(records)
        self._seen[0] = (loss, None, None)  # let go of the step's gradients before the update

    def end_step(self) -> None:
        """Call after the update."""
        self.stop_recording()
        self._tape = None

    # --- anywhere -------------------------------------------------------------------------------------------

    def stop_recording(self) -> None:
        if self._tape is not None and self._is_recording:
            self._tape.__exit__(None, None, None)
            self._is_recording = False

    def abandon(self) -> None:
        """Leaves no mode and no hook behind, also when a step ended by an exception."""
        self.stop_recording()
        self._tape = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def write(self, records: Iterable[Record]) -> None:
        records = list(records)
        for sink in self.sinks:
            sink.write(records)


def _refuse_compiled(root: nn.Module) -> None:
    compiled = [name or type(module).__name__ for name, module in root.named_modules() if is_compiled(module)]
    if compiled:
        raise TapeError(
            f"the module {compiled[0]} is compiled (torch.compile), and a compiled module cannot be recorded: watch "
            "the module it was made from, or leave out the probes that record (gradients and partials may stay)"
        )
