"""The result of a sweep: a mapping from tensors to gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn


class Gradients(Mapping[Tensor, "Tensor | None"]):
    """A gradient for every tensor that entered the tape from outside.

    Keys are tensor objects, told apart by identity. ``gradients[t]`` and ``gradients.get(t)`` are None where the
    loss does not reach ``t``: None (not reached) is not 0 (reached, and multiplied by 0).

    Example:
        >>> import torch
        >>> import gradlab
        >>> layer = torch.nn.Linear(2, 1)
        >>> with gradlab.Tape() as tape:
        ...     loss = layer(torch.tensor([[1.0, 2.0]])).sum()
        >>> tape.backward(loss).named(layer)
        {'weight': tensor([[1., 2.]]), 'bias': tensor([1.])}
    """

    def __init__(self, pairs: list[tuple[Tensor, Tensor | None]]) -> None:
        self._pairs = {id(tensor): (tensor, gradient) for tensor, gradient in pairs}

    def __getitem__(self, tensor: Tensor) -> Tensor | None:
        if id(tensor) not in self._pairs:
            raise KeyError(f"a tensor of shape {tuple(tensor.shape)} that did not enter the tape from outside")
        return self._pairs[id(tensor)][1]

    def __contains__(self, tensor: object) -> bool:
        return id(tensor) in self._pairs

    def __iter__(self) -> Iterator[Tensor]:
        return (tensor for tensor, _ in self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)

    def named(self, model: nn.Module) -> dict[str, Tensor | None]:
        """The gradients of a model's parameters by name: what ``.grad`` would be, None where it would be None."""
        return {name: self.get(parameter) for name, parameter in model.named_parameters()}
