"""Loaders: what hands batches to a training loop.

They are plain iterables and no ``DataLoader``, for three reasons. A batch is cut out of the tensors in one
indexing operation instead of being put together sample by sample. Iterating draws nothing from torch's global
random state, as a ``DataLoader`` does to seed its workers. And Lightning, which takes any iterable, has no
workers to warn about.
"""

from collections.abc import Iterator
from itertools import repeat

import torch
from torch import Tensor


class Batches:
    """Batches of a table held in memory.

    Args:
        x: the features, shape [N, ...].
        y: the targets, shape [N, ...].
        batch_size: rows of a batch; the last one of an epoch may have fewer.
        generator: draws a new order at the start of every epoch; ``None`` keeps the order of the table.

    Example:
        >>> table = torch.arange(5)
        >>> [x.tolist() for x, y in Batches(table, table, batch_size=2)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, generator: torch.Generator | None = None) -> None:
        self.x = x
        self.y = y
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.generator is None:
            yield from zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True)
            return
        order = torch.randperm(len(self.x), generator=self.generator)
        for rows in order.split(self.batch_size):
            yield self.x[rows], self.y[rows]


class NoBatches:
    """The batch (None, None), again and again: what ``loss(model(x), y)`` gets where there is no data.

    Args:
        steps: how many. ``None`` never ends, and then the loader has no length either, so that a trainer
            counts steps alone and no epoch ends between them.

    Example:
        >>> list(NoBatches(steps=2))
        [(None, None), (None, None)]
    """

    def __init__(self, steps: int | None = None) -> None:
        self.steps = steps

    def __len__(self) -> int:
        if self.steps is None:
            raise TypeError("an endless loader has no length")
        return self.steps

    def __iter__(self) -> Iterator[tuple[None, None]]:
        return repeat((None, None)) if self.steps is None else repeat((None, None), self.steps)
