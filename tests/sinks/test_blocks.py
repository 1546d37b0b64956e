"""Blocks in an event file: whole for gradlab, thinned for TensorBoard, and nothing that stands out is lost."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import metadata
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

import gradlab
from gradlab.records import HistogramBlock, ScalarBlock
from gradlab.sinks import MemorySink
from gradlab.sinks.tensorboard import TensorBoardSink
from gradlab.sinks.tensorboard.thinning import histogram_steps, outliers, scalar_steps

STEPS = 3000
TAGS = ("total/norm_before_clipping", "gradient/w/l2")


def accumulated(folder):
    accumulator = EventAccumulator(str(folder), size_guidance=dict.fromkeys(("scalars", "tensors"), 0))
    accumulator.Reload()
    return accumulator


@pytest.fixture(scope="module")
def numbers():
    random = np.random.default_rng(0)
    values = 1 + 0.1 * random.random((STEPS, 2))
    values[2011, 0] = 50.0  # at a step that thinning would leave out
    values[2345, 0] = np.nan
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("run")
    sink = TensorBoardSink(path)
    for start in range(0, STEPS, 250):
        rows = slice(start, start + 250)
        steps = np.arange(STEPS)[rows]
        sink.write([ScalarBlock(TAGS, steps, numbers[rows])])
        edges = np.full((250, 1), -1.0), np.full((250, 1), 2.0)
        sink.write([HistogramBlock(("gradient/w/histogram",), steps, *edges, np.full((250, 1, 3), 4.0))])
    sink.close()
    return path


def test_a_block_reads_back_whole(folder, numbers):
    columns = gradlab.load(folder).scalars("gradient/w/l2")
    assert columns["step"].tolist() == list(range(STEPS))
    assert np.array_equal(columns["value"], numbers[:, 1])


def test_tensorboard_gets_a_part_and_every_spike(folder, numbers):
    events = accumulated(folder).Scalars(TAGS[0])
    steps = [event.step for event in events]
    assert not scalar_steps(2011)
    assert not scalar_steps(2345)
    assert {2011, 2345} <= set(steps)
    assert steps == sorted({step for step in range(STEPS) if scalar_steps(step)} | {2011, 2345})
    assert [event.value for event in events] == pytest.approx(numbers[steps, 0], rel=1e-6, nan_ok=True)


def test_histograms_come_at_some_steps(folder):
    events = accumulated(folder).Tensors("gradient/w/histogram")
    assert [event.step for event in events] == [step for step in range(STEPS) if histogram_steps(step)]
    (left, right, count), *_ = np.frombuffer(events[0].tensor_proto.tensor_content).reshape(3, 3)
    assert (left, right, count) == (-1, 0, 4)


def test_the_run_arranges_the_custom_scalars_tab(folder):
    (event,) = accumulated(folder).Tensors(metadata.CONFIG_SUMMARY_TAG)
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    assert len(layout.category) == 6
    patterns = [tag for category in layout.category for chart in category.chart for tag in chart.multiline.tag]
    assert len(patterns) == len(set(patterns)) > 10


def test_wall_times_lie_between_the_writes(folder):
    times = [event.wall_time for event in accumulated(folder).Scalars(TAGS[0])]
    assert times == sorted(times)
    assert len(set(times)) > 100


def test_an_outlier_is_judged_by_its_neighbours():
    values = np.array([[1.0, 1.0], [1.0, 90.0], [9.0, 1.0], [1.0, 1.0], [np.inf, 1.0], [2.0, 1.0]])
    assert outliers(TAGS, values).tolist() == [False, False, True, False, True, False]
    assert outliers(("partial/w[0]",), values[:, :1]).tolist() == [False] * 6


def test_memory_keeps_a_block_as_its_single_scalars(numbers):
    memory, thinned = MemorySink(), MemorySink(limit=100)
    for sink in (memory, thinned):
        sink.write([ScalarBlock(TAGS, np.arange(STEPS), numbers)])
    steps, values = memory.scalars()["gradient/w/l2"]
    assert np.array_equal(steps, np.arange(STEPS))
    assert np.array_equal(values, numbers[:, 1])
    steps, values = thinned.scalars()["gradient/w/l2"]
    assert len(steps) <= 100
    assert np.array_equal(values, numbers[steps, 1])
