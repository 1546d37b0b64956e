"""What was written comes back: expected numbers are those handed to a writer, or those that TensorBoard reads."""

import json
import math
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import gradlab
from gradlab.figures import draw
from gradlab.figures.gallery import makers
from gradlab.loading import Records, Run
from gradlab.records import (
    Array,
    Breakdown,
    Figure,
    Histogram,
    HistogramBlock,
    Hparams,
    Scalar,
    ScalarBlock,
    Term,
    Text,
)
from gradlab.sinks import MemorySink
from gradlab.sinks.tensorboard import TensorBoardSink

PNG_HEADER = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x04" + b"\0\0\0\x03"


def write(folder, *batches):
    sink = TensorBoardSink(folder)
    for batch in batches:
        sink.write(batch)
    sink.close()
    return folder


def accumulated(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def points(records, tag, column="value"):
    """Steps and values of one tag, as plain numbers."""
    table = records.scalars(tag)
    rows = [i for i, name in enumerate(table["tag"]) if name == tag]
    return [table["step"][i].item() for i in rows], [table[column][i].item() for i in rows]


def file_of(folder):
    (path,) = folder.glob("events.out.tfevents.*")
    return path


def frames_of(content):
    """Where each frame of an event file begins, and where the last one ends: a frame is its message and 16 bytes."""
    places = [0]
    while places[-1] < len(content):
        (length,) = struct.unpack_from("<Q", content, places[-1])
        places.append(places[-1] + length + 16)
    return places


# --- scalars ---------------------------------------------------------------------------------------------------


def test_scalars_are_those_that_tensorboard_reads(tmp_path):
    random = np.random.default_rng(0)
    write(tmp_path, *([Scalar(f"a/{k}", 3 * i, random.normal()) for k in range(4)] for i in range(30)))
    theirs, ours = accumulated(tmp_path), gradlab.load(tmp_path)
    for tag in theirs.Tags()["scalars"]:
        events = theirs.Scalars(tag)
        assert points(ours, tag) == ([event.step for event in events], [event.value for event in events])
    table = ours.scalars()
    assert list(dict.fromkeys(table["tag"])) == theirs.Tags()["scalars"]
    assert {len(column) for column in table.values()} == {120}
    assert (table["step"].dtype, table["value"].dtype) == (np.int64, np.float64)


def test_scalars_that_are_not_finite_survive(tmp_path):
    write(tmp_path, [Scalar("a", step, value) for step, value in enumerate((math.nan, math.inf, -math.inf, -0.0))])
    values = gradlab.load(tmp_path).scalars()["value"]
    np.testing.assert_array_equal(values, [math.nan, math.inf, -math.inf, -0.0])
    assert np.signbit(values[3])


def test_a_block_gives_every_step_with_every_bit_and_no_step_twice(tmp_path):
    steps, values = np.arange(1000), np.random.default_rng(1).normal(size=(1000, 2))
    parts = [slice(0, 300), slice(300, 1000)]
    write(tmp_path, *([ScalarBlock(("a", "b"), steps[part], values[part])] for part in parts))
    assert 0 < len(accumulated(tmp_path).Scalars("a")) < 1000  # the tabs got a part of them
    records = gradlab.load(tmp_path)
    assert points(records, "a") == (steps.tolist(), values[:, 0].tolist())
    assert points(records, "b") == (steps.tolist(), values[:, 1].tolist())


def test_blocks_of_changing_structure_become_one_series(tmp_path):
    first = ScalarBlock(("a", "b"), np.arange(2), np.array([[0.1, 0.2], [1.1, 1.2]]))
    second = ScalarBlock(("b", "c"), np.arange(2, 4), np.array([[2.2, 2.3], [3.2, 3.3]]))
    records = gradlab.load(write(tmp_path, [first], [second]))
    assert points(records, "a") == ([0, 1], [0.1, 1.1])
    assert points(records, "b") == ([0, 1, 2, 3], [0.2, 1.2, 2.2, 3.2])
    assert points(records, "c") == ([2, 3], [2.3, 3.3])


def test_points_that_no_block_covers_are_kept(tmp_path):
    block = ScalarBlock(("a",), np.array([2, 3]), np.array([[2.1], [3.1]]))
    records = gradlab.load(write(tmp_path, [Scalar("a", 0, 0.5)], [block], [Scalar("a", 9, 9.5)]))
    assert points(records, "a") == ([0, 2, 3, 9], [0.5, 2.1, 3.1, 9.5])


def test_tags_are_found_by_their_beginning(tmp_path):
    records = gradlab.load(write(tmp_path, [Scalar("loss/train", 0, 1.0), Scalar("gradient/w/l2", 0, 2.0)]))
    assert records.scalars("gradient/")["tag"] == ["gradient/w/l2"]
    assert records.scalars("nothing/")["tag"] == []
    assert records.scalars("nothing/")["value"].shape == (0,)


def test_scalars_of_pytorchs_writer_come_back_in_all_its_forms(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(5):
            writer.add_scalar("plain", 0.1 * step, step)
            writer.add_scalar("tensor", 0.2 * step, step, new_style=True)
            writer.add_scalar("double", 0.3 * step, step, new_style=True, double_precision=True)
        writer.add_text("notes", "a *short* note", 3)
        writer.add_histogram("weights", np.arange(9.0), 0)
    records = gradlab.load(tmp_path)
    theirs = accumulated(tmp_path)
    assert points(records, "plain") == (list(range(5)), [event.value for event in theirs.Scalars("plain")])
    expected = [make_ndarray(event.tensor_proto).item() for event in theirs.Tensors("tensor")]
    assert points(records, "tensor") == (list(range(5)), expected)
    assert points(records, "double") == (list(range(5)), [0.3 * step for step in range(5)])
    texts = records.texts()
    assert (texts["tag"], texts["step"].tolist(), texts["markdown"]) == (
        ["notes/text_summary"],
        [3],
        ["a *short* note"],
    )


# --- everything else -------------------------------------------------------------------------------------------


def test_a_histogram_is_one_row_a_bar(tmp_path):
    first = Histogram("w", 4, np.array([-1.0, 0.0, 0.5]), np.array([3, 9]))
    second = Histogram("w", 8, np.array([0.0, 1.0]), np.array([2]))
    table = gradlab.load(write(tmp_path, [first], [second])).histograms()
    rows = np.concatenate([make_ndarray(event.tensor_proto) for event in accumulated(tmp_path).Tensors("w")])
    assert table["step"].tolist() == [4, 4, 8]
    assert np.stack([table["left"], table["right"], table["count"]], axis=1).tolist() == rows.tolist()
    assert table["tag"] == ["w"] * 3
    assert table["run"] == [tmp_path.name] * 3


def test_a_block_of_histograms_gives_every_step(tmp_path):
    low, high = np.array([[-1.0, 0.0]] * 100), np.array([[1.0, 0.5]] * 100)
    low[7, 1] = high[7, 1] = np.nan  # nothing was finite
    counts = np.random.default_rng(2).integers(0, 9, (100, 2, 4))
    counts[7, 1] = 0
    block = HistogramBlock(("a", "b"), np.arange(100), low, high, counts)
    records = gradlab.load(write(tmp_path, [block]))
    table = records.histograms("b")
    assert table["step"].tolist() == np.repeat(np.arange(100), 4).tolist()
    assert table["count"].tolist() == counts[:, 1].ravel().tolist()
    assert table["left"][:4].tolist() == [0.0, 0.125, 0.25, 0.375]
    assert table["right"][:4].tolist() == [0.125, 0.25, 0.375, 0.5]
    assert np.isnan(table["left"][28:32]).all()
    assert len(records.histograms("a")["step"]) == 400


def test_edges_too_large_for_the_file_are_infinite_or_nan_and_no_error(tmp_path):
    infinite = np.full((3, 1), np.inf)
    block = HistogramBlock(("h",), np.arange(3), -infinite, infinite, np.ones((3, 1, 4)))
    table = gradlab.load(write(tmp_path, [block])).histograms()
    assert table["count"].tolist() == [1.0] * 12
    assert not np.isfinite(table["left"]).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8", "int8", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_arrays_keep_type_shape_and_numbers(tmp_path, dtype, shape):
    values = np.resize(np.array([0, 1, 1, 0, 5, 1]), shape).astype(dtype)
    write(tmp_path, [Array("path/point", 3, values)])
    steps, read = gradlab.load(tmp_path).memory().arrays("path/point")
    assert steps.tolist() == [3]
    assert read.shape == (1, *shape)
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert read[0].tolist() == values.tolist()


def test_texts_and_the_tables_of_breakdowns_are_markdown(tmp_path):
    write(tmp_path, [Text("notes", 2, "**∂L/∂θ** | x")], [Breakdown("chain/table", 5, (TERM,))])
    table = gradlab.load(tmp_path).texts()
    assert (table["tag"], table["step"].tolist()) == (["notes", "chain/table"], [2, 5])
    assert table["markdown"][0] == "**∂L/∂θ** | x"
    assert "step 5" in table["markdown"][1]


TERM = Term(
    "hidden.1", "mul", "y = a·b", "∂y/∂a = b", (2, 1), 0.1, 0.2, 2.0, {"upstream": [0.1, -0.0], "a": [1e-300]}, 3
)
BROKEN = Term(
    "", "log", "y = log x", "1 ∕ x", (), math.inf, math.nan, -math.inf, {"x": [math.nan, math.inf, -math.inf]}
)
COMPLEX = Term("", "mul", "y = a·b", "b", (3,), 1.0, 1.0, 1.0, {"a": [1 + 2j, -2j, complex(math.nan, -math.inf)]})


@pytest.mark.parametrize("term", [TERM, BROKEN, COMPLEX], ids=lambda term: term.operation)
def test_breakdowns_come_back_as_they_were(tmp_path, term):
    breakdowns = [Breakdown("chain/table", step, (term,) * step) for step in range(3)]
    write(tmp_path, *([breakdown] for breakdown in breakdowns))
    read = gradlab.load(tmp_path).memory().breakdowns()
    assert repr(read) == repr(breakdowns)  # NaN equals nothing, not even itself


def test_memory_holds_what_the_runs_own_memory_held(tmp_path):
    records = [
        Scalar("loss/train", 0, 0.5),
        Histogram("gradient/w/histogram", 0, np.array([0.0, 1.0]), np.array([2.0])),
        Array("path/point", 0, np.array([1.0, 2.0])),
        Text("notes", 0, "a"),
        Breakdown("chain/table", 0, (TERM,)),
        Hparams({"lr": 0.25, "nesterov": True, "optimizer": "adam", "clip": "inf"}, {"loss": 0.5}),
    ]
    own = MemorySink()
    own.write(records)
    read = gradlab.load(write(tmp_path, [*records, Figure("figure/loss", 0, PNG_HEADER)])).memory()
    assert set(read.tags()) == set(own.tags()) | {"loss"}  # TensorBoard needs a metric as a scalar too
    assert read.hparams == own.hparams
    assert list(read.hparams.settings) == list(own.hparams.settings)
    for kind in (Histogram, Text, Breakdown):
        assert repr(read.records(kind)) == repr(own.records(kind)), kind
    assert list(draw(read)) == list(draw(own))


def train(lab, model, optimizer, steps):
    x, y = torch.linspace(-1, 1, 24).reshape(8, 3), torch.linspace(0, 1, 8).reshape(8, 1)
    for _ in range(steps):
        with lab.step():
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()


def test_a_watched_run_reads_back_as_what_a_memory_beside_it_received(tmp_path, capsys):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    beside = MemorySink()
    with gradlab.watch(model, optimizer, tmp_path / "run", sinks=[beside]) as lab:
        train(lab, model, optimizer, 50)
        lab.lab.flush()  # so that there are several blocks of each kind
        train(lab, model, optimizer, 80)
    records = gradlab.load(tmp_path / "run")
    read = records.memory()

    assert set(read.tags()) == set(beside.tags())
    in_blocks = 0
    for tag, (steps, values) in beside.scalars().items():
        read_steps, read_values = read.scalars()[tag]
        assert read_steps.tolist() == steps.tolist(), tag
        exact = np.array_equal(read_values, values, equal_nan=True)
        assert exact or np.array_equal(read_values, values.astype(np.float32), equal_nan=True), tag
        in_blocks += exact and not np.array_equal(values, values.astype(np.float32), equal_nan=True)
        assert points(records, tag)[0] == steps.tolist()
    assert in_blocks > 20  # most are in blocks, and have every bit
    assert len(beside.scalars()["loss/train"][0]) == 130

    ours, theirs = read.records(Histogram), beside.records(Histogram)
    assert [(h.tag, h.step) for h in ours] == [(h.tag, h.step) for h in theirs]
    assert len(ours) == 4 * 130
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.counts, other.counts)
        size = np.abs(other.edges).max()
        np.testing.assert_allclose(one.edges, other.edges, rtol=0, atol=2e-7 * size)  # edges are kept in float32
    assert records.histograms()["count"].sum() == sum(h.counts.sum() for h in theirs)

    assert [repr(b) for b in read.breakdowns()] == [repr(b) for b in beside.breakdowns()]
    assert len(read.breakdowns()) > 1
    assert read.records(Text) == beside.records(Text)
    possible = [{name for name, maker in makers("loss", None).items() if maker.ready(m)} for m in (read, beside)]
    assert possible[0] == possible[1] >= {"loss", "gradient_flow", "chain_rule", "agreement"}


def test_a_watched_run_that_is_watched_again_in_the_same_folder_goes_by_the_later_one(tmp_path, capsys):
    memories = []
    for steps in (12, 7):
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        memories.append(MemorySink())
        with gradlab.watch(model, optimizer, tmp_path, sinks=memories[-1:]) as lab:
            train(lab, model, optimizer, steps)
    for tag in ("loss/train", "gradient/weight/l2"):
        steps, values = points(gradlab.load(tmp_path), tag)
        assert steps == list(range(7))
        np.testing.assert_array_equal(np.float32(values), memories[1].scalars()[tag][1].astype(np.float32))


# --- settings --------------------------------------------------------------------------------------------------


def test_settings_metrics_and_status_are_one_row_a_run(tmp_path):
    write(tmp_path / "a", [Scalar("loss/train", 9, 0.75)], [Hparams({"lr": 0.1, "loss": "mse"}, {"loss": 0.1})])
    write(tmp_path / "b", [Hparams({"lr": 0.2, "adam": True}, {"loss": math.nan, "steps": 16777217})])
    summary = {"status": "agree", "exit_code": 0, "metrics": {"loss": "nan", "steps": 16777217}}
    (tmp_path / "b" / "summary.json").write_text(json.dumps(summary))
    table = gradlab.load(tmp_path).settings()
    assert {name: column for name, column in table.items() if name != "metric/loss"} == {
        "run": ["a", "b"],
        "lr": [0.1, 0.2],
        "loss": ["mse", None],
        "adam": [None, True],
        "metric/steps": [None, 16777217],  # float32 has no such number
        "status": [None, "agree"],
        "exit_code": [None, 0],
    }
    assert table["metric/loss"][0] == float(np.float32(0.1))
    assert math.isnan(table["metric/loss"][1])


def test_a_summary_of_someone_else_counts_as_none(tmp_path):
    write(tmp_path, [Scalar("a", 0, 1.0)])
    for text in ("{", "[1]", '{"status": "good"}', '{"exit_code": 0, "metrics": [1]}', "\0"):
        (tmp_path / "summary.json").write_text(text)
        assert gradlab.load(tmp_path).settings()["exit_code"] == [None]


def test_a_metric_that_is_no_number_is_left_out(tmp_path):
    write(tmp_path, [Scalar("a", 0, 1.0)])
    summary = {"status": "agree", "exit_code": 0, "metrics": {"loss": "inf", "gone": None, "complex": "(1+2j)"}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    table = gradlab.load(tmp_path).settings()
    assert [name for name in table if name.startswith("metric/")] == ["metric/loss"]
    assert table["metric/loss"] == [math.inf]


# --- folders ---------------------------------------------------------------------------------------------------


def test_a_single_run_is_named_after_its_folder(tmp_path, monkeypatch):
    write(tmp_path / "mine", [Scalar("a", 0, 1.0)])
    assert gradlab.load(tmp_path / "mine").runs == ["mine"]
    assert gradlab.load(str(tmp_path / "mine") + "/").scalars()["run"] == ["mine"]
    monkeypatch.chdir(tmp_path / "mine")
    assert gradlab.load(".").runs == ["mine"]
    assert gradlab.load("../mine/../mine").runs == ["mine"]
    (tmp_path / "mine" / "deep").mkdir()
    assert gradlab.load("deep/..").runs == ["mine"]


def test_runs_of_a_sweep_are_named_by_their_path(tmp_path):
    for place, name in enumerate(("x/lr=1,seed=2", "b", "x/lr=0.1")):
        write(tmp_path / name, [Scalar("loss/train", 0, float(place))])
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    records = gradlab.load(tmp_path)
    assert records.runs == ["b", "x/lr=0.1", "x/lr=1,seed=2"]
    table = records.scalars()
    assert dict(zip(table["run"], table["value"].tolist(), strict=True)) == {
        "b": 1.0,
        "x/lr=0.1": 2.0,
        "x/lr=1,seed=2": 0.0,
    }
    assert records.folder("b") == tmp_path / "b"
    assert records.memory("b").scalars()["loss/train"][1].tolist() == [1.0]


def test_a_run_with_runs_below_it_is_a_dot(tmp_path):
    write(tmp_path, [Scalar("a", 0, 1.0)])
    write(tmp_path / "below", [Scalar("a", 0, 2.0)])
    assert gradlab.load(tmp_path).runs == [".", "below"]


def test_a_run_of_several_has_to_be_named(tmp_path):
    records = Records({"a": Run(), "b": Run()})
    with pytest.raises(ValueError, match=r"2 runs: say which one; the runs: a, b"):
        records.memory()
    with pytest.raises(ValueError, match=r"no run 'c'; the runs: a, b"):
        records.memory("c")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing: give the folder of a run"):
        gradlab.load(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"no event file .*lies in .*: give the folder"):
        gradlab.load(tmp_path)
    with pytest.raises(ValueError, match=r"notes.txt is a file, .*: give the folder"):
        gradlab.load(tmp_path / "notes.txt")


def test_an_empty_event_file_is_a_run_without_records(tmp_path):
    (tmp_path / "events.out.tfevents.1.a").touch()
    records = gradlab.load(tmp_path)
    assert records.runs == [tmp_path.name]
    assert records.scalars()["run"] == []


# --- resumed runs ----------------------------------------------------------------------------------------------


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    write(tmp_path, *([Scalar("a", step, step), Scalar("b", step, step)] for step in range(10)))
    block = ScalarBlock(("a",), np.arange(6, 12), np.arange(106.0, 112.0)[:, None])
    write(tmp_path, [block, Text("note", 6, "resumed")])
    records = gradlab.load(tmp_path)
    assert points(records, "a") == (list(range(12)), [0, 1, 2, 3, 4, 5, 106, 107, 108, 109, 110, 111])
    assert points(records, "b") == (list(range(10)), list(range(10)))


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    for name, value in (("2", 20.0), ("1", 10.0)):
        write(tmp_path / name, [Scalar("a", step, value + step) for step in range(4)])
        shutil.copy(file_of(tmp_path / name), tmp_path / f"events.out.tfevents.{name}")
        shutil.rmtree(tmp_path / name)
    assert points(gradlab.load(tmp_path), "a")[1] == [20.0, 21.0, 22.0, 23.0]


def test_arrays_and_histograms_of_a_resumed_run_are_not_doubled(tmp_path):
    for start, value in ((0, 1.0), (2, 2.0)):
        counts = np.full((4, 1, 2), value)
        edges = np.full((4, 1), value)
        write(
            tmp_path,
            [Array("path/point", step, np.array([value])) for step in range(start, start + 4)],
            [HistogramBlock(("h",), np.arange(start, start + 4), -edges, edges, counts)],
        )
    memory = gradlab.load(tmp_path).memory()
    assert [array[0] for array in memory.arrays("path/point")[1].tolist()] == [1, 1, 2, 2, 2, 2]
    assert [h.step for h in memory.records(Histogram)] == [0, 1, 2, 3, 4, 5]
    assert [h.counts[0] for h in memory.records(Histogram)] == [1, 1, 2, 2, 2, 2]


def test_pytorchs_purge_step_does_what_it_does_in_tensorboard(tmp_path):
    with SummaryWriter(str(tmp_path), filename_suffix=".1") as writer:
        for step in range(8):
            writer.add_scalar("a", step, step)
            writer.add_scalar("b", step, step)
    with SummaryWriter(str(tmp_path), purge_step=5, filename_suffix=".2") as writer:
        writer.add_scalar("a", 50.0, 5)
    records, theirs = gradlab.load(tmp_path), accumulated(tmp_path)
    for tag in ("a", "b"):
        events = theirs.Scalars(tag)
        assert points(records, tag) == ([event.step for event in events], [event.value for event in events])
    assert points(records, "b")[0] == [0, 1, 2, 3, 4]


# --- broken files ----------------------------------------------------------------------------------------------


def small_run(folder):
    """A file with every form of value; the numbers of its blocks are the same in float32."""
    steps = np.arange(2)
    edges = np.ones((2, 1))
    return write(
        folder,
        [Scalar("a", 0, 0.5), Text("t", 0, "note"), Array("p", 0, np.array([1.0, 2.0]))],
        [ScalarBlock(("b", "c"), steps, np.array([[0.5, 1.5], [2.5, 3.5]]))],
        [HistogramBlock(("h",), steps, -edges, edges, np.array([[[1, 2]], [[3, 4]]]))],
        [Scalar("a", 2, 0.25), Breakdown("k", 2, (TERM,))],
        [ScalarBlock(("b", "c"), steps + 2, np.array([[4.5, 5.5], [6.5, 7.5]]))],
    )


def everything(records):
    """Rows by tag, as plain numbers and strings."""
    found = {}
    for name, table in (("s", records.scalars()), ("h", records.histograms()), ("t", records.texts())):
        columns = [column if isinstance(column, list) else column.tolist() for column in table.values()][1:]
        for tag, *row in zip(*columns, strict=True):
            found.setdefault((name, tag), []).append(row)
    memory = records.memory()
    found["arrays"] = [(a.tag, a.step, a.values.tolist()) for a in memory.records(Array)]
    found["breakdowns"] = [repr(breakdown) for breakdown in memory.breakdowns()]
    return found


def is_prefix(part, whole):
    return all(rows == whole.get(key, [])[: len(rows)] for key, rows in part.items())


def test_a_file_cut_off_anywhere_reads_back_up_to_there_in_silence(tmp_path):
    path = file_of(small_run(tmp_path / "run"))
    content = path.read_bytes()
    whole = everything(gradlab.load(path.parent))
    ends = frames_of(content)[1:]
    seen, before = [], None
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        found = everything(gradlab.load(path.parent))  # a warning would be an error here
        assert is_prefix(found, whole), cut
        # Only with its last byte does a frame count.
        assert found == before or cut in ends or cut == 0, cut
        before = found
        seen += [found] if cut in ends else []
    assert seen[-1] == whole
    assert sum(map(len, seen[0].values())) == 0  # the first frame is the file's version
    assert all(later != earlier for earlier, later in zip(seen[:-2], seen[1:-1], strict=True))


def test_a_damaged_byte_anywhere_is_one_warning_and_ends_the_reading_there(tmp_path):
    path = file_of(small_run(tmp_path / "run"))
    content = path.read_bytes()
    places = frames_of(content)
    expected = {}
    for start in places[:-1]:
        path.write_bytes(content[:start])
        expected[start] = everything(gradlab.load(path.parent))
    for place in range(len(content)):
        start = max(begin for begin in expected if begin <= place)
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = everything(gradlab.load(path.parent))
        assert found == expected[start], place
        (warning,) = caught
        assert f"{path} is damaged at byte {start} of {len(content)}" in str(warning.message)


def test_a_damaged_file_leaves_the_others_whole(tmp_path):
    write(tmp_path / "a", [Scalar("x", 0, 1.0)], [Scalar("x", 1, 2.0)])
    write(tmp_path / "b", [Scalar("x", 0, 3.0)])
    path = file_of(tmp_path / "a")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="a checksum is wrong.*What stands before it was read"):
        records = gradlab.load(tmp_path)
    assert records.scalars()["value"].tolist() == [1.0, 3.0]


def test_a_file_of_other_frames_is_one_warning(tmp_path):
    from gradlab.sinks.tensorboard.event_file import _masked_checksum as checksum

    message = b"\xff\xff no message"
    length = struct.pack("<Q", len(message))
    (tmp_path / "events.out.tfevents.1").write_bytes(length + checksum(length) + message + checksum(message))
    with pytest.warns(UserWarning, match="damaged at byte 0 of .*no event"):
        assert gradlab.load(tmp_path).scalars()["run"] == []


def test_what_a_length_promises_is_not_believed(tmp_path):
    from gradlab.sinks.tensorboard.event_file import _masked_checksum as checksum

    length = struct.pack("<Q", 2**63)
    (tmp_path / "events.out.tfevents.1").write_bytes(length + checksum(length) + b"1234")
    assert gradlab.load(tmp_path).scalars()["run"] == []


ENDLESS = """
import itertools, sys
from gradlab.records import Scalar
from gradlab.sinks.tensorboard import TensorBoardSink
sink = TensorBoardSink(sys.argv[1])
for step in itertools.count():
    sink.write([Scalar("a", step, float(step)), Scalar("b", step, -float(step))])
"""


def test_a_run_killed_while_it_writes_reads_back(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while not (files := list(tmp_path.glob("events*"))) or files[0].stat().st_size < 50_000:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(3):  # also while it goes on
            steps, values = points(gradlab.load(tmp_path), "a")
            assert steps == values == list(range(len(steps)))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    steps, values = points(gradlab.load(tmp_path), "b")
    assert steps == [-value for value in values] == list(range(len(steps)))
    assert len(steps) > 500


# --- frames ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sweep(tmp_path):
    for name in ("a", "b"):
        write(
            tmp_path / name,
            [Scalar("loss/train", 0, 0.5), Histogram("w", 0, np.array([0.0, 1.0]), np.array([2])), Text("t", 0, "x")],
            [Hparams({"clip": "inf" if name == "a" else 0.5}, {})],
        )
    return gradlab.load(tmp_path)


def test_frames_of_pandas(sweep):
    pandas = pytest.importorskip("pandas")
    frame = sweep.frame(library="pandas")
    expected = {"run": ["a", "b"], "tag": ["loss/train"] * 2, "step": [0, 0], "value": [0.5, 0.5]}
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(expected))
    assert isinstance(sweep.frame(), pandas.DataFrame)
    assert sweep.frame("scalars", "nothing").empty
    assert list(sweep.frame("histograms", "w")["count"]) == [2, 2]
    assert list(sweep.frame("texts")["markdown"]) == ["x", "x"]
    assert list(sweep.frame("settings")["clip"]) == ["inf", 0.5]


def test_frames_of_polars(sweep):
    polars = pytest.importorskip("polars")
    frame = sweep.frame(library="polars")
    assert isinstance(frame, polars.DataFrame)
    assert frame.rows() == [("a", "loss/train", 0, 0.5), ("b", "loss/train", 0, 0.5)]
    assert frame.schema["tag"] == polars.String
    assert sweep.frame("histograms", library="polars")["count"].to_list() == [2, 2]
    assert sweep.frame("settings", library="polars")["run"].to_list() == ["a", "b"]
    assert sweep.frame("settings", library="polars")["clip"].to_list() == ["inf", "0.5"]


def test_without_a_library_the_message_says_what_to_install(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # so an import of it fails as if it were not installed
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(
        ImportError, match=r"neither pandas nor polars is installed: pip install 'gradlab-torch\[pandas\]'"
    ):
        sweep.frame()
    with pytest.raises(ImportError, match=r"polars is not installed: pip install 'gradlab-torch\[polars\]'"):
        sweep.frame(library="polars")


def test_an_unknown_table_or_library_is_refused_with_the_options(sweep):
    with pytest.raises(ValueError, match="no table 'scalar'; the tables: scalars, histograms, texts, settings"):
        sweep.frame("scalar")
    with pytest.raises(ValueError, match="library='numpy': choose one of pandas, polars"):
        sweep.frame(library="numpy")
    with pytest.raises(ValueError, match="settings have no tags"):
        sweep.frame("settings", prefix="loss/")


def test_the_public_name_stays_a_function_after_its_package_was_imported():
    import gradlab.loading.records

    assert callable(gradlab.load)
    assert gradlab.load is gradlab.loading.load
