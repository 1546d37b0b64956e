"""Blocks of scalars and of histograms as tensors of the plugin `gradlab`, and back.

TensorBoard's own form of a scalar takes about 45 bytes, and the tag every time. A block states its tags once for a
file, in the metadata of the first event of its *structure* (which tags, how many bars):

| tag | tensor | content of the metadata, as JSON |
|---|---|---|
| gradlab/scalars/<number> | float64 [n, 1 + tags]; the step stands first | schema, kind, tags |
| gradlab/histograms/<number> | float32 [n, tags, 2 + bars]: lowest edge, highest edge, counts | schema, kind, tags |
| gradlab/histograms/<number>/steps | int64 [n] | none |
"""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import json
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from gradlab.records import HistogramBlock, ScalarBlock
from gradlab.sinks.tensorboard import summaries

SCHEMA = 1
STEPS = "/steps"


class BlockWriter:
    """Adds blocks to summaries, for one event file.

    Example:
        >>> block = ScalarBlock(("loss/train", "total/cosine"), np.arange(2), np.zeros((2, 2)))
        >>> summary = Summary()
        >>> BlockWriter().add(summary, block)
        >>> summary.value[0].tag
        'gradlab/scalars/0'
    """

    def __init__(self) -> None:
        self._known: dict[tuple, str] = {}

    def add(self, summary: Summary, block: ScalarBlock | HistogramBlock) -> None:
        """Adds one block; its tags only where the file has not had this structure yet."""
        kind = "scalars" if isinstance(block, ScalarBlock) else "histograms"
        bars = 0 if isinstance(block, ScalarBlock) else block.counts.shape[-1]
        structure = (kind, block.tags, bars)
        is_new = structure not in self._known
        tag = self._known.setdefault(structure, f"gradlab/{kind}/{len(self._known)}")
        content = json.dumps({"schema": SCHEMA, "kind": kind, "tags": block.tags}) if is_new else None
        if isinstance(block, ScalarBlock):
            together = np.concatenate([block.steps[:, None], block.values], axis=1, dtype=np.float64)
            summaries.plugin_tensor(summary, tag, together, content)
        else:
            edges = np.stack([block.low, block.high], axis=-1)
            with np.errstate(over="ignore"):  # edges beyond single precision become infinite
                together = np.concatenate([edges, block.counts], axis=-1, dtype=np.float32)
            summaries.plugin_tensor(summary, tag, together, content)
            summaries.plugin_tensor(summary, tag + STEPS, block.steps.astype(np.int64), "{}" if is_new else None)


class BlockReader:
    """The inverse, for the values of one event file in their order.

    Example:
        >>> block = ScalarBlock(("loss/train",), np.array([3]), np.array([[0.5]]))
        >>> summary = Summary()
        >>> BlockWriter().add(summary, block)
        >>> BlockReader().read(summary.value[0])
        ScalarBlock(tags=('loss/train',), steps=array([3]), values=array([[0.5]]))
    """

    def __init__(self) -> None:
        self._tags: dict[str, tuple[str, ...]] = {}
        self._histograms: dict[str, np.ndarray] = {}

    def read(self, value: Any) -> ScalarBlock | HistogramBlock | None:
        """The block that a summary's value completes; None where it completes none.

        Args:
            value: a ``Summary.Value`` whose tag begins with ``gradlab/``.
        """
        tag = value.tag
        if value.HasField("metadata") and not tag.endswith(STEPS):
            self._tags[tag] = tuple(json.loads(value.metadata.plugin_data.content)["tags"])
        if tag in self._tags:
            numbers = summaries.array_of(value.tensor)
            if tag.startswith("gradlab/scalars/"):
                return ScalarBlock(self._tags[tag], numbers[:, 0].astype(np.int64), numbers[:, 1:])
            self._histograms[tag] = numbers
        elif tag.removesuffix(STEPS) in self._histograms:
            tag = tag.removesuffix(STEPS)
            numbers = self._histograms.pop(tag)
            steps = summaries.array_of(value.tensor)
            return HistogramBlock(self._tags[tag], steps, numbers[..., 0], numbers[..., 1], numbers[..., 2:])
        return None
