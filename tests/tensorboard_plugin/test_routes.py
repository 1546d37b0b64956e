"""The tab's routes inside TensorBoard's own application: what they give, and what nobody can get through them."""

import json
import math
import struct
import warnings

import numpy as np
import pytest
import tab_runs
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from gradlab.records import Array, Hparams, Scalar, ScalarBlock, Text
from gradlab.sinks.tensorboard import TensorBoardSink
from gradlab.tensorboard_plugin import plugin
from gradlab.tensorboard_plugin.data import unpacked
from gradlab.tensorboard_plugin.loader import GradlabLoader

BASE = "/data/plugin/gradlab"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    sink = TensorBoardSink(folder / "plain")
    sink.write([Scalar("loss/train", 0, 0.5), Text("notes", 0, "secret"), Hparams({"lr": 0.1}, {"loss": 0.5})])
    sink.write([ScalarBlock(("total/cosine",), np.arange(3), np.array([[math.nan], [math.inf], [0.5]]))])
    points = [Array("path/point", step, np.array([step, -math.inf])) for step in range(150)]
    sink.write([*points, Array("small", 0, np.float32([[1, 2]])), Array("whole", 0, np.array(7))])
    sink.close()
    tab_runs.hostile(folder / "hostile")
    tab_runs.damaged_file(folder / "damaged")
    tab_runs.older(folder / "older")
    return folder


@pytest.fixture(scope="module")
def client(folder):
    multiplexer = EventMultiplexer(tensor_size_guidance={"gradlab": 0})
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    data = MultiplexerDataProvider(multiplexer, str(folder))
    made = GradlabLoader().load(base_plugin.TBContext(data_provider=data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "html5lib", DeprecationWarning)  # a library inside TensorBoard
        from tensorboard.backend.application import TensorBoardWSGI
    return Client(TensorBoardWSGI([made], data_provider=data))


def tag(client, run, name):
    answer = client.get(f"{BASE}/tag", query_string={"run": run, "tag": name})
    assert answer.status_code == 200, answer.text
    return unpacked(answer.data)


def refused(client, path, **query):
    answer = client.get(BASE + path, query_string=query)
    assert answer.content_type.startswith("application/json")
    return answer.status_code, answer.json["error"]


def test_runs_with_their_tags(client):
    runs = client.get(f"{BASE}/runs").json
    assert sorted(runs) == ["damaged", "hostile", "older", "plain"]
    assert sorted(runs["plain"]) == ["gradlab/scalars/0", "path/point", "small", "whole"]
    assert runs["plain"]["path/point"]["step"] == 149
    assert runs["plain"]["gradlab/scalars/0"]["about"] == {"schema": 1, "kind": "scalars", "tags": ["total/cosine"]}
    assert "graph/0/values" in runs["older"]


def test_every_step_of_a_tag_comes_with_nan_and_infinity(client):
    header, found = tag(client, "plain", "path/point")
    assert header["steps"] == list(range(150))
    assert header["shapes"] == [[2]] * 150
    assert found.reshape(-1, 2)[:, 0].tolist() == list(range(150))
    assert np.isneginf(found.reshape(-1, 2)[:, 1]).all()
    _, block = tag(client, "plain", "gradlab/scalars/0")
    np.testing.assert_array_equal(block.reshape(3, 2), [[0, math.nan], [1, math.inf], [2, 0.5]])


def test_single_precision_stays_so_and_whole_numbers_become_double(client):
    assert tag(client, "plain", "small")[1].dtype == np.float32
    header, found = tag(client, "plain", "whole")
    assert (header["shapes"], found.tolist(), found.dtype) == ([[]], [7.0], np.float64)


def test_text_stands_in_the_header(client):
    header, found = tag(client, "hostile", "graph/0")
    assert json.loads(header["texts"][0])["values"][0]["name"] == tab_runs.EVIL
    assert not found.size


@pytest.mark.parametrize("name", ["loss/train", "notes", "notes/text_summary", "_hparams_/session_start_info"])
def test_what_is_not_of_this_plugin_is_refused(client, name):
    code, message = refused(client, "/tag", run="plain", tag=name)
    assert code == 404
    assert "has nothing of gradlab's" in message
    assert name in message


def test_an_unknown_run_is_refused(client):
    assert refused(client, "/tag", run="../plain", tag="path/point")[0] == 404


def test_a_question_without_a_run_is_refused(client):
    code, message = refused(client, "/tag", tag="path/point")
    assert code == 400
    assert "name a run and a tag" in message


def test_the_page(client):
    answer = client.get(f"{BASE}/static/main.js")
    assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
    assert answer.data == (plugin.STATIC / "main.js").read_bytes()
    assert client.get(f"{BASE}/static/style.css").mimetype == "text/css"


@pytest.mark.parametrize(
    "path",
    ["../plugin.py", "..%2fplugin.py", "panels/../../plugin.py", "/etc/passwd", "%2fetc%2fpasswd", "", "missing.js"],
)
def test_nothing_but_the_page_lies_under_static(client, path):
    answer = client.get(f"{BASE}/static/{path}")
    assert answer.status_code == 404
    assert b"import" not in answer.data
    assert b"root:" not in answer.data


def test_plotly(client):
    answer = client.get(f"{BASE}/plotly.js", headers={"Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.mimetype, answer.headers["Content-Encoding"]) == (200, "text/javascript", "gzip")
    assert "max-age=86400" in answer.headers["Cache-Control"]


def test_without_plotly_it_says_what_to_install(client, monkeypatch):
    monkeypatch.setattr(plugin.importlib.util, "find_spec", lambda name: None)
    plugin._packed_plotly.cache_clear()
    code, message = refused(client, "/plotly.js")
    assert code == 404
    assert "pip install 'gradlab-torch[tab]'" in message


def test_an_error_inside_becomes_a_message(client, monkeypatch):
    def fail(*_):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("gradlab.tensorboard_plugin.data.Source.runs", fail)
    assert refused(client, "/runs") == (500, "RuntimeError: the disk is on fire")


def test_of_a_damaged_file_what_comes_before_the_damage_is_there(client):
    runs = client.get(f"{BASE}/runs").json
    assert set(runs["damaged"]) <= set(runs["hostile"])
    name = next(iter(runs["damaged"]))
    assert tag(client, "damaged", name)[0]["steps"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[1, 2]", b'{"a": NaN}', b'{"a": [{"b": Infinity}]}', b'"x"'])
def test_metadata_that_are_no_json_are_none(content):
    from gradlab.tensorboard_plugin.data import _about

    assert _about(content) == {}


def test_the_answer_is_a_length_a_header_and_numbers(client):
    """The page reads it by itself: `decoded` in api.js."""
    answer = client.get(f"{BASE}/tag", query_string={"run": "plain", "tag": "small"})
    (length,) = struct.unpack("<I", answer.data[:4])
    assert json.loads(answer.data[4 : 4 + length])["dtype"] == "float32"
    assert np.frombuffer(answer.data[4 + length :], "<f4").tolist() == [1, 2]
    assert answer.content_type == "application/octet-stream"
