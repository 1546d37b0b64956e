"""Whether an optimizer moves each entry by that entry's own gradients: what a population asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from gradlab.optimizers.second_order import SecondOrder

STEPS = 3  # what is kept of earlier steps has then been used twice


def moves_rows_alone(make: Callable[[Iterable[nn.Parameter]], Optimizer], shape: torch.Size) -> bool:
    """Whether a row moves as before where the gradients of the others are 7 times as large.

    Args:
        make: makes the optimizer from the parameters.
        shape: of a parameter, [P, …] with P ≥ 2; its second half of rows gets the larger gradients.

    Returns:
        False also for optimizers that look at the loss anew within a step, since one decision then counts for all rows.

    Example:
        >>> from functools import partial
        >>> moves_rows_alone(partial(torch.optim.Adam, lr=0.1), torch.Size([4, 2]))
        True
        >>> moves_rows_alone(partial(torch.optim.Adafactor, lr=0.1), torch.Size([4, 2]))
        False
    """
    optimizer = make([nn.Parameter(torch.zeros(shape))])
    if isinstance(optimizer, (LBFGS, SecondOrder)):
        return False
    half = shape[0] // 2
    alone, beside = (_moved(make, shape, factor, half) for factor in (1.0, 7.0))
    return torch.equal(alone[:half], beside[:half])


def _moved(make: Callable[[Iterable[nn.Parameter]], Optimizer], shape: torch.Size, factor: float, half: int) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64))
    optimizer = make([parameter])
    for _ in range(STEPS):
        gradient = torch.randn(shape, generator=draw, dtype=torch.float64)
        gradient[half:] *= factor
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach()
