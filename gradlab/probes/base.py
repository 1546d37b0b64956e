"""What a probe is, and what it gets to see of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from gradlab.backprop import Breakdown, Term
from gradlab.probes.clipping import Clipping
from gradlab.reconcile import Reconciliation
from gradlab.records import Record
from gradlab.schedules import Schedule

Need = Literal["gradients", "terms", "reconciliation"]


@dataclass(slots=True)  # frozen, it would take three times as long to make, and one is made at every step
class Step:
    """One optimizer step, seen just before the optimizer uses the gradients.

    Attributes:
        index: the step's number, from 0.
        batch: the numbers of all steps made with the same batch: this one, unless there are several optimizers.
        label: which optimizer makes the update, such as ``optimizer1/``; empty where there is one only.
        updates: how many updates this optimizer has made before.
        loss: the sum over its backward passes (the mean over the micro-batches of an accumulated step); a number
            without dimensions, not yet fetched from the device.
        scale: by what a gradient scaler had multiplied the loss, and so every number in ``terms`` and
            ``reconciliation``; None without a scaler.
        parameters: the trainable tensors of that optimizer by name, not yet updated.
        gradients: the gradient of each, None where there is none: accumulated, unscaled, before clipping.
        clipping: the norm that the update uses, known once it was made.
        terms: the chain rule of its first backward pass, from the loss downwards; None where no probe asked for it. It
            may be worked out when it is first looked at, which has to be before the update.
        reconciliation: manual against autograd in that backward pass; None where no probe asked for it.
        root: the module that is watched; names and module paths are relative to it.
    """

    index: int
    batch: range
    label: str
    updates: int
    loss: Tensor
    scale: Tensor | None
    parameters: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor | None]
    clipping: Clipping
    terms: Sequence[Term] | None
    reconciliation: Reconciliation | None
    root: nn.Module
    _breakdown: tuple[Breakdown, int, bool] | None = None

    def breakdown(self, readable: int, measured: bool = False) -> Breakdown:
        """The chain rule of the step written out, relative to `root`; the probes of a step share one where they can.

        Args:
            readable: tensors of at most this many entries come with their numbers, and perhaps some larger ones too.
            measured: whether the norm and the mean of every value are wanted.
        """
        assert self.terms is not None
        if self._breakdown is not None:
            known, most, is_measured = self._breakdown
            if readable <= most and measured <= is_measured:
                return known
        made = Breakdown.of(self.terms, self.root, readable=readable, measured=measured)
        self._breakdown = made, readable, measured
        return made

    def is_due(self, schedule: Schedule) -> bool:
        """Whether a schedule chooses this step, or another one of the same batch."""
        return any(map(schedule, self.batch))


class Probe(Protocol):
    """Measures something in the steps that its schedule chooses. `BatchProbe` has two methods more.

    Attributes:
        schedule: which steps it looks at.
        needs: what has to be at hand: ``"gradients"`` (always is), ``"terms"`` (a tape and a sweep), or
            ``"reconciliation"`` (those, and autograd's graph listened to).
    """

    needs: Need

    def schedule(self, step: int, /) -> bool: ...

    def measure(self, step: Step) -> Iterable[Record]: ...


@runtime_checkable
class BatchProbe(Probe, Protocol):
    """A probe that copies things aside and returns their records later, many at once."""

    def updated(self, step: Step) -> Iterable[Record]:
        """Called after the update of each step that it measured."""
        ...

    def drain(self) -> Iterable[Record]:
        """What it still has; called between steps, at least once every flush interval, and at the end."""
        ...
