"""The one shape of a run: descend ``loss(model(x), y)``; of a population, the sum of its members' losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.losses import Surface
from gradlab.member_losses import MemberLosses
from gradlab.optimizers import SecondOrder


class DescentModule(pl.LightningModule):
    """A model, a loss and an optimizer, put together for Lightning.

    A test function such as Rosenbrock is a loss whose prediction is the parameter vector itself, so surfaces and
    networks share every line.

    A model with an attribute ``population`` of P is P independent ones, a row of its predictions for each. Their losses
    are summed, and since no member is in another's loss, the gradient of each is its own. ``members`` records them.

    Args:
        model: maps inputs ``x`` to predictions.
        loss: maps predictions and targets ``y`` to one number.
        optimizer: makes the optimizer from the parameters, such as ``partial(torch.optim.SGD, lr=0.1)``.

    Example:
        >>> from functools import partial
        >>> import torch
        >>> module = DescentModule(nn.Linear(2, 1), nn.MSELoss(), partial(torch.optim.SGD, lr=0.1))
        >>> module.training_step((torch.zeros(4, 2), torch.zeros(4, 1)), 0).shape
        torch.Size([])
    """

    def __init__(
        self, model: nn.Module, loss: nn.Module, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.population: int | None = getattr(model, "population", None)
        self.members = None if self.population is None else MemberLosses(self.population)
        self._make_optimizer = optimizer
        self._batch: tuple[Any, Any] = (None, None)  # the present one

    def training_step(self, batch: tuple[Any, Any], batch_index: int) -> Tensor:
        self._batch = batch
        x, y = batch
        losses = self.losses(self.model(x), y)
        if self.members is None:
            return losses
        self.members.add(losses.detach())
        return losses.sum()

    def losses(self, prediction: Tensor, target: Any) -> Tensor:
        """The loss of a prediction: one number, or shape [P] for a population, whose predictions are [P, …]."""
        if self.population is None or isinstance(self.loss, Surface):  # a surface has a value for each row
            return self.loss(prediction, target)
        return torch.func.vmap(self.loss, in_dims=(0, None))(prediction, target)

    def configure_callbacks(self) -> list[pl.Callback]:
        return [] if self.members is None else [self.members]

    def configure_optimizers(self) -> Optimizer:
        optimizer = self._make_optimizer(self.model.parameters())
        if isinstance(optimizer, SecondOrder):
            optimizer.descends(lambda: self.model(self._batch[0]), lambda output: self.loss(output, self._batch[1]))
        return optimizer
