"""Two small things that everything which measures gradients needs."""

from __future__ import annotations

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
    gradient = gradient.detach()
    return gradient if gradient.layout == torch.strided else gradient.to_dense()


def floats(numbers: Iterable[Tensor]) -> list[float]:
    """Single numbers of any dtype as floats, in one transfer from the device.

    Example:
        >>> import torch
        >>> floats([torch.tensor(1.5), torch.tensor(2.0, dtype=torch.float64)])
        [1.5, 2.0]
    """
    together = [number.double() for number in numbers]
    return torch.stack(together).tolist() if together else []
