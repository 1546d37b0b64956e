"""Small things that everything which measures gradients needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

PIECE = 1 << 17  # entries: half a megabyte of float32, which stays in a core's cache while it is read several times


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


def pieces(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Two tensors of one shape, on a CPU some rows at a time: what is made of a piece needs no new memory.

    Example:
        >>> import torch
        >>> a = torch.zeros(1000, 1000)
        >>> [len(rows) for rows, _ in pieces(a, a)]
        [131, 131, 131, 131, 131, 131, 131, 83]
    """
    if a.numel() <= PIECE or a.device.type != "cpu":
        return iter([(a, b)])
    rows = max(1, PIECE * len(a) // a.numel())
    return zip(a.split(rows), b.split(rows), strict=True)
