"""GradientLab: the order of events around one optimizer step.

The lab decides, from the probes' schedules, what has to be at hand in a step; records the forward pass; listens to
autograd's backward pass; sweeps the tape; lets the probes measure; and hands their records to the sinks. It knows
neither Lightning nor TensorBoard: whoever runs the loop calls its methods in this order,

    begin_step → (forward) → before_backward → (backward) → after_backward → before_update → (update) → end_step

with ``before_backward`` and ``after_backward`` once for each backward pass in the step, and the whole row from
``begin_step`` on once for each update, where a batch has several.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from gradlab.agenda import Agenda, Due
from gradlab.backprop import Entry, Tape, TapeError, Term
from gradlab.backprop.modules import is_compiled
from gradlab.coverage import Coverage
from gradlab.probes import GradientProbe
from gradlab.probes.base import BatchProbe, Probe, Step
from gradlab.probes.clipping import Clipping, total_norm
from gradlab.reconcile import GraphWatch, Reconciliation, reconcile
from gradlab.records import Record
from gradlab.runlog import RunLog
from gradlab.sinks import Sink
from gradlab.tally import Tally

MOST_PENDING = 500  # records


class GradientLab:
    """Watches the steps of one training run.

    Args:
        root: the module whose parameters are watched; names and module paths are relative to it.
        probes: what to measure, by name; none still records the loss and the learning rate.
        sinks: where the records go.
        lines: whether a disagreement names the line of the user's code that ran the operation to blame, which costs a
            look at the stack for each operation.
        strict: whether what cannot be recorded (a compiled module, an operation without a rule) is an error. Else it
            is a warning, once, and the run goes on with the probes that do not record.
        flush_secs: the longest time in seconds for which a record may lie in memory, while steps come.

    Raises:
        TapeError: strict, a probe asks for a recording, and a module is compiled, so that it cannot be recorded.
    """

    def __init__(
        self,
        root: nn.Module,
        probes: Mapping[str, Probe],
        sinks: Iterable[Sink],
        lines: bool = False,
        strict: bool = True,
        flush_secs: float = 10.0,
    ) -> None:
        self.root = root
        self.probes = dict(probes)
        self.lines = lines
        self.strict = strict
        self.flush_secs = flush_secs
        self.sinks = list(sinks)
        self.tally = Tally()
        self._log = RunLog()
        self._coverage = Coverage()
        self._pending: list[Record] = []  # to write one step at a time costs more than the writing
        self._paths = {module: name for name, module in root.named_modules()}
        self._named = list(root.named_parameters())
        self._updates: dict[str, int] = {}
        self._drained = time.monotonic()
        self._can_record = True
        self._tape: Tape | None = None
        self._is_recording = False
        self._watch: GraphWatch | None = None
        self._agenda = Agenda(self.probes.values())
        self._due = Due()
        self._index = -1
        self._batch = range(0)
        self._backward: _Backward | None = None
        self._seen: int | None = None  # the step whose gradients were seen, and whose update goes on
        self._step: Step | None = None  # the same for the probes that look at it
        self._measured: tuple[BatchProbe, ...] = ()
        self._no_grad = torch.no_grad()  # to make one takes a third of the time of using it
        if any(probe.needs != "gradients" for probe in self.probes.values()):
            self._refuse_compiled()

    def label(self, entry: Entry) -> str:
        """The path of the module an operation ran in, relative to the root; a class name outside of it."""
        module = entry.scope.module
        return (self._paths.get(module) if module is not None else None) or entry.scope.label

    # --- around a step --------------------------------------------------------------------------------------

    def begin_step(self, index: int, batch: range | None = None) -> None:
        """Call before the forward pass; from here on it is recorded, where a probe asks for that.

        Args:
            index: the number of the step. The micro-batches and closures of one step share it.
            batch: the steps that are made with the same batch, where they are several: all are looked at, or none.
        """
        self.abandon_step()
        if index != self._index:
            self._backward = None
        self._index = index
        self._batch = range(index, index + 1) if batch is None else batch
        self._due = self._agenda.of(self._batch)
        if self._can_record and self._due.is_recorded:
            self._tape = Tape(lines=self.lines)
            self._tape.__enter__()
            self._is_recording = True

    def before_backward(self, loss: Tensor) -> None:
        """Call between the forward and the backward pass, with the tensor whose ``backward`` is about to run."""
        self.stop_recording()
        if self._seen is not None and self._seen != self._index:  # a further update with the same batch
            self._finish_update()
        if self._tape is not None and "reconciliation" in self._due.needs:
            self._watch = GraphWatch(loss, [p for _, p in self._named if p.requires_grad])

    def after_backward(self, loss: Tensor, scale: Tensor | None = None, keep: bool = False) -> None:
        """Call after the backward pass: sweeps the tape and compares.

        Args:
            loss: what ``backward`` was called on.
            scale: by what a gradient scaler had multiplied it.
            keep: whether the gradients are copied now, because they may be clipped before ``before_update``.
        """
        terms, reconciliation = (None, None) if self._tape is None else self._compare(self._tape, loss)
        value = loss.detach() if scale is None else loss.detach() / scale
        if self._backward is None:  # the first backward pass of a step is the one that is shown
            self._backward = _Backward(value, terms, reconciliation, scale)
        else:
            self._backward.loss = self._backward.loss + value
        if keep:
            self._backward.keep({name: p.grad for name, p in self._named if p.grad is not None}, scale)

    def before_update(
        self,
        learning_rates: Iterable[float | Tensor],
        label: str = "",
        only: Collection[int] | None = None,
        scale: Tensor | None = None,
    ) -> None:
        """Call when the gradients are complete: the probes measure, the sinks take records.

        Args:
            learning_rates: of the optimizer's groups.
            label: which optimizer it is, such as ``optimizer1/``; empty where there is one only.
            only: the ids of the parameters that it updates; None for all.
            scale: by what the gradients are still too large, where the optimizer itself is going to divide by it.
        """
        backward = self._backward
        if backward is None or self._seen is not None:  # a further closure of the same step
            return
        if time.monotonic() - self._drained >= self.flush_secs:
            self.flush()
        named = self._named if only is None else [(n, p) for n, p in self._named if id(p) in only]
        gradients = {name: p.grad for name, p in named if p.requires_grad}
        self._pending.extend(self._coverage.see(self._index, label, gradients, self.root))
        count = self._updates[label] = self._updates.get(label, -1) + 1
        if self._due.probes:
            self._step = self._see(backward, label, count, gradients, scale)
            self._measure(self._step)
        self._seen = self._index
        backward.let_go()
        # After the probes: what they have gathered of the same steps goes out together with the losses.
        if self._log.is_full or len(self._pending) > MOST_PENDING:
            self._pending.extend(self._log.drain())
            self._write_pending()
        self._log.add(self._index, label, backward.loss, learning_rates)

    def end_step(self) -> None:
        """Call after the update."""
        self.abandon_step()
        self._finish_update()

    def abandon_step(self) -> None:
        """Leaves no mode and no hook of a step behind; call it where one ended by an exception."""
        self.stop_recording()
        self._tape = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    @property
    def awaits_update(self) -> bool:
        """Whether a gradient was seen that no update has used."""
        return self._backward is not None and self._seen is None

    @property
    def is_finite(self) -> bool:
        """Whether the gradients kept by `after_backward` are; this waits for the device."""
        kept = [] if self._backward is None else list(self._backward.kept.values())
        return not kept or bool(torch.isfinite(total_norm(kept)))

    @property
    def tags(self) -> list[str]:
        """Scalars that the run has for certain: what a first look may pin."""
        tags = ["loss/train"]
        if any(isinstance(probe, GradientProbe) for probe in self.probes.values()):
            tags += ["total/norm_before_clipping"]
            trained = [name for name, p in self._named if p.requires_grad and name not in self._coverage.missing]
            tags += [f"gradient/{name}/rms" for name in trained]
        worst = self.tally.worst_place
        return tags + ([f"agreement/{worst}/log10_error"] if worst in dict(self._named) else [])

    def summary(self) -> str:
        """What was covered and compared, in one line."""
        tally = self.tally
        trained = [name for name, p in self._named if p.requires_grad]
        covered = "; ".join(self._coverage.lines.values()) or f"{len(trained)} parameters, no update seen"
        if not tally.backwards:
            return f"{covered}; nothing was compared"
        verdict = "agree" if not tally.disagreements else f"DISAGREE in {tally.disagreements} of {tally.backwards}"
        worst = f"{tally.worst_error:.2g} at {tally.worst_place}, step {tally.worst_step}"
        return f"{covered}; autograd and the handwritten rules {verdict} (worst relative error {worst})"

    # --- anywhere -------------------------------------------------------------------------------------------

    def stop_recording(self) -> None:
        if self._tape is not None and self._is_recording:
            self._tape.__exit__(None, None, None)
            self._is_recording = False

    @torch.no_grad()
    def flush(self) -> None:
        """Hands everything measured so far to the sinks, and has them make it readable."""
        self._drained = time.monotonic()
        self._named = list(self.root.named_parameters())  # a module may have been added meanwhile
        self._pending.extend(self._log.drain())
        for probe in self.probes.values():
            if isinstance(probe, BatchProbe):
                self._pending.extend(probe.drain())
        self._write_pending()
        for sink in self.sinks:
            sink.flush()

    def close(self) -> None:
        """Call at the end, also when a step ended by an exception: nothing is lost."""
        self.abandon_step()
        self._step = self._seen = None
        self.flush()

    def write(self, records: Iterable[Record]) -> None:
        """Hands records of the caller's own to the sinks, after all that was measured before."""
        self._write_pending()
        records = list(records)
        for sink in self.sinks:
            sink.write(records)

    def _write_pending(self) -> None:
        if self._pending:
            for sink in self.sinks:
                sink.write(self._pending)
            self._pending = []

    # --- one step -------------------------------------------------------------------------------------------

    def _compare(self, tape: Tape, loss: Tensor) -> tuple[Sequence[Term] | None, Reconciliation | None]:
        watch = self._watch
        self._tape = self._watch = None
        reconciliation = None
        if watch is not None:
            watch.close()
        try:
            gradients, terms = tape.sweep(loss)
            if watch is not None:
                parameters = {name: p for name, p in self._named if p.requires_grad}
                reconciliation = reconcile(watch, gradients, terms, parameters, self.label)
        except Exception as error:
            if self.strict:
                raise
            self._stop_comparing(f"{type(error).__name__}: {error}")
            return None, None
        if reconciliation is not None:
            self.tally.add(self._index, reconciliation)
        return terms, reconciliation

    def _see(
        self, backward: _Backward, label: str, count: int, used: dict[str, Tensor | None], scale: Tensor | None
    ) -> Step:
        parameters = {name: p for name, p in self._named if name in used}
        # An optimizer that unscales by itself writes to the gradients too.
        clipping = backward.clipping or Clipping(used if scale is None else {})
        gradients: Mapping[str, Tensor | None] = used
        if backward.kept:
            gradients = {name: backward.kept.get(name) for name in parameters}
            clipping.restrict(parameters)
            clipping.look()
        elif scale is not None:
            gradients = {name: None if g is None else g / scale for name, g in used.items()}
        return Step(
            index=self._index,
            batch=self._batch,
            label=label,
            updates=count,
            loss=backward.loss,
            scale=backward.scale,
            parameters=parameters,
            gradients=gradients,
            clipping=clipping,
            terms=backward.terms,
            reconciliation=backward.reconciliation,
            root=self.root,
        )

    def _measure(self, step: Step) -> None:
        with self._no_grad:
            for probe in self._due.probes:
                if probe.needs == "gradients" or step.terms is not None:
                    self._pending.extend(probe.measure(step))
        self._measured = self._due.batching

    def _finish_update(self) -> None:
        step, self._step, self._seen = self._step, None, None
        if step is not None:
            with self._no_grad:
                step.clipping.look()
                for probe in self._measured:
                    self._pending.extend(probe.updated(step))

    def _stop_comparing(self, reason: str) -> None:
        self._can_record = False
        warnings.warn(
            f"gradlab: nothing is recorded and compared from step {max(self._index, 0)} on, since this cannot be "
            f"followed: {reason}. Training and the other measurements go on",
            stacklevel=2,
        )

    def _refuse_compiled(self) -> None:
        modules = self.root.named_modules()
        compiled = [name or type(module).__name__ for name, module in modules if is_compiled(module)]
        if not compiled:
            return
        reason = (
            f"the module {compiled[0]} is compiled (torch.compile), and a compiled module cannot be recorded: watch "
            "the module it was made from, or leave out the probes that record (gradients and partials may stay)"
        )
        if self.strict:
            raise TapeError(reason)
        self._stop_comparing(reason)


class _Backward:
    """What is known of the backward passes of one step."""

    def __init__(
        self, loss: Tensor, terms: Sequence[Term] | None, reconciliation: Reconciliation | None, scale: Tensor | None
    ) -> None:
        self.loss = loss
        self.terms = terms
        self.reconciliation = reconciliation
        self.scale = scale
        self.kept: dict[str, Tensor] = {}
        self.clipping: Clipping | None = None

    def keep(self, gradients: dict[str, Tensor], scale: Tensor | None) -> None:
        self.kept = {name: g.clone() if scale is None else g / scale for name, g in gradients.items()}
        self.clipping = Clipping(gradients)

    def let_go(self) -> None:
        """Frees the step's gradients before the update."""
        self.terms = self.reconciliation = None
        self.kept = {}
