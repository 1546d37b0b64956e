"""Each record as the message that the fitting TensorBoard tab reads.

| record | tab | message |
|---|---|---|
| Scalar | Time Series | simple_value (float32: TensorBoard reads no more of any scalar), see `scalar_rows` |
| Histogram | Distributions, Histograms | tensor [buckets, 3]: left edge, right edge, count |
| Text, Breakdown | Text | Markdown |
| Figure | Images | PNG with its width and height |
| Array | Gradlab | tensor of the plugin `gradlab` |
| Breakdown, besides | Gradlab | JSON under `gradlab/breakdown/<tag>` |
| Graph | Gradlab | JSON |
| Hparams | HParams | three messages: what is compared, this run's settings, how it ended |

The tensors of a tag need metadata that say which tab they are for; only a tag's first are read.
"""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

import json
import math
import struct
import time
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_TENSOR,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DataType
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.metadata import NULL_TENSOR
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from gradlab.records import Array, Breakdown, Figure, Graph, Histogram, Hparams, Term, Text
from gradlab.sinks.markdown import breakdown_table
from gradlab.sinks.tensorboard import layout

# NumPy's name of a type where it differs from TensorBoard's, which is otherwise the same in capitals.
_TYPE_NAMES = {"float64": "DOUBLE", "float32": "FLOAT", "float16": "HALF"}

BREAKDOWN = "gradlab/breakdown/"


def tensor(summary: Summary, record: Array | Histogram | Text | Breakdown | Graph, *, first: bool) -> None:
    """Add a record that TensorBoard keeps as a tensor.

    Args:
        summary: what the record is added to.
        record: a histogram becomes [buckets, 3] (left, right, count), a breakdown a Markdown table.
        first: whether it is the first of its tag, which carries the metadata.

    Raises:
        TypeError: TensorBoard has no such type of number.

    Example:
        >>> summary = Summary()
        >>> tensor(summary, Text("notes", 0, "tanh is *odd*"), first=True)
        >>> summary.value[0].tensor.string_val[0], summary.value[0].metadata.plugin_data.plugin_name
        (b'tanh is *odd*', 'text')
    """
    plugin, message = _tensor_of(record)
    metadata = _metadata(plugin) if first else None
    summary.value.add(tag=record.tag, tensor=message, metadata=metadata)


def plugin_tensor(summary: Summary, tag: str, values: np.ndarray, content: str | None) -> None:
    """Add a tensor for the Gradlab tab.

    Args:
        summary: what it is added to.
        tag: its tag.
        values: the numbers.
        content: what its metadata say; None where an earlier event of the tag has said it.

    Example:
        >>> summary = Summary()
        >>> plugin_tensor(summary, "gradlab/example", np.arange(3.0), "{}")
        >>> array_of(summary.value[0].tensor)
        array([0., 1., 2.])
    """
    metadata = None if content is None else _metadata("gradlab", content.encode())
    summary.value.add(tag=tag, tensor=_numbers(values), metadata=metadata)


def array_of(message: Any) -> np.ndarray:
    """The numbers of a tensor that this sink wrote; read-only, since they lie in the message's own memory."""
    name = DataType.Name(message.dtype).removeprefix("DT_")
    dtype = {v: k for k, v in _TYPE_NAMES.items()}.get(name, name.lower())
    shape = [dim.size for dim in message.tensor_shape.dim]
    return np.frombuffer(message.tensor_content, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def breakdown(summary: Summary, record: Breakdown, *, first: bool) -> None:
    """Add a breakdown as JSON, field for field: the Markdown table is for readers, and rounds.

    JSON has no NaN and no infinity: they become "NaN", "Infinity" and "-Infinity", which `float` and JavaScript's
    `Number` understand. Nor has it complex numbers: they become strings such as "(1+2j)".

    Example:
        >>> summary = Summary()
        >>> breakdown(summary, Breakdown("chain/table", 7, ()), first=True)
        >>> summary.value[0].tag, summary.value[0].tensor.string_val[0]
        ('gradlab/breakdown/chain/table', b'{"tag": "chain/table", "step": 7, "terms": []}')
    """
    metadata = _metadata("gradlab", b'{"schema": 1, "kind": "breakdown"}') if first else None
    text = json.dumps(_json(asdict(record)), ensure_ascii=False, allow_nan=False)
    summary.value.add(tag=BREAKDOWN + record.tag, tensor=_string(text), metadata=metadata)


def breakdown_of(message: Any) -> Breakdown:
    """The breakdown that `breakdown` wrote into a tensor."""
    content = json.loads(message.string_val[0])
    return Breakdown(content["tag"], content["step"], tuple(map(_term, content["terms"])))


def arrangement(summary: Summary) -> None:
    """Add the layout of the Custom Scalars tab."""
    content = TensorProto(dtype=DataType.DT_STRING, tensor_shape=TensorShapeProto(), string_val=[layout.layout()])
    summary.value.add(tag=layout.TAG, tensor=content, metadata=_metadata(layout.PLUGIN))


def figure(summary: Summary, record: Figure) -> None:
    """Add a picture; its width and height stand in bytes 16 to 24 of every PNG.

    Example:
        >>> summary = Summary()
        >>> header = b"\\x89PNG\\r\\n\\x1a\\n" + b"\\0\\0\\0\\rIHDR" + b"\\0\\0\\0\\x04" + b"\\0\\0\\0\\x03"
        >>> figure(summary, Figure("contour", 0, header))
        >>> summary.value[0].image.width, summary.value[0].image.height
        (4, 3)
    """
    width, height = struct.unpack(">II", record.png[16:24])
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=record.png)
    summary.value.add(tag=record.tag, image=image)


def hparams(summary: Summary, record: Hparams, started: float) -> None:
    """Add the three messages of the HParams tab; each stands in metadata, beside a tensor that says nothing.

    Args:
        summary: what they are added to.
        record: the settings, and the names of the metrics; the tab takes a metric's number from the scalar of
            that name.
        started: when the run began, in seconds since 1970.

    Example:
        >>> summary = Summary()
        >>> hparams(summary, Hparams({"lr": 0.1}, {"loss": 0.0}), started=0.0)
        >>> [value.tag for value in summary.value]
        ['_hparams_/experiment', '_hparams_/session_start_info', '_hparams_/session_end_info']
    """
    start = SessionStartInfo(start_time_secs=started)
    infos = []
    for name, setting in record.settings.items():
        field, type_name, value = _setting(setting)
        setattr(start.hparams[name], field, value)
        infos.append(api_pb2.HParamInfo(name=name, type=api_pb2.DataType.Value(type_name)))
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)) for name in record.metrics]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    end = SessionEndInfo(status=api_pb2.Status.Value("STATUS_SUCCESS"), end_time_secs=time.time())
    for name, content in (
        ("experiment", HParamsPluginData(experiment=experiment)),
        ("session_start_info", HParamsPluginData(session_start_info=start)),
        ("session_end_info", HParamsPluginData(session_end_info=end)),
    ):
        metadata = _metadata("hparams", content.SerializeToString())
        summary.value.add(tag=f"_hparams_/{name}", tensor=NULL_TENSOR, metadata=metadata)


def _tensor_of(record: Array | Histogram | Text | Breakdown | Graph) -> tuple[str, TensorProto]:
    if isinstance(record, Array):
        return "gradlab", _numbers(record.values)
    if isinstance(record, Graph):
        return "gradlab", _string(record.structure)
    if isinstance(record, Histogram):
        columns = [record.edges[:-1], record.edges[1:], record.counts]
        return "histograms", _numbers(np.stack(columns, axis=1, dtype=np.float64))
    text = record.markdown if isinstance(record, Text) else breakdown_table(record)
    return "text", _string(text)


def _string(text: str) -> TensorProto:
    return TensorProto(dtype=DataType.DT_STRING, tensor_shape=TensorShapeProto(), string_val=[text.encode()])


def _numbers(values: np.ndarray) -> TensorProto:
    name = values.dtype.name
    try:
        dtype = DataType.Value("DT_" + _TYPE_NAMES.get(name, name.upper()))
    except ValueError:
        raise TypeError(f"TensorBoard keeps no tensor of type {name}; use numbers, such as float64") from None
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in values.shape])
    little_endian = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return TensorProto(dtype=dtype, tensor_shape=shape, tensor_content=little_endian.tobytes())


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=data, data_class=DATA_CLASS_TENSOR)


def _setting(value: bool | float | str) -> tuple[str, str, Any]:
    if isinstance(value, bool):
        return "bool_value", "DATA_TYPE_BOOL", value
    if isinstance(value, str):
        return "string_value", "DATA_TYPE_STRING", value
    if not math.isfinite(value):
        # JSON, in which the tab receives the settings, has no NaN and no infinity: the whole tab would fail.
        return "string_value", "DATA_TYPE_STRING", str(value)
    return "number_value", "DATA_TYPE_FLOAT64", value


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    if isinstance(value, np.generic):
        return _json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value) if isinstance(value, complex) else value


def _term(content: dict[str, Any]) -> Term:
    known = {name: content[name] for name in (field.name for field in fields(Term)) if name in content}
    norms = {name: float(known[name]) for name in ("upstream", "downstream", "gain")}
    values = {name: [_entry(entry) for entry in entries] for name, entries in known["values"].items()}
    return Term(**{**known, **norms, "shape": tuple(known["shape"]), "values": values})


def _entry(content: float | str) -> Any:
    return complex(content) if isinstance(content, str) and content.endswith(("j", "j)")) else float(content)
