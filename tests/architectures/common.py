"""What the architectures share: how they are listed, and small random data for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, Callable[[], Tensor]]


class Cases(dict[str, Callable[[], Built]]):
    """Architectures by name: each a function without arguments that returns a model and what computes its loss."""

    def __call__(self, build: Callable[[], Built]) -> Callable[[], Built]:
        assert build.__name__ not in self, build.__name__
        self[build.__name__] = build
        return build


class Residual(nn.Sequential):
    """x + f(x)"""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def images(n: int = 3, channels: int = 3, size: int = 8) -> Tensor:
    return torch.randn(n, channels, size, size)


def labels(*shape: int, classes: int = 5) -> Tensor:
    return torch.randint(0, classes, shape)
