"""What a probe is, and what it gets to see of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

from gradlab.backprop import Term
from gradlab.reconcile import Reconciliation
from gradlab.records import Record

Need = Literal["gradients", "terms", "reconciliation"]


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, seen just before the optimizer uses the gradients.

    Attributes:
        index: the step's number, from 0.
        loss: the loss of its (first) backward pass.
        parameters: the trainable tensors by name.
        gradients: what ``.grad`` holds for each, None where it holds nothing: accumulated, before clipping.
        terms: the chain rule of its first backward pass, from the loss downwards; None where no probe asked for it.
        reconciliation: manual against autograd in that backward pass; None where no probe asked for it.
        root: the module that is watched; names and module paths are relative to it.
    """

    index: int
    loss: float
    parameters: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor | None]
    terms: list[Term] | None
    reconciliation: Reconciliation | None
    root: nn.Module


class Probe(Protocol):
    """Measures something in the steps that its schedule chooses.

    Attributes:
        schedule: which steps it looks at.
        needs: what has to be at hand: ``"gradients"`` (always is), ``"terms"`` (a tape and a sweep), or
            ``"reconciliation"`` (those, and autograd's graph listened to).
    """

    needs: Need

    def schedule(self, step: int, /) -> bool: ...

    def measure(self, step: Step) -> Iterable[Record]: ...
