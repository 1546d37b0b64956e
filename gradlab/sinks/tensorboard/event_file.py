"""The event file: a row of framed messages that TensorBoard reads while it grows.

A frame is

    length (uint64, little-endian) · masked checksum of the length · message · masked checksum of the message

with the checksum CRC32C, masked as ((c >> 15) | (c << 17)) + 0xa282ead8 modulo 2³². TensorBoard brings one in
pure Python, which would take most of the time of writing.
"""

import itertools
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

from google_crc32c import value as _crc32c
from tensorboard.compat.proto import event_pb2

_numbers = itertools.count()


class EventFile:
    """One event file, newly made.

    Args:
        folder: where it is to lie; made if it is not there.

    Raises:
        OSError: the folder or the file cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = EventFile(folder)
        ...     file.close()
        ...     file.path.stat().st_size
        40
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        directory = Path(folder)
        directory.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a run's files in the order of their names, so time comes first. Other writers' names are
        # made likewise: without a word of our own, one opened in the same second could be the same.
        origin = f"{socket.gethostname()}.{os.getpid()}.{next(_numbers)}.gradlab"
        self.path = directory / f"events.out.tfevents.{int(time.time()):010d}.{origin}"
        self._file = open(self.path, "xb")  # noqa: SIM115 (closed by close)
        self.write(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))  # pyright: ignore[reportAttributeAccessIssue]
        self.flush()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._file.closed

    def write(self, event: Any) -> None:
        """Append one Event message."""
        message = event.SerializeToString()
        length = struct.pack("<Q", len(message))
        self._file.write(length + _masked_checksum(length) + message + _masked_checksum(message))

    def flush(self) -> None:
        """Hand what was written to the operating system, where TensorBoard sees it."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close; a second time does nothing."""
        self._file.close()


def _masked_checksum(data: bytes) -> bytes:
    crc = _crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
