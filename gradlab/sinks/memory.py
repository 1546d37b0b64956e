"""Records kept in memory, and looked up by tag: what figures draw from and what tests read.

A scalar costs 16 bytes (its step and its value). For runs of any length a sink can be given a limit: a series
that reaches it is thinned to every second point, then to every fourth, and so on. The first point of a series and
its latest are always kept.
"""

from array import array
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from gradlab.records import Array, Breakdown, Histogram, HistogramBlock, Hparams, Record, Scalar, ScalarBlock
from gradlab.sinks.unfold import unfold

_Kind = TypeVar("_Kind", bound=Record)


class MissingRecordError(KeyError):
    """What is asked for did not come: nobody measured it."""


class MemorySink:
    """Keeps records and finds them again.

    Args:
        limit: the largest number of points kept of one tag (at least 2); None keeps all.

    Raises:
        ValueError: the limit is smaller than 2.

    Example:
        >>> memory = MemorySink()
        >>> memory.write([Scalar("loss/train", 0, 2.5), Scalar("loss/train", 1, 1.5)])
        >>> steps, values = memory.scalars()["loss/train"]
        >>> steps.tolist(), values.tolist()
        ([0, 1], [2.5, 1.5])
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 2:
            raise ValueError(f"limit={limit}: a series keeps its first and its latest point, so at least 2 are needed")
        self._limit = limit
        self._series: dict[tuple[type, str], _Series] = {}
        self.hparams: Hparams | None = None

    def write(self, records: Iterable[Record]) -> None:
        """Keep the records.

        Args:
            records: any records; arrays are kept, not copied.

        Example:
            >>> memory = MemorySink(limit=2)
            >>> memory.write(Scalar("loss/train", step, 0.0) for step in range(9))
            >>> memory.scalars()["loss/train"][0].tolist()
            [0, 8]
        """
        for record in records:
            if isinstance(record, Hparams):
                self.hparams = record
            elif isinstance(record, Scalar):
                self._of(Scalar, record.tag).append(record.step, record.value)
            elif isinstance(record, ScalarBlock):
                for tag, column in zip(record.tags, record.values.T.tolist(), strict=True):
                    self._of(Scalar, tag).extend(record.steps.tolist(), column)
            elif isinstance(record, HistogramBlock):
                for tag, histograms in zip(record.tags, unfold(record), strict=True):
                    self._of(Histogram, tag).extend(record.steps.tolist(), histograms)
            else:
                self._of(type(record), record.tag).append(record.step, record)

    def flush(self) -> None:
        """Do nothing: what is in memory can be read at once."""

    def close(self) -> None:
        """Do nothing: the records stay readable."""

    def tags(self, prefix: str = "") -> list[str]:
        """List the tags, each once, in the order in which they first came.

        Args:
            prefix: how the tag begins, such as ``gradient/``.

        Returns:
            The tags of every type of record.

        Example:
            >>> memory = MemorySink()
            >>> memory.write([Scalar("loss/train", 0, 1.0), Array("path/point", 0, np.zeros(2))])
            >>> memory.tags(), memory.tags("path/")
            (['loss/train', 'path/point'], ['path/point'])
        """
        return list(dict.fromkeys(tag for _, tag in self._series if tag.startswith(prefix)))

    def scalars(self, prefix: str = "") -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Find scalars by the beginning of their tag.

        Args:
            prefix: how the tag begins; the empty string finds all.

        Returns:
            For each tag its steps ([n], int64) and its values ([n], float64).

        Example:
            >>> memory = MemorySink()
            >>> memory.write([Scalar("update/theta/ratio", 3, 0.001)])
            >>> memory.scalars("update/")
            {'update/theta/ratio': (array([3]), array([0.001]))}
        """
        return {
            tag: (np.array(series.steps, np.int64), np.array(series.values))
            for (kind, tag), series in self._series.items()
            if kind is Scalar and tag.startswith(prefix)
        }

    def arrays(self, tag: str) -> tuple[np.ndarray, np.ndarray]:
        """Stack the arrays of one tag.

        Args:
            tag: the whole tag, such as ``path/point``.

        Returns:
            The steps ([n], int64) and the values ([n, ...]).

        Raises:
            KeyError: no array came under this tag.

        Example:
            >>> memory = MemorySink()
            >>> memory.write(Array("path/point", step, np.full(2, 1.0 - step)) for step in range(2))
            >>> memory.arrays("path/point")[1].tolist()
            [[1.0, 1.0], [0.0, 0.0]]
        """
        if (Array, tag) not in self._series:
            known = ", ".join(name for kind, name in self._series if kind is Array) or "none"
            raise MissingRecordError(f"no array under the tag {tag!r}; arrays that came: {known}")
        series = self._series[Array, tag]
        return np.array(series.steps, np.int64), np.stack([record.values for record in series.values])

    def breakdowns(self, prefix: str = "") -> list[Breakdown]:
        """Find breakdowns by the beginning of their tag, in the order in which they came.

        Example:
            >>> MemorySink().breakdowns()
            []
        """
        return self.records(Breakdown, prefix)

    def records(self, kind: type[_Kind], prefix: str = "") -> list[_Kind]:
        """Find the records of one type other than Scalar and Hparams by the beginning of their tag.

        Args:
            kind: Histogram, Array, Text, Figure or Breakdown.
            prefix: how the tag begins; the empty string finds all.

        Returns:
            The records, tag by tag, each tag's in the order in which they came.

        Raises:
            TypeError: scalars and hparams have lookups of their own.

        Example:
            >>> from gradlab.records import Text
            >>> memory = MemorySink()
            >>> memory.write([Text("notes", 0, "a *short* note")])
            >>> memory.records(Text)[0].markdown
            'a *short* note'
        """
        if kind is Scalar or kind is Hparams:
            raise TypeError(f"{kind.__name__} records are not kept as objects: use .scalars() and .hparams")
        found = (
            series.values for (type_, tag), series in self._series.items() if type_ is kind and tag.startswith(prefix)
        )
        return [record for values in found for record in values]

    def _of(self, kind: type, tag: str) -> "_Series":
        key = (kind, tag)
        if key not in self._series:
            self._series[key] = _Series(array("d") if kind is Scalar else [], self._limit)
        return self._series[key]


class _Series:
    """The points of one tag: number 0, then every ``stride``-th, and the latest."""

    __slots__ = ("count", "limit", "steps", "stride", "values")

    def __init__(self, values: Any, limit: int | None) -> None:
        self.steps = array("q")
        self.values = values
        self.limit = limit
        self.count = 0
        self.stride = 1

    def extend(self, steps: list[int], values: list[Any]) -> None:
        if self.limit is None:
            self.steps.extend(steps)
            self.values.extend(values)
            self.count += len(steps)
            return
        for step, value in zip(steps, values, strict=True):
            self.append(step, value)

    def append(self, step: int, value: Any) -> None:
        # The point before this one was kept as the latest; now it stays only if its turn has come.
        if self.count and (self.count - 1) % self.stride:
            self.steps.pop()
            self.values.pop()
        if len(self.steps) == self.limit:
            del self.steps[1::2]
            del self.values[1::2]
            self.stride *= 2
        self.steps.append(step)
        self.values.append(value)
        self.count += 1
