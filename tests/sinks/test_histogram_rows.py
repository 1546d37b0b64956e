"""Rows of histograms, against what TensorBoard's own messages hold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.summary_pb2 import Summary

from gradlab.records import HistogramBlock
from gradlab.sinks.tensorboard import summaries
from gradlab.sinks.tensorboard.histogram_rows import MARK, HistogramRows
from gradlab.sinks.unfold import unfold

tags = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), min_size=1, max_size=3, unique=True)
numbers = st.floats(-1e30, 1e30) | st.just(MARK)


@given(tags, st.integers(1, 3), st.integers(1, 5), st.data())
def test_each_is_the_summary_that_tensorboard_would_make(tags, steps, bars, data):
    def draw(*shape):
        count = int(np.prod(shape))
        return np.array(data.draw(st.lists(numbers, min_size=count, max_size=count))).reshape(shape)

    low = draw(steps, len(tags))
    block = HistogramBlock(tuple(tags), np.arange(steps), low, low + 1, draw(steps, len(tags), bars))
    rows = HistogramRows()
    for time in range(2):  # the second time from the templates that were kept
        expected = []
        for histograms in unfold(block):
            for place, histogram in enumerate(histograms):
                summary = Summary()
                summaries.tensor(summary, histogram, first=time == 0 and place == 0)
                expected.append((histogram.step, summary))
        assert [(step, Summary.FromString(message)) for step, message in rows.of(block)] == expected


def test_one_of_nothing_is_left_out():
    edges = np.array([[np.nan], [0.0], [-np.inf]])
    block = HistogramBlock(("a",), np.array([1, 2, 3]), edges, edges + 1, np.ones((3, 1, 4)))
    rows = HistogramRows()
    ((step, message),) = rows.of(block)
    assert step == 2
    assert Summary.FromString(message).value[0].HasField("metadata")  # the first that there is
