"""The sink that puts a run into one event file of TensorBoard."""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

import os
import time
from collections import defaultdict
from collections.abc import Iterable

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from gradlab.records import Figure, Hparams, Record, Scalar
from gradlab.sinks.tensorboard import summaries
from gradlab.sinks.tensorboard.event_file import EventFile


class TensorBoardSink:
    """Writes records into one event file.

    All records of one step in one `write` become one event. TensorBoard expects the steps of a tag to rise:
    where it meets a smaller one, it takes the run for restarted and forgets that tag's later points.

    Args:
        folder: the run's folder; made if it is not there.
        flush_secs: the longest time, in seconds, between two flushes while records come.

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

    def __init__(self, folder: str | os.PathLike[str], flush_secs: float = 10.0) -> None:
        self._file = EventFile(folder)
        self._flush_secs = flush_secs
        self._started = time.time()
        self._flushed = time.monotonic()
        self._last_step = 0
        self._seen: set[str] = set()

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
        steps: defaultdict[int, Summary] = defaultdict(Summary)
        for record in records:
            self._add(steps, record)
        now = time.time()
        for step, summary in steps.items():
            self._file.write(Event(wall_time=now, step=step, summary=summary))
        if time.monotonic() - self._flushed >= self._flush_secs:
            self.flush()

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

    def _add(self, steps: defaultdict[int, Summary], record: Record) -> None:
        if isinstance(record, Hparams):
            self._add_hparams(steps[self._last_step], record)
            return
        self._last_step = max(self._last_step, record.step)
        summary = steps[record.step]
        if isinstance(record, Scalar):
            summaries.scalar(summary, record.tag, record.value)
        elif isinstance(record, Figure):
            summaries.figure(summary, record)
        else:
            summaries.tensor(summary, record, first=record.tag not in self._seen)
        self._seen.add(record.tag)

    def _add_hparams(self, summary: Summary, record: Hparams) -> None:
        summaries.hparams(summary, record, self._started)
        for name, value in record.metrics.items():
            # The tab shows a metric's latest scalar; one that the run logged itself has it already.
            if name not in self._seen:
                summaries.scalar(summary, name, value)
