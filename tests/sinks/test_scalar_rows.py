"""Rows of scalars, against what TensorBoard's own messages hold."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.summary_pb2 import Summary

from gradlab.sinks.tensorboard.scalar_rows import ScalarRows

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(st.lists(names, min_size=1, max_size=5), st.data())
def test_a_row_is_the_summary_that_tensorboard_would_make(tags, data):
    numbers = st.lists(st.floats(width=32, allow_nan=False), min_size=len(tags), max_size=len(tags))
    values = np.array(data.draw(st.lists(numbers, max_size=3))).reshape(-1, len(tags))
    rows = ScalarRows()
    for _ in range(2):  # the second time from the template that was kept
        for message, row in zip(rows.of(tuple(tags), values), values.tolist(), strict=True):
            scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in zip(tags, row, strict=True)]
            assert Summary.FromString(message) == Summary(value=scalars)


def test_what_single_precision_cannot_hold_is_infinite_and_nan_stays():
    (message,) = ScalarRows().of(("a", "b", "c"), np.array([[1e300, -1e300, math.nan]]))
    large, small, nan = (value.simple_value for value in Summary.FromString(message).value)
    assert (large, small) == (math.inf, -math.inf)
    assert math.isnan(nan)
