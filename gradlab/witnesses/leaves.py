"""Copies of tensors that behave like the originals: the same strides, the same place in memory as large."""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.values import DIFFERENTIABLE


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A floating tensor in another precision; a complex one stays complex, and a whole number what it is.

    Example:
        >>> cast(torch.ones(1, dtype=torch.complex64), torch.float64).dtype
        torch.complex128
        >>> cast(torch.ones(1, dtype=torch.int64), torch.float64).dtype
        torch.int64
    """
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.dtype in DIFFERENTIABLE else tensor


def twin(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor with the same numbers, strides and offset in memory of its own, outside autograd.

    A plain ``clone`` drops gaps and expanded dimensions, and with them what some functions read (``as_strided``) or go
    wrong on.

    Args:
        tensor: of any layout; a sparse one is cloned.
        dtype: another precision; None keeps it.

    Example:
        >>> twin(torch.zeros(3, 2).t(), torch.float64).stride()
        (1, 2)
        >>> twin(torch.ones(1).expand(4)).stride()
        (0,)
    """
    content = tensor.detach()
    if content.layout is not torch.strided or content.is_conj() or content.is_neg() or not content.numel():
        content = content.clone()
        return content if dtype is None else cast(content, dtype)
    memory = content.as_strided((content.untyped_storage().nbytes() // content.element_size(),), (1,), 0)
    if memory.numel() > 1024 + 4 * content.numel():  # a small part of something large
        offset = content.storage_offset()
        span = 1 + sum((n - 1) * s for n, s in zip(content.shape, content.stride(), strict=True))
        copy = content.as_strided((span,), (1,), offset).clone()
        offset = 0
    else:
        copy, offset = memory.clone(), content.storage_offset()
    copy = copy if dtype is None else cast(copy, dtype)
    return copy.as_strided(content.shape, content.stride(), offset)


def is_compact(tensor: Tensor) -> bool:
    """Whether a tensor's entries lie in memory in their own order, with nothing around them."""
    return tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def separated(tensor: Tensor) -> Tensor:
    """A twin each of whose entries can be written by itself: an expanded one is written out.

    Example:
        >>> separated(torch.ones(1).expand(4)).stride()
        (1,)
    """
    if 0 in tensor.stride() and tensor.numel() > 1:
        return tensor.detach().clone(memory_format=torch.contiguous_format)
    return twin(tensor)
