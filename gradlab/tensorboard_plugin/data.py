"""From TensorBoard's data provider to what the page gets: one run and one tag a request, nothing but gradlab's own.

The answer to a request for a tag is binary: the length of a header (uint32, little-endian), the header in JSON with
spaces behind it up to a multiple of 8 bytes, and the numbers of all steps one after another, as they lie in memory
(little-endian). What is text stands in the header.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
from tensorboard import errors
from tensorboard.data import provider

from gradlab.tensorboard_plugin.loader import NAME

EVERY_STEP = 1_000_000_000
ALIGNED = 8


class Source:
    """What the runs hold for this tab.

    Args:
        data: TensorBoard's.
    """

    def __init__(self, data: provider.DataProvider) -> None:
        self._data = data

    def runs(self, ctx: Any, experiment: str) -> dict[str, dict[str, dict[str, Any]]]:
        """For each run its tags, and of each tag its last step, when that was written, and what its metadata say."""
        listed = self._data.list_tensors(ctx, experiment_id=experiment, plugin_name=NAME)
        return {
            run: {
                tag: {"step": series.max_step, "time": series.max_wall_time, "about": _about(series.plugin_content)}
                for tag, series in sorted(tags.items())
            }
            for run, tags in sorted(listed.items())
        }

    def tag(self, ctx: Any, experiment: str, run: str, tag: str) -> bytes:
        """Every step of one tag.

        Raises:
            NotFoundError: there is no such run, or it has no such tag of this plugin.
        """
        wanted = provider.RunTagFilter(runs=[run], tags=[tag])
        found = self._data.read_tensors(
            ctx, experiment_id=experiment, plugin_name=NAME, downsample=EVERY_STEP, run_tag_filter=wanted
        )
        data = found.get(run, {}).get(tag)
        if not data:
            raise errors.NotFoundError(f"the run {run!r} has nothing of gradlab's under {tag!r}")
        steps = [datum.step for datum in data]
        values = [np.asarray(datum.numpy) for datum in data]
        if any(value.dtype.kind in "OSU" for value in values):
            return packed({"steps": steps, "texts": [_text(value) for value in values]}, [])
        header = {"steps": steps, "shapes": [list(value.shape) for value in values], "dtype": _dtype(values)}
        return packed(header, [value.astype(_dtype(values), copy=False) for value in values])


def packed(header: dict[str, Any], numbers: list[np.ndarray]) -> bytes:
    """A header and numbers as bytes.

    Example:
        >>> content = packed({"dtype": "float32"}, [np.array([0.5], np.float32)])
        >>> len(content) % 8, unpacked(content)
        (4, ({'dtype': 'float32'}, array([0.5], dtype=float32)))
    """
    text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
    padding = b" " * (-(4 + len(text)) % ALIGNED)
    parts = [np.ascontiguousarray(n).astype(n.dtype.newbyteorder("<"), copy=False).tobytes() for n in numbers]
    return b"".join([struct.pack("<I", len(text) + len(padding)), text, padding, *parts])


def unpacked(content: bytes) -> tuple[dict[str, Any], np.ndarray]:
    """The header and the numbers, one after another, of what `packed` made."""
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    return header, np.frombuffer(content, np.dtype(header.get("dtype", "float64")), offset=4 + length)


def _dtype(values: list[np.ndarray]) -> str:
    """float32 where nothing is lost by it, else float64: JavaScript has no other numbers."""
    small = all(value.dtype in (np.float32, np.float16) for value in values)
    return "float32" if small else "float64"


def _text(value: np.ndarray) -> str:
    item = value.reshape(-1)[0] if value.size else b""
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)


def _about(content: bytes) -> dict[str, Any]:
    """A tag's metadata; of a damaged or foreign one, nothing."""
    try:
        about = json.loads(content or b"{}")
    except ValueError:
        return {}
    return about if isinstance(about, dict) and _is_plain(about) else {}


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold it again: it has no NaN."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not isinstance(value, float) or math.isfinite(value)
