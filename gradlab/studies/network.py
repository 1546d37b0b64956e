"""A network with all rows of its data in one precision, and its gradient as one long vector."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from gradlab.backprop import Tape
from gradlab.errors import BadInput
from gradlab.studies.base import Setting


@dataclass(frozen=True, slots=True)
class Network:
    """A model, a loss that is a mean over rows, and rows.

    Attributes:
        model, loss: the parts; ``loss(model(x), y)`` is one number.
        x, y: rows of the training data, in the order of the first epoch.

    Example:
        >>> x, y = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [0.0]])
        >>> line = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(line.weight)
        >>> network = Network(line, nn.MSELoss(), x, y)
        >>> network.gradient().tolist(), network.gradient(torch.tensor([1])).tolist()  # mean of 2 x², and 2 · 3²
        ([10.0], [18.0])
    """

    model: nn.Module
    loss: nn.Module
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, setting: Setting, model: nn.Module | None = None, batches: int | None = None) -> Network:
        """The configured network, or another one, with the configured loss and data, all in float64.

        Args:
            setting: of the study.
            model: instead of the configured one.
            batches: how many mini-batches of the data; None takes all.

        Raises:
            BadInput: there is no loss, or the data are no pairs of features and targets.
        """
        configured, loss, data = setting.parts()
        if loss is None:
            raise BadInput("this study needs a loss: choose one with loss=, such as loss=cross_entropy")
        rows = list(islice(data.train_dataloader(), batches))
        if not all(isinstance(row, (tuple, list)) and len(row) == 2 and row[0] is not None for row in rows):
            raise BadInput("this study needs data with targets: choose some with data=, such as data=digits")
        x, y = (torch.cat([row[place] for row in rows]) for place in (0, 1))
        model = copy.deepcopy(configured if model is None else model)
        return cls(model.double(), loss, _double(x), _double(y))

    def __len__(self) -> int:
        return len(self.x)

    def value(self, rows: Tensor | slice | None = None) -> Tensor:
        """The mean loss of some rows, or of all."""
        chosen = slice(None) if rows is None else rows
        return self.loss(self.model(self.x[chosen]), self.y[chosen])

    def gradient(self, rows: Tensor | slice | None = None) -> Tensor:
        """The gradient of `value` by autograd: [P], all parameters one after the other."""
        return flat(torch.autograd.grad(self.value(rows), list(self.model.parameters())))

    def by_hand(self, rows: Tensor | slice | None = None) -> Tensor:
        """The same by the handwritten rules."""
        with Tape() as tape:
            value = self.value(rows)
        found = tape.backward(value)
        gradients = ((p, found.get(p)) for p in self.model.parameters())
        return flat(torch.zeros_like(p) if g is None else g for p, g in gradients)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All entries in one vector.

    Example:
        >>> flat([torch.tensor([[1.0, 2.0]]), torch.tensor(3.0)]).tolist()
        [1.0, 2.0, 3.0]
    """
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def distance(a: Tensor, b: Tensor) -> float:
    """‖a − b‖ ÷ ‖b‖: how far a is from b, in units of b's length.

    Example:
        >>> distance(torch.tensor([3.0, 6.5]), torch.tensor([3.0, 4.0]))
        0.5
    """
    return float((a - b).norm() / b.norm())


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
