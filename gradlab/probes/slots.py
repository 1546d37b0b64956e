"""Numbers put aside into a vector; where they stood remains their place in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

PRECISE = 4096  # vectors up to this length are small enough for float64


class Slots:
    """Takes numbers one by one, or nested as a small tensor's entries are.

    Example:
        >>> slots = Slots()
        >>> slots.add(0.5), slots.add_all([[1.0, 2.0], [3.0, 4.0]])
        (0, {'at': 1, 'shape': [2, 2]})
        >>> slots.vector().tolist()
        [0.5, 1.0, 2.0, 3.0, 4.0]
    """

    def __init__(self) -> None:
        self._numbers: list[float] = []

    def add(self, number: float) -> int:
        """The place of one number."""
        self._numbers.append(number)
        return len(self._numbers) - 1

    def add_all(self, numbers: Any, scale: float = 1.0) -> dict[str, Any]:
        """The first place and the shape of several, each divided by ``scale``; of complex ones the real part."""
        shape: list[int] = []
        inner = numbers
        while isinstance(inner, list):
            shape.append(len(inner))
            inner = inner[0] if inner else None
        place = len(self._numbers)
        self._numbers += [entry / scale for entry in _flat(numbers)]
        return {"at": place, "shape": shape}

    def vector(self) -> np.ndarray:
        """All of them: float64 where they are few, else float32."""
        with np.errstate(over="ignore"):
            return np.array(self._numbers, np.float64 if len(self._numbers) <= PRECISE else np.float32)


def _flat(numbers: Any) -> list[float]:
    if isinstance(numbers, list):
        return [entry for each in numbers for entry in _flat(each)]
    if isinstance(numbers, complex):
        return [numbers.real if math.isfinite(numbers.real) else math.nan]
    return [float(numbers)]
