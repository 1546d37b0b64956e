"""The result of a sweep: a mapping from tensors to gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Union

from torch import Tensor, nn

Gradient = Union[Tensor, Callable[[], "Tensor | None"], None]  # noqa: UP007 (a callable has no | in Python 3.10)


class Gradients(Mapping[Tensor, "Tensor | None"]):
    """A gradient for every tensor that entered the tape from outside.

    Keys are tensor objects, told apart by identity. ``gradients[t]`` and ``gradients.get(t)`` are None where the
    loss does not reach ``t``: None (not reached) is not 0 (reached, and multiplied by 0).

    On a tape that was entered under ``no_grad``, the gradients of data (of what requires no gradient, where
    parameters do) are finished when they are asked for.

    Args:
        tensors: by id, what entered the tape from outside.
        gradients: by id, those that the loss reaches.

    Example:
        >>> import torch
        >>> import gradlab
        >>> layer = torch.nn.Linear(2, 1)
        >>> with gradlab.Tape() as tape:
        ...     loss = layer(torch.tensor([[1.0, 2.0]])).sum()
        >>> tape.backward(loss).named(layer)
        {'weight': tensor([[1., 2.]]), 'bias': tensor([1.])}
    """

    def __init__(self, tensors: dict[int, Tensor], gradients: dict[int, Gradient]) -> None:
        self._tensors = tensors
        self._gradients = gradients

    def __getitem__(self, tensor: Tensor) -> Tensor | None:
        key = id(tensor)
        if key not in self._tensors:
            raise KeyError(f"a tensor of shape {tuple(tensor.shape)} that did not enter the tape from outside")
        gradient = self._gradients.get(key)
        if callable(gradient):
            gradient = self._gradients[key] = gradient()
        return gradient

    def __contains__(self, tensor: object) -> bool:
        return id(tensor) in self._tensors

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors.values())

    def __len__(self) -> int:
        return len(self._tensors)

    def named(self, model: nn.Module) -> dict[str, Tensor | None]:
        """The gradients of a model's parameters by name: what ``.grad`` would be, None where it would be None."""
        return {name: self.get(parameter) for name, parameter in model.named_parameters()}
