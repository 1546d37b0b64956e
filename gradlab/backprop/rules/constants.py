"""Numbers as tensors.

PyTorch turns a Python number into a tensor anew in each operation. For small tensors that takes longer than the
operation, so the most frequent numbers of the most frequent rules are made once.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def one(like: Tensor) -> Tensor:
    """The number 1 in the dtype and on the device of another tensor, without dimensions; never to be written to.

    Example:
        >>> import torch
        >>> one(torch.zeros(3, dtype=torch.float64))
        tensor(1., dtype=torch.float64)
    """
    return _number(1, like.dtype, like.device)


def zero(like: Tensor) -> Tensor:
    """The number 0 in the dtype and on the device of another tensor, without dimensions; never to be written to."""
    return _number(0, like.dtype, like.device)


@cache
def _number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return torch.full((), value, dtype=dtype, device=device)
