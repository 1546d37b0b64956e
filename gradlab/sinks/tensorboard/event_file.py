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
# How Protocol Buffers announce a field of an Event: its number, and what follows (a number of eight bytes, a varint,
# a length and as many bytes).
WALL_TIME, STEP, SUMMARY = (
    bytes([event_pb2.Event.DESCRIPTOR.fields_by_name[name].number << 3 | kind])  # pyright: ignore[reportAttributeAccessIssue]
    for name, kind in (("wall_time", 1), ("step", 0), ("summary", 2))
)


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
        self._append(event.SerializeToString())

    def write_summary(self, wall_time: float, step: int, summary: bytes) -> None:
        """Append an Event message of a summary that is encoded already.

        Args:
            wall_time: in seconds since 1970.
            step: from 0.
            summary: a Summary message in bytes.

        Example:
            >>> import tempfile
            >>> from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = EventFile(folder)
            ...     file.write_summary(0.5, 7, b"")
            ...     file.close()
            ...     event_pb2.Event.FromString(list(RawEventFileLoader(str(file.path)).Load())[1]).step
            7
        """
        head = WALL_TIME + struct.pack("<d", wall_time) + STEP + _varint(step)
        self._append(head + SUMMARY + _varint(len(summary)) + summary)

    def _append(self, message: bytes) -> None:
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


def _varint(number: int) -> bytes:
    """A number from 0 as Protocol Buffers write it: seven bits a byte, lowest first; the eighth: more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
