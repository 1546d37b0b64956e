"""What every run records, also without a probe: the loss of each step, and the learning rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor

from gradlab.records import Record, Scalar, ScalarBlock
from gradlab.tensors import floats

MOST_STEPS = 512


class RunLog:
    """Keeps losses on their device until they are drained: to ask for a number would make the device wait.

    ``loss/train`` is a plain scalar at every step, so that every reader of event files finds it.

    Example:
        >>> import torch
        >>> log = RunLog()
        >>> log.add(0, "", torch.tensor(2.5), [0.1])
        >>> next(iter(log.drain()))
        Scalar(tag='loss/train', step=0, value=2.5)
    """

    def __init__(self) -> None:
        self._losses: list[tuple[int, str, Tensor]] = []
        self._rates: list[list[float]] = []

    @property
    def is_full(self) -> bool:
        return len(self._losses) >= MOST_STEPS

    def add(self, step: int, label: str, loss: Tensor, learning_rates: Iterable[float | Tensor]) -> None:
        """Notes one update.

        Args:
            step: its number.
            label: the optimizer, such as ``optimizer1/``.
            loss: detached.
            learning_rates: of each of the optimizer's parameter groups; where the members of a population have several,
                their median.
        """
        self._losses.append((step, label, loss))
        self._rates.append([r if type(r) is float else _number(r) for r in learning_rates])

    def drain(self) -> Iterator[Record]:
        """The records since the last drain."""
        values = floats(loss for _, _, loss in self._losses)
        for (step, label, _), value in zip(self._losses, values, strict=True):
            yield Scalar(f"loss/{label}train", step, value)
        blocks: defaultdict[tuple[str, ...], dict[int, list[float]]] = defaultdict(dict)
        for (step, label, _), rates in zip(self._losses, self._rates, strict=True):
            blocks[tuple(f"learning_rate/{label}group{group}" for group in range(len(rates)))][step] = rates
        for tags, rows in blocks.items():
            yield ScalarBlock(tags, np.array(list(rows), np.int64), np.array(list(rows.values())))
        self._losses.clear()
        self._rates.clear()


def _number(rate: float | Tensor) -> float:
    return float(rate.median() if isinstance(rate, Tensor) else rate)
