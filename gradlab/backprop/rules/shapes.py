"""Small pieces of shape arithmetic that rules and the sweep share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Gradients = Tensor | Sequence["Tensor | None"]
Outputs = Tensor | Sequence[Tensor]
Dim = int | Sequence[int] | None


def sum_to(gradient: Tensor, shape: Sequence[int]) -> Tensor:
    """Sums a gradient over the dimensions along which its value was broadcast.

    A value that broadcasting repeats is used several times, so its gradient is the path sum over the repeats.

    Args:
        gradient: shaped like the broadcast result.
        shape: the shape of the value before broadcasting.

    Returns:
        A gradient of shape ``shape``.

    Raises:
        RuntimeError: a value of that shape cannot be broadcast to the gradient's.

    Example:
        >>> import torch
        >>> sum_to(torch.ones(4, 3), (1, 3))
        tensor([[4., 4., 4.]])
    """
    given = gradient.shape
    extra = len(given) - len(shape)
    if extra == 1 and given[1:] == shape:  # a bias, added to every sample
        return gradient.sum(0)
    if given == shape:
        return gradient
    if extra and given[extra:] == shape:  # what is missing stands in front
        return gradient.sum(list(range(extra)))
    repeated = [d for d in range(len(given)) if d < extra or shape[d - extra] != given[d]]
    summed = gradient.sum(repeated, keepdim=True) if repeated else gradient
    if summed.shape[max(extra, 0) :] != shape:
        raise RuntimeError(f"it gives a gradient of shape {tuple(given)} for a value of shape {tuple(shape)}")
    return summed.reshape(shape)


def end_of(sizes: Sequence[int], strides: Sequence[int], start: int) -> int:
    """The place in memory after the last element of a strided tensor.

    Example:
        >>> end_of((2, 3), (3, 1), 0)
        6
    """
    return start + 1 + sum((n - 1) * t for n, t in zip(sizes, strides, strict=True))


def zeros_for_none(gradients: Gradients, outputs: Outputs) -> list[Tensor]:
    """The upstream gradients of an operation with several outputs, with zeros where nothing flows back.

    An operation that happens to make a list of one tensor gets that tensor without a tuple around it.
    """
    if isinstance(outputs, Tensor):
        return [torch.zeros_like(outputs) if gradients is None else gradients]  # type: ignore[list-item]
    return [torch.zeros_like(y) if g is None else g for g, y in zip(gradients, outputs, strict=True)]


def dims_of(x: Tensor, dim: Dim) -> list[int]:
    """The dimensions that a reduction over ``dim`` removes, counted from the front; None or [] means all.

    Example:
        >>> import torch
        >>> dims_of(torch.ones(2, 3, 4), -1), dims_of(torch.ones(2, 3), None)
        ([2], [0, 1])
    """
    if dim is None or (isinstance(dim, Sequence) and len(dim) == 0):
        return list(range(x.dim()))
    dims = [dim] if isinstance(dim, int) else list(dim)
    return [d % max(x.dim(), 1) for d in dims] if x.dim() else []


def keep(reduced: Tensor, x: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """Gives a reduced tensor its removed dimensions back, with size 1, so that it broadcasts against ``x``."""
    if keepdim:
        return reduced
    for d in sorted(dims_of(x, dim)):
        reduced = reduced.unsqueeze(d)
    return reduced
