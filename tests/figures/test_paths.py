"""The ways of a population's points over a surface."""

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection

from gradlab.figures import paths, style
from gradlab.losses import Himmelblau
from gradlab.probes import PathProbe
from gradlab.records import Array
from gradlab.sinks import MemorySink
from gradlab.surfaces import surface_records

STEPS, POINTS = 4, 3


@pytest.fixture
def memory():
    memory = MemorySink()
    ways = np.linspace(-1, 1, STEPS * POINTS * 2).reshape(STEPS, POINTS, 2)
    ways[2:, 1] = np.inf  # one of them diverges
    memory.write(Array("path/points", step, way) for step, way in enumerate(ways))
    memory.write(surface_records(Himmelblau(), memory))
    return memory


def test_every_point_is_drawn_from_its_start_to_its_end(memory):
    assert paths.ready(memory)
    with style.look():
        (axes, *_) = paths.figure(memory, "himmelblau").axes
    ways = memory.arrays("path/points")[1]
    drawn = [line.get_xydata() for line in axes.lines[:POINTS]]
    for point, line in enumerate(drawn):
        np.testing.assert_array_equal(line, ways[: 2 if point == 1 else STEPS, point])
    starts, ends = (dots.get_offsets() for dots in axes.collections if isinstance(dots, PathCollection))
    np.testing.assert_array_equal(starts, ways[0])
    np.testing.assert_array_equal(np.ma.getdata(ends)[[0, 2]], ways[-1][[0, 2]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "start, step 0",
        "end, step 3",
        "known minimizer",
    ]


def test_points_outside_the_plane_have_no_such_picture():
    memory = MemorySink()
    memory.write([Array("path/points", 0, np.zeros((4, 3)))])
    assert not paths.ready(memory)


def test_the_probe_takes_some_of_many_points():
    theta = torch.arange(2000.0).view(1000, 2)
    (record,) = PathProbe(most=5).records(theta, 7)
    assert (record.tag, record.step) == ("path/points", 7)
    np.testing.assert_array_equal(record.values[:, 0], 2 * np.array([0, 249, 499, 749, 999]))
    assert list(PathProbe(largest=3).records(torch.zeros(2, 4), 0)) == []
    (record,) = PathProbe().records(torch.tensor([1.0, 2.0]), 0)
    assert (record.tag, record.values.tolist()) == ("path/point", [1.0, 2.0])
