"""Many scalars of many steps as TensorBoard keeps them, without a Python call for each."""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary


class ScalarRows:
    """Makes the encoded summaries of rows of scalars that share their tags.

    The encoding of a scalar is its tag and then the four bytes of its number: a summary of other numbers under the same
    tags differs from it in those bytes alone.

    Example:
        >>> (message,) = ScalarRows().of(("a", "b"), np.array([[0.5, 2.0]]))
        >>> [(value.tag, value.simple_value) for value in Summary.FromString(message).value]
        [('a', 0.5), ('b', 2.0)]
    """

    def __init__(self) -> None:
        self._templates: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._heads: dict[str, bytes] = {}

    def one(self, tag: str, value: float) -> bytes:
        """An encoded Summary of one scalar.

        Example:
            >>> Summary.FromString(ScalarRows().one("loss/train", 0.5)).value[0].simple_value
            0.5
        """
        head = self._heads.get(tag)
        if head is None:
            head = self._heads[tag] = _encoded(tag)[:-4]
        try:
            return head + struct.pack("<f", value)
        except OverflowError:  # what single precision cannot hold is infinite
            return head + struct.pack("<f", math.copysign(math.inf, value))

    def of(self, tags: tuple[str, ...], values: np.ndarray) -> Iterator[bytes]:
        """An encoded Summary for each row.

        Args:
            tags: k of them.
            values: [n, k].
        """
        if tags not in self._templates:
            self._templates[tags] = _template(tags)
        template, places = self._templates[tags]
        rows = np.tile(template, (len(values), 1))
        with np.errstate(over="ignore"):  # what single precision cannot hold is infinite
            numbers = np.ascontiguousarray(values, "<f4")
        rows[:, places] = numbers.view(np.uint8).reshape(len(values), len(places))
        return (row.tobytes() for row in rows)


def _template(tags: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A summary of these tags, as bytes, and where the bytes of each number lie in it."""
    scalars = [_encoded(tag) for tag in tags]
    ends = np.cumsum([len(scalar) for scalar in scalars])
    places = (ends[:, None] + np.arange(-4, 0)).reshape(-1)
    return np.frombuffer(b"".join(scalars), np.uint8), places


def _encoded(tag: str) -> bytes:
    return Summary(value=[Summary.Value(tag=tag, simple_value=0.0)]).SerializeToString()
