"""An event file taken apart; `gradlab.sinks.tensorboard.event_file` says what it is made of."""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event

from gradlab.sinks.tensorboard.event_file import _masked_checksum as masked_checksum

HEAD, TAIL = 12, 4  # bytes around a message: its length and the checksum of that, and its own checksum


def events(path: Path) -> Iterator[Any]:
    """The events of one file, up to where it breaks off.

    Args:
        path: an event file; it may be growing.

    Yields:
        ``Event`` messages.

    Raises:
        OSError: the file cannot be read.

    Warns:
        UserWarning: a checksum is wrong, or a message is none: what follows cannot be trusted, and is not read.

    Example:
        >>> import tempfile
        >>> from gradlab.sinks.tensorboard.event_file import EventFile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = EventFile(folder)
        ...     file.close()
        ...     [event.file_version for event in events(file.path)]
        ['brain.Event:2']
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        place = 0
        while size - place >= HEAD + TAIL:
            head = file.read(HEAD)
            if masked_checksum(head[:8]) != head[8:]:
                return _warn(path, place, size, "the checksum of a length is wrong")
            (length,) = struct.unpack_from("<Q", head)
            # A length may be past all bounds, so it is compared before that much is asked for.
            if length > size - place - HEAD - TAIL:
                return None
            body = file.read(length + TAIL)
            if masked_checksum(body[:length]) != body[length:]:
                return _warn(path, place, size, "a checksum is wrong")
            try:
                event = Event.FromString(body[:length])
            except DecodeError:
                return _warn(path, place, size, "a message is no event of TensorBoard's")
            yield event
            place += HEAD + length + TAIL


def _warn(path: Path, place: int, size: int, what: str) -> None:
    warnings.warn(
        f"{path} is damaged at byte {place} of {size}: {what}. What stands before it was read, what follows was not; "
        "copy the file anew if it was copied",
        stacklevel=4,
    )
