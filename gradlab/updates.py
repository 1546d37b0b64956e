"""Which optimizer makes an update, of which parameters, and at which scale the gradients are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Updates:
    """The updates of one batch after the other.

    Attributes:
        count: the updates made so far with the present batch.
        batch: the numbers of the present batch's steps, if it has as many as the one before.
    """

    def __init__(self) -> None:
        self.count = 0
        self.batch = range(0)
        self._known: dict[int, tuple[int, frozenset[int]]] = {}

    def begin_batch(self, step: int) -> None:
        self.batch = range(step, step + max(1, self.count))
        self.count = 0

    def of(self, optimizer: Optimizer, optimizers: Sequence[Optimizer]) -> tuple[str, Collection[int] | None]:
        """The optimizer's label, and the ids of its parameters; empty and None where there is one only.

        Args:
            optimizer: the one that is about to make an update.
            optimizers: all of the run's.
        """
        if len(optimizers) < 2:
            return "", None
        own = getattr(optimizer, "optimizer", optimizer)  # Lightning may hand its own wrapper
        place = next(i for i, each in enumerate(optimizers) if getattr(each, "optimizer", each) is own)
        size = sum(len(group["params"]) for group in own.param_groups)
        if self._known.get(place, (-1, None))[0] != size:  # parameters may be added to an optimizer
            self._known[place] = size, frozenset(id(p) for group in own.param_groups for p in group["params"])
        return f"optimizer{place}/", self._known[place][1]


def scale_of(scaler: Any, device: torch.device) -> Tensor | None:
    """By what a ``torch.amp.GradScaler`` multiplies the loss, without waiting for the device; None for a disabled one.

    Example:
        >>> scale_of(torch.amp.GradScaler("cpu", init_scale=8.0), torch.device("cpu"))
        tensor(8.)
    """
    return scaler.scale(torch.ones((), device=device)) if scaler.is_enabled() else None


def unscales_by_itself(optimizer: Optimizer) -> bool:
    """Whether an optimizer (a fused one) divides by the scaler's factor itself: its gradients are still scaled."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
