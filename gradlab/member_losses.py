"""The loss of each member of a population, step by step."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from gradlab.callbacks import GradientLabCallback
from gradlab.records import ScalarBlock

MOST_CURVES = 64  # members of which each has a curve of its own: more are no longer told apart in a picture
MOST_STEPS = 256  # kept on the device before they are written


class MemberLosses(pl.Callback):
    """Records ``loss/median``, and ``loss/member/0``, … where there are no more than `MOST_CURVES` members.

    They are the losses of training, before the update, whose sum is ``loss/train``. Populations beyond that number are
    looked at only at every (P / 100)-th step, since the median of many numbers costs more than a step of Adam on them.

    Args:
        population: the number P of members.

    Attributes:
        last: the members' losses at the last step, shape [P]; None before the first.
    """

    def __init__(self, population: int) -> None:
        self.last: Tensor | None = None
        self._has_curves = population <= MOST_CURVES
        self._every = 1 if self._has_curves else max(1, population // 100)
        self._batches: list[Tensor] = []
        self._kept: list[tuple[int, Tensor]] = []
        self._written = time.monotonic()

    def add(self, losses: Tensor) -> None:
        """Takes the losses of one batch, shape [P], detached; a step may have several."""
        self._batches.append(losses)

    def on_before_optimizer_step(self, trainer: pl.Trainer, *rest: Any) -> None:
        batches, self._batches = self._batches, []
        share = trainer.accumulate_grad_batches  # by which Lightning divides the loss of each
        losses = self.last = batches[0] if share == 1 else torch.stack(batches).sum(0) / share
        if trainer.global_step % self._every == 0:
            self._kept.append((trainer.global_step, losses if self._has_curves else median(losses).unsqueeze(0)))
        if len(self._kept) >= MOST_STEPS or time.monotonic() - self._written >= _watching(trainer).lab.flush_secs:
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        kept, self._kept = self._kept, []
        self._written = time.monotonic()
        if not kept:
            return
        values = torch.stack([losses for _, losses in kept])  # [steps, members], or [steps, 1]
        tags = ["loss/median"]
        if self._has_curves:
            tags += [f"loss/member/{member}" for member in range(values.shape[1])]
            values = torch.cat([median(values).unsqueeze(1), values], 1)
        steps = np.array([step for step, _ in kept], np.int64)
        _watching(trainer).lab.write([ScalarBlock(tuple(tags), steps, values.double().cpu().numpy())])


def median(losses: Tensor) -> Tensor:
    """The median along the last axis (of two middle ones the lower), where NaN counts as infinite.

    Example:
        >>> median(torch.tensor([3.0, float("nan"), 1.0])).item()
        3.0
    """
    return torch.where(losses.isnan(), math.inf, losses).median(-1).values


def _watching(trainer: Any) -> GradientLabCallback:
    return next(callback for callback in trainer.callbacks if isinstance(callback, GradientLabCallback))
