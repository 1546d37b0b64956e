"""Where a population begins, and which windows are none."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.models.starts import starting_points


@pytest.mark.parametrize(
    "window",
    [
        None,
        3,
        [1, 2],
        "ab",
        ["ab", "cd"],
        [["a", "b"], ["c", "d"]],
        [[0, 1]],
        [[0, 1], [0, 1], [0, 1]],
        [[0, 1, 2], [0, 1, 2]],
        [[1, 0], [0, 1]],
        [[0, 0], [0, 1]],
        [[0, math.inf], [0, 1]],
        [[math.nan, 1], [0, 1]],
        [[False, True], [0, 1]],
    ],
)
def test_what_is_no_window_is_refused_with_what_is_one(window):
    with pytest.raises(ValueError, match=r"model\.window=.* 2 pairs of numbers such as \[-2, 2\]"):
        starting_points("random", 4, [0.0, 0.0], window)


@given(st.lists(st.tuples(st.floats(-5, 0), st.floats(1, 5)), min_size=1, max_size=3))
def test_random_points_lie_in_the_window(window):
    points = starting_points("random", 7, [0.0] * len(window), window)
    low, high = torch.tensor(window, dtype=torch.float64).T
    assert points.shape == (7, len(window))
    assert bool(((low <= points) & (points <= high)).all())
