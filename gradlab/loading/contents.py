"""What one event file holds, sorted by the type and the tag of its records.

Not every value has its plugin written beside it: only a tag's first says what the tag is for. Blocks hold every step
of their tags, and beside them stand the same numbers thinned, for TensorBoard's own tabs: at the steps that a
block covers, the block is what counts. The last write of a run that was killed may have left the thinned numbers
without their block; those are kept.
"""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

import numpy as np
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR
from tensorboard.compat.proto.types_pb2 import DataType
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray

from gradlab.records import Array, Breakdown, Graph, Histogram, HistogramBlock, Scalar, ScalarBlock, Text
from gradlab.sinks.tensorboard import summaries
from gradlab.sinks.tensorboard.blocks import BlockReader
from gradlab.sinks.unfold import unfold

# The steps [n] int64 of one tag and its points [n]: float64 of scalars, records of anything else.
Series: TypeAlias = tuple[np.ndarray, np.ndarray]
Kind: TypeAlias = type[Scalar] | type[Histogram] | type[Array] | type[Text] | type[Breakdown] | type[Graph]

BLOCKS = ("gradlab/scalars/", "gradlab/histograms/")


class Points:
    """The points of one tag: those that came one by one, and those that came in blocks.

    Example:
        >>> points = Points()
        >>> points.steps, points.values = [0, 2, 4], [0.5, 2.5, 4.5]
        >>> points.blocks.append((np.arange(3), np.arange(3.0)))
        >>> points.series(float)
        (array([0, 1, 2, 4]), array([0. , 1. , 2. , 4.5]))
    """

    __slots__ = ("blocks", "steps", "values")

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[Any] = []
        self.blocks: list[Series] = []

    def series(self, dtype: type) -> Series:
        """All of them, none twice; in the order of their steps where there are blocks, else as they came."""
        steps: np.ndarray = np.array(self.steps, np.int64)
        values: np.ndarray = np.array(self.values, dtype)
        if not self.blocks:
            return steps, values
        block_steps, block_values = (np.concatenate(column) for column in zip(*self.blocks, strict=True))
        alone = ~np.isin(steps, block_steps)
        steps, values = np.append(block_steps, steps[alone]), np.append(block_values, values[alone])
        order = np.argsort(steps, kind="stable")
        return steps[order], values[order]


class Contents:
    """Takes the events of one file.

    Attributes:
        settings: of the run, where the file says them.
        metrics: the names of the metrics that the run ended with.
        restart: the step from which on earlier files are void, where the writer has said that it starts again there.

    Example:
        >>> from tensorboard.compat.proto.event_pb2 import Event
        >>> event = Event(step=3)
        >>> _ = event.summary.value.add(tag="loss/train", simple_value=0.5)
        >>> contents = Contents()
        >>> contents.add(event)
        >>> contents.series()
        {(<class 'gradlab.records.Scalar'>, 'loss/train'): (array([3]), array([0.5]))}
    """

    def __init__(self) -> None:
        self.settings: dict[str, bool | float | str] = {}
        self.metrics: list[str] = []
        self.restart: int | None = None
        self._scalars: defaultdict[str, Points] = defaultdict(Points)
        self._others: defaultdict[tuple[Kind, str], Points] = defaultdict(Points)
        self._plugins: dict[str, str] = {}
        self._order: list[str] = []
        self._blocks = BlockReader()

    def series(self) -> dict[tuple[Kind, str], Series]:
        """What has come, tags in the order in which they first came."""
        series: dict[tuple[Kind, str], Series] = {}
        series.update(((Scalar, tag), points.series(float)) for tag, points in self._scalars.items())
        series.update((key, points.series(object)) for key, points in self._others.items())
        return series

    def add(self, event: Any) -> None:
        """Takes the values of an ``Event``; pictures are left in the file."""
        step = event.step
        if event.HasField("session_log") and event.session_log.status == event.session_log.START:
            self.restart = step
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            if kind == "simple_value":
                points = self._scalars[value.tag]
                points.steps.append(step)
                points.values.append(value.simple_value)
            elif kind == "tensor":
                self._add_tensor(step, value.tag, value)

    def _add_tensor(self, step: int, tag: str, value: Any) -> None:
        if tag.startswith(BLOCKS):
            self._add_block(self._blocks.read(value))
            return
        if tag.startswith(summaries.BREAKDOWN):
            self._add_record(summaries.breakdown_of(value.tensor))
            return
        if value.HasField("metadata"):
            self._learn(tag, value.metadata)
        match self._plugins.get(tag):
            case "scalars":
                numbers = make_ndarray(value.tensor)
                if numbers.size == 1:
                    points = self._scalars[tag]
                    points.steps.append(step)
                    points.values.append(float(numbers.item()))
            case "histograms":
                left, right, counts = _numbers(value.tensor).T
                self._add_record(Histogram(tag, step, np.append(left, right[-1:]), counts))
            case "text":
                self._add_record(Text(tag, step, b"\n\n".join(value.tensor.string_val).decode(errors="replace")))
            case "gradlab" if value.tensor.dtype == DataType.DT_STRING:
                self._add_record(Graph(tag, step, value.tensor.string_val[0].decode(errors="replace")))
            case "gradlab":
                self._add_record(Array(tag, step, _numbers(value.tensor)))

    def _learn(self, tag: str, metadata: Any) -> None:
        """What a tag is for; the first to say so is believed, as by TensorBoard."""
        plugin = metadata.plugin_data.plugin_name
        if plugin == "hparams":
            self._add_hparams(HParamsPluginData.FromString(metadata.plugin_data.content))
        elif metadata.data_class == DATA_CLASS_SCALAR:
            plugin = "scalars"
        self._plugins.setdefault(tag, plugin)

    def _add_hparams(self, content: Any) -> None:
        self.metrics += [info.name.tag for info in content.experiment.metric_infos]
        self._order += [info.name for info in content.experiment.hparam_infos]
        hparams = content.session_start_info.hparams
        # A map of protobuf has no order; the list of what is compared, which comes first, has the run's own.
        for name in dict.fromkeys([*(name for name in self._order if name in hparams), *sorted(hparams)]):
            kind = hparams[name].WhichOneof("kind")
            if kind is not None:
                self.settings[name] = getattr(hparams[name], kind)

    def _add_record(self, record: Histogram | Array | Text | Breakdown | Graph) -> None:
        points = self._others[type(record), record.tag]
        points.steps.append(record.step)
        points.values.append(record)

    def _add_block(self, block: ScalarBlock | HistogramBlock | None) -> None:
        if isinstance(block, ScalarBlock):
            for tag, column in zip(block.tags, block.values.T, strict=True):
                self._scalars[tag].blocks.append((block.steps, column))
        elif block is not None:
            for tag, histograms in zip(block.tags, unfold(block), strict=True):
                self._others[Histogram, tag].blocks.append((block.steps, np.array(histograms, object)))


def _numbers(tensor: Any) -> np.ndarray:
    """The numbers of a tensor, read-only where they can be used as they lie."""
    return summaries.array_of(tensor) if tensor.tensor_content else make_ndarray(tensor)
