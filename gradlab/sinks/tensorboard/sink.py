"""The sink that puts a run into one event file of TensorBoard."""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property

from tensorboard.compat.proto.summary_pb2 import Summary

from gradlab.records import Breakdown, Figure, HistogramBlock, Hparams, Record, Scalar, ScalarBlock
from gradlab.sinks.tensorboard import summaries, thinning
from gradlab.sinks.tensorboard.blocks import BlockWriter
from gradlab.sinks.tensorboard.event_file import EventFile
from gradlab.sinks.tensorboard.histogram_rows import HistogramRows
from gradlab.sinks.tensorboard.scalar_rows import ScalarRows
from gradlab.sinks.tensorboard.thinning import histogram_steps, scalar_steps


class TensorBoardSink:
    """Writes records into one event file.

    All records of one step in one `write` become one event. TensorBoard expects the steps of a tag to rise:
    where it meets a smaller one, it takes the run for restarted and forgets that tag's later points.

    A block is written whole, for `gradlab.load` and the Gradlab tab. TensorBoard's own tabs, which draw no more than
    a thousand points of a curve, get a part of its steps (see `thinning`).

    Args:
        folder: the run's folder; made if it is not there.
        flush_secs: the longest time, in seconds, between two flushes while records come.
        curves: which steps of a block TensorBoard's tabs get as scalars; steps with an outlier come besides.
        histograms: which steps of a block they get as histograms.

    Raises:
        OSError: the folder or the file cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = TensorBoardSink(folder)
        ...     sink.write([Scalar("loss/train", 0, 0.5)])
        ...     sink.close()
        ...     [name.split(".")[0] for name in os.listdir(folder)]
        ['events']
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        flush_secs: float = 10.0,
        curves: Callable[[int], bool] = scalar_steps,
        histograms: Callable[[int], bool] = histogram_steps,
    ) -> None:
        self._file = EventFile(folder)
        self._flush_secs = flush_secs
        self._curves = curves
        self._histograms = histograms
        self._blocks = BlockWriter()
        self._scalars = ScalarRows()
        self._bars = HistogramRows()
        self._started = self._written = time.time()
        self._flushed = time.monotonic()
        self._last_step = 0
        self._seen: set[str] = set()
        self._is_arranged = False

    def write(self, records: Iterable[Record]) -> None:
        """Append the records, with the present as their wall time.

        Args:
            records: any records, of one step or of several.

        Raises:
            ValueError: the sink is closed.
            OSError: the file cannot be written, as when the disk is full.
        """
        if self._file.closed:
            raise ValueError(f"the sink of {self._file.path} is closed: write before close(), or open a new sink")
        steps: defaultdict[int, _Step] = defaultdict(_Step)
        for record in records:
            self._add(steps, record)
        self._write_events(steps)
        if time.monotonic() - self._flushed >= self._flush_secs:
            self.flush()

    def _write_events(self, steps: dict[int, "_Step"]) -> None:
        """One event a step. What came together was measured since the last write: the wall times lie between."""
        since, self._written = self._written, time.time()
        pause = (self._written - since) / max(len(steps), 1)
        for place, (step, content) in enumerate(sorted(steps.items()), start=1):
            wall_time = min(since + place * pause, self._written)
            self._file.write_summary(wall_time, step, content.together())

    def flush(self) -> None:
        """Hand everything written so far to the operating system, where TensorBoard sees it.

        Raises:
            OSError: the file cannot be written.
        """
        if not self._file.closed:
            self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush and close the file; a second time does nothing.

        Raises:
            OSError: what was left could not be written.
        """
        self._file.close()

    def _add_scalar(self, content: "_Step", record: Scalar) -> None:
        self._last_step = max(self._last_step, record.step)
        content.encoded.append(self._scalars.one(record.tag, record.value))
        self._seen.add(record.tag)

    def _add(self, steps: defaultdict[int, "_Step"], record: Record) -> None:
        if isinstance(record, Scalar):  # by far the most
            self._add_scalar(steps[record.step], record)
            return
        if isinstance(record, Hparams):
            self._add_hparams(steps[self._last_step], record)
            return
        if isinstance(record, ScalarBlock | HistogramBlock):
            self._add_block(steps, record)
            return
        self._last_step = max(self._last_step, record.step)
        summary = steps[record.step].summary
        if isinstance(record, Figure):
            summaries.figure(summary, record)
        else:
            summaries.tensor(summary, record, first=record.tag not in self._seen)
        if isinstance(record, Breakdown):
            summaries.breakdown(summary, record, first=record.tag not in self._seen)
        self._seen.add(record.tag)

    def _add_block(self, steps: defaultdict[int, "_Step"], block: ScalarBlock | HistogramBlock) -> None:
        if not len(block.steps):
            return
        if not self._is_arranged:  # a run that has blocks has the curves that the layout is about
            summaries.arrangement(steps[int(block.steps[0])].summary)
            self._is_arranged = True
        self._last_step = max(self._last_step, int(block.steps[-1]))
        self._blocks.add(steps[int(block.steps[-1])].summary, block)
        if isinstance(block, ScalarBlock):
            self._seen.update(block.tags)
            rows = _rows_to_show(block, self._curves)
            shown = self._scalars.of(block.tags, block.values[rows])
            for step, message in zip(block.steps[rows].tolist(), shown, strict=True):
                steps[step].encoded.append(message)
            return
        rows = [row for row, step in enumerate(block.steps.tolist()) if self._histograms(step)]
        for step, message in self._bars.of(_part(block, rows)):
            steps[step].encoded.append(message)

    def _add_hparams(self, content: "_Step", record: Hparams) -> None:
        summaries.hparams(content.summary, record, self._started)
        for name, value in record.metrics.items():
            # The tab shows a metric's latest scalar; one that the run logged itself has it already.
            if name not in self._seen:
                content.encoded.append(self._scalars.one(name, value))


class _Step:
    """What one step's event is going to hold.

    Attributes:
        encoded: summaries that are encoded already.
        summary: everything else.
    """

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    @cached_property
    def summary(self) -> Summary:
        return Summary()

    def together(self) -> bytes:
        """One encoded summary: of such messages the concatenation is the sum."""
        rest = [self.summary.SerializeToString()] if "summary" in self.__dict__ else []
        return b"".join([*self.encoded, *rest])


def _rows_to_show(block: ScalarBlock, due: Callable[[int], bool]) -> list[int]:
    outliers = thinning.outliers(block.tags, block.values)
    return [row for row, step in enumerate(block.steps.tolist()) if outliers[row] or due(step)]


def _part(block: HistogramBlock, rows: list[int]) -> HistogramBlock:
    return HistogramBlock(block.tags, block.steps[rows], block.low[rows], block.high[rows], block.counts[rows])
