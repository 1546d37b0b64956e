"""Sinks take records somewhere: to TensorBoard, or into memory. Of gradlab they know records only.

`TensorBoardSink` is imported from `gradlab.sinks.tensorboard`, so that whoever only measures does not load
TensorBoard.
"""

from collections.abc import Iterable
from typing import Protocol

from gradlab.records import Record
from gradlab.sinks.memory import MemorySink

__all__ = ["MemorySink", "Sink"]


class Sink(Protocol):
    """Whatever takes records somewhere.

    Example:
        >>> sink: Sink = MemorySink()
        >>> sink.write([])
        >>> sink.close()
    """

    def write(self, records: Iterable[Record]) -> None:
        """Take the records; those of one tag come in the order of their steps."""
        ...

    def flush(self) -> None:
        """Make everything written so far readable from outside."""
        ...

    def close(self) -> None:
        """Flush, and let go of files. Closing twice is allowed."""
        ...
