"""What goes into an event file comes out again, read by TensorBoard's own loaders."""

import json
import math
import struct
import threading
import zlib

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util.tensor_util import make_ndarray

from gradlab.records import Array, Breakdown, Figure, Histogram, Hparams, Scalar, Term, Text
from gradlab.sinks.tensorboard import TensorBoardSink
from gradlab.sinks.tensorboard.event_file import _masked_checksum


def write(folder, *batches):
    sink = TensorBoardSink(folder)
    for batch in batches:
        sink.write(batch)
    sink.close()


def raw_events(folder):
    (path,) = folder.iterdir()
    return [Event.FromString(message) for message in RawEventFileLoader(str(path)).Load()]


def raw_values(folder, tag):
    return [value for event in raw_events(folder) for value in event.summary.value if value.tag == tag]


def accumulated(folder):
    accumulator = EventAccumulator(str(folder), size_guidance=dict.fromkeys(("scalars", "images", "tensors"), 0))
    accumulator.Reload()
    return accumulator


def tiny_png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x7f" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_checksum_is_the_published_one_of_crc32c():
    crc = 0xE3069283  # of "123456789", the check value of CRC-32C
    masked = ((crc >> 15) + (crc << 17) + 0xA282EAD8) % 2**32
    assert _masked_checksum(b"123456789") == masked.to_bytes(4, "little")


def test_scalars_keep_steps_and_values(tmp_path):
    values = [2.5, -0.125, 0.0, 3.0e38]
    write(tmp_path, *([Scalar("loss/train", 7 * index, value)] for index, value in enumerate(values)))
    events = accumulated(tmp_path).Scalars("loss/train")
    assert [event.step for event in events] == [0, 7, 14, 21]
    assert [event.value for event in events] == pytest.approx(values, rel=2**-23)


def test_scalars_that_are_not_finite_survive(tmp_path):
    write(tmp_path, [Scalar("a", step, value) for step, value in enumerate((math.nan, math.inf, -math.inf))])
    values = [event.value for event in accumulated(tmp_path).Scalars("a")]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_wall_times_are_the_present_and_never_fall(tmp_path):
    write(tmp_path, *([Scalar("a", step, 0.0)] for step in range(20)))
    times = [event.wall_time for event in raw_events(tmp_path)]
    assert times == sorted(times)
    (path,) = tmp_path.iterdir()
    assert abs(times[-1] - path.stat().st_mtime) < 60


def test_records_of_one_step_share_an_event(tmp_path):
    write(tmp_path, [Scalar("a", 0, 1.0), Scalar("b", 0, 2.0), Scalar("a", 1, 3.0)])
    version, first, second = raw_events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert [value.tag for value in first.summary.value] == ["a", "b"]
    assert (second.step, [value.tag for value in second.summary.value]) == (1, ["a"])


def test_histograms_are_rows_of_left_right_count(tmp_path):
    histogram = Histogram("gradient/w/histogram", 4, np.array([-1.0, 0.0, 0.5]), np.array([3, 9]))
    write(tmp_path, [histogram])
    (event,) = accumulated(tmp_path).Tensors("gradient/w/histogram")
    assert event.step == 4
    assert make_ndarray(event.tensor_proto).tolist() == [[-1.0, 0.0, 3.0], [0.0, 0.5, 9.0]]
    (value,) = raw_values(tmp_path, "gradient/w/histogram")
    assert value.metadata.plugin_data.plugin_name == "histograms"


def test_only_the_first_tensor_of_a_tag_carries_metadata(tmp_path):
    write(tmp_path, [Text("notes", 0, "a")], [Text("notes", 1, "b")], [Text("other", 1, "c")])
    assert [value.HasField("metadata") for value in raw_values(tmp_path, "notes")] == [True, False]
    assert [value.HasField("metadata") for value in raw_values(tmp_path, "other")] == [True]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8", "int8", "uint8", "int32", "int64", "bool"])
def test_arrays_keep_every_bit_and_their_type(tmp_path, dtype):
    values = np.array([[0, 1, 1], [1, 0, 5]]).astype(dtype)
    write(tmp_path, [Array("path/point", 3, values)])
    (event,) = accumulated(tmp_path).Tensors("path/point")
    read = make_ndarray(event.tensor_proto)
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert read.tolist() == values.tolist()


@pytest.mark.parametrize("shape", [(), (0, 2), (1,), (2, 1, 3)])
def test_arrays_keep_their_shape(tmp_path, shape):
    write(tmp_path, [Array("a", 0, np.full(shape, 0.1))])
    (event,) = accumulated(tmp_path).Tensors("a")
    assert make_ndarray(event.tensor_proto).shape == shape


def test_arrays_that_are_not_finite_survive(tmp_path):
    write(tmp_path, [Array("a", 0, np.array([np.nan, np.inf, -np.inf, -0.0]))])
    (event,) = accumulated(tmp_path).Tensors("a")
    read = make_ndarray(event.tensor_proto)
    assert np.isnan(read[0])
    assert read[1:].tolist() == [np.inf, -np.inf, 0.0]
    assert np.signbit(read[3])


def test_an_array_in_fortran_order_is_not_turned(tmp_path):
    write(tmp_path, [Array("a", 0, np.asfortranarray(np.arange(6.0).reshape(2, 3)))])
    (event,) = accumulated(tmp_path).Tensors("a")
    assert make_ndarray(event.tensor_proto).tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_an_array_of_objects_is_refused_by_name(tmp_path):
    sink = TensorBoardSink(tmp_path)
    with pytest.raises(TypeError, match="object"):
        sink.write([Array("a", 0, np.array([None]))])
    sink.close()


def test_text_keeps_every_character(tmp_path):
    markdown = "**∂L/∂θ** → `x|y`\n\n| a | b |"
    write(tmp_path, [Text("notes", 2, markdown)])
    (event,) = accumulated(tmp_path).Tensors("notes")
    assert event.tensor_proto.string_val[0].decode() == markdown
    assert raw_values(tmp_path, "notes")[0].metadata.plugin_data.plugin_name == "text"


def test_a_breakdown_is_a_text_with_its_numbers(tmp_path):
    term = Term("hidden.1", "tanh", "y = tanh x", "1 − y²", (8, 4), 2.0, 0.5, 0.25)
    write(tmp_path, [Breakdown("chain/table", 9, (term,))])
    (value,) = raw_values(tmp_path, "chain/table")
    assert value.metadata.plugin_data.plugin_name == "text"
    text = value.tensor.string_val[0].decode()
    for part in ("step 9", "`tanh` in `hidden.1`", "`y = tanh x`", "`1 − y²`", "8 × 4", "2 × 0.25 = **0.5**"):
        assert part in text


def test_a_breakdown_is_besides_json_with_every_bit(tmp_path):
    term = Term("hidden.1", "tanh", "y = tanh x", "1 − y²", (8, 4), 0.1, math.nan, math.inf, {"x": [-math.inf, 1e-300]})
    write(tmp_path, [Breakdown("chain/table", step, (term,)) for step in (3, 9)])
    first, second = raw_values(tmp_path, "gradlab/breakdown/chain/table")
    assert first.metadata.plugin_data.plugin_name == "gradlab"
    assert not second.HasField("metadata")
    assert json.loads(second.tensor.string_val[0], parse_constant=pytest.fail) == {
        "tag": "chain/table",
        "step": 9,
        "terms": [
            {
                "module": "hidden.1",
                "operation": "tanh",
                "formula": "y = tanh x",
                "local": "1 − y²",
                "shape": [8, 4],
                "upstream": 0.1,
                "downstream": "NaN",
                "gain": "Infinity",
                "values": {"x": ["-Infinity", 1e-300]},
                "place": 0,
            }
        ],
    }


def test_a_figure_keeps_its_bytes_and_size(tmp_path):
    png = tiny_png(5, 3)
    write(tmp_path, [Figure("figure/loss", 6, png)])
    (image,) = accumulated(tmp_path).Images("figure/loss")
    assert (image.step, image.width, image.height) == (6, 5, 3)
    assert image.encoded_image_string == png


SETTINGS = {"optimizer": "adam", "lr": 0.25, "steps": 200, "nesterov": True, "clip": math.inf}


def test_hparams_are_read_by_their_plugin(tmp_path):
    write(tmp_path, [Scalar("loss/train", 9, 0.75)], [Hparams(SETTINGS, {"final": 0.5, "loss/train": 0.75})])
    content = {
        value.tag: value.metadata.plugin_data.content
        for event in raw_events(tmp_path)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME
    }
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["optimizer"].string_value == "adam"
    assert start.hparams["lr"].number_value == 0.25
    assert start.hparams["steps"].number_value == 200
    assert start.hparams["nesterov"].bool_value is True
    assert start.hparams["clip"].string_value == "inf"
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS
    assert end.end_time_secs >= start.start_time_secs > 0
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert [info.name for info in experiment.hparam_infos] == list(SETTINGS)
    assert [info.name.tag for info in experiment.metric_infos] == ["final", "loss/train"]
    types = {info.name: info.type for info in experiment.hparam_infos}
    assert types["lr"] == api_pb2.DATA_TYPE_FLOAT64
    assert types["nesterov"] == api_pb2.DATA_TYPE_BOOL
    assert types["clip"] == api_pb2.DATA_TYPE_STRING


def test_metrics_become_scalars_only_where_the_run_logged_none(tmp_path):
    write(tmp_path, [Scalar("loss/train", 9, 0.75)], [Hparams({}, {"final": 0.5, "loss/train": 0.75})])
    accumulator = accumulated(tmp_path)
    assert [(event.step, event.value) for event in accumulator.Scalars("final")] == [(9, 0.5)]
    assert len(accumulator.Scalars("loss/train")) == 1


def test_the_server_lists_each_record_under_its_tab(tmp_path):
    records = [
        Scalar("scalar", 0, 1.0),
        Histogram("histogram", 0, np.array([0.0, 1.0]), np.array([2])),
        Text("text", 0, "a"),
        Array("array", 0, np.zeros(2)),
        Figure("figure", 0, tiny_png(1, 1)),
        Hparams(SETTINGS, {"scalar": 1.0}),
    ]
    write(tmp_path / "run", records)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
    asked = {"ctx": RequestContext(), "experiment_id": ""}
    assert list(provider.list_scalars(**asked, plugin_name="scalars")["run"]) == ["scalar"]
    assert list(provider.list_tensors(**asked, plugin_name="histograms")["run"]) == ["histogram"]
    assert list(provider.list_tensors(**asked, plugin_name="text")["run"]) == ["text"]
    assert list(provider.list_tensors(**asked, plugin_name="gradlab")["run"]) == ["array"]
    assert list(provider.list_blob_sequences(**asked, plugin_name="images")["run"]) == ["figure"]
    hparams = {metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG}
    assert set(provider.list_tensors(**asked, plugin_name="hparams")["run"]) == hparams


def test_there_is_one_event_file_whatever_is_written(tmp_path):
    records = [Scalar("a", 0, 1.0), Text("b", 0, "c"), Array("d", 5, np.zeros(3)), Hparams({"e": 1.0}, {"f": 2.0})]
    write(tmp_path / "new" / "run", records, [], records[:1])
    (path,) = (tmp_path / "new" / "run").iterdir()
    assert path.name.startswith("events.out.tfevents.")


def test_two_sinks_of_one_folder_do_not_share_a_file(tmp_path):
    first, second = TensorBoardSink(tmp_path), TensorBoardSink(tmp_path)
    first.close()
    second.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_flush_makes_records_readable_before_the_end(tmp_path):
    sink = TensorBoardSink(tmp_path)
    sink.write([Scalar("a", 0, 1.0)])
    sink.flush()
    assert len(accumulated(tmp_path).Scalars("a")) == 1
    sink.close()


def test_writing_flushes_by_itself_when_it_is_time(tmp_path):
    sink = TensorBoardSink(tmp_path, flush_secs=0.0)
    sink.write([Scalar("a", 0, 1.0)])
    assert len(accumulated(tmp_path).Scalars("a")) == 1
    sink.close()


def test_writing_after_close_is_refused_and_adds_nothing(tmp_path):
    sink = TensorBoardSink(tmp_path)
    sink.close()
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="closed"):
        sink.write([Scalar("a", 0, 1.0)])
    assert path.read_bytes() == before


def test_closing_twice_is_allowed_and_leaves_no_thread(tmp_path):
    threads = set(threading.enumerate())
    sink = TensorBoardSink(tmp_path)
    sink.write([Scalar("a", 0, 1.0)])
    assert set(threading.enumerate()) == threads
    sink.close()
    sink.close()
    sink.flush()
    assert set(threading.enumerate()) == threads
    assert len(raw_events(tmp_path)) == 2


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OSError, match="file"):
            TensorBoardSink(folder)
