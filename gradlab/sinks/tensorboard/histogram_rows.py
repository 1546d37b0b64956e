"""Many histograms of many steps as TensorBoard keeps them, without a message object for each."""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from gradlab.records import Histogram, HistogramBlock
from gradlab.sinks.tensorboard import summaries
from gradlab.sinks.unfold import edges_of

MARK = 0.1  # stands for every number in a template; its eight bytes occur nowhere else in one


class HistogramRows:
    """Makes the encoded summaries of a block's histograms, for one event file.

    The encodings of two histograms of one tag differ in their numbers alone, which stand together as bytes.

    Example:
        >>> block = HistogramBlock(("a",), np.array([3]), np.zeros((1, 1)), np.ones((1, 1)), np.array([[[5, 7]]]))
        >>> ((step, message),) = HistogramRows().of(block)
        >>> value = Summary.FromString(message).value[0]
        >>> step, value.tag, summaries.array_of(value.tensor).tolist()
        (3, 'a', [[0.0, 0.5, 5.0], [0.5, 1.0, 7.0]])
    """

    def __init__(self) -> None:
        self._templates: dict[tuple[str, int], tuple[bytes, bytes]] = {}

    def of(self, block: HistogramBlock) -> Iterator[tuple[int, bytes]]:
        """Step and encoded Summary of each histogram; one of nothing, whose edges are not finite, is left out."""
        edges = edges_of(block)
        bars = block.counts.shape[-1]
        numbers = np.stack([edges[..., :-1], edges[..., 1:], block.counts], axis=-1, dtype=np.float64).astype("<f8")
        are_there = np.isfinite(edges).all(-1)
        for place, tag in enumerate(block.tags):
            for row in np.flatnonzero(are_there[:, place]).tolist():
                # The first of a tag carries metadata, so its template is used once.
                before, after = self._templates.get((tag, bars)) or _template(tag, bars, first=True)
                if (tag, bars) not in self._templates:
                    self._templates[tag, bars] = _template(tag, bars, first=False)
                yield int(block.steps[row]), before + numbers[row, place].tobytes() + after


def _template(tag: str, bars: int, first: bool) -> tuple[bytes, bytes]:
    """What stands before and after the numbers."""
    summary = Summary()
    record = Histogram(tag, 0, np.full(bars + 1, MARK), np.full(bars, MARK))
    summaries.tensor(summary, record, first=first)
    before, _, after = summary.SerializeToString().partition(np.full(3 * bars, MARK, "<f8").tobytes())
    return before, after
