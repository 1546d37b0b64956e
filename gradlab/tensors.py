"""Two small things that everything which measures gradients needs."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def dense(gradient: Tensor) -> Tensor:
    """The same numbers, outside autograd and with every entry spelled out; only a sparse gradient is copied.

    Example:
        >>> import torch
        >>> dense(torch.eye(2).to_sparse()).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if gradient.requires_grad:
        gradient = gradient.detach()
    return gradient if gradient.layout is torch.strided else gradient.to_dense()


def floats(numbers: Iterable[Tensor]) -> list[float]:
    """Single numbers of any dtype as floats, in one transfer from the device.

    Example:
        >>> import torch
        >>> floats([torch.tensor(1.5), torch.tensor(2.0, dtype=torch.float64)])
        [1.5, 2.0]
    """
    together = list(numbers)
    if len({number.dtype for number in together}) > 1:
        together = [number.double() for number in together]
    return torch.stack(together).tolist() if together else []


def floats_or_nan(numbers: Iterable[Tensor | None]) -> list[float]:
    """As `floats`, with NaN for None.

    Example:
        >>> import torch
        >>> floats_or_nan([torch.tensor(1.5), None])
        [1.5, nan]
    """
    numbers = list(numbers)
    found = iter(floats(number for number in numbers if number is not None))
    return [math.nan if number is None else next(found) for number in numbers]
