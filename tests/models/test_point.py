"""The point: θ itself, in float64, and nothing else."""

import pytest
import torch

from gradlab.models import Point


def test_theta_is_the_prediction_and_the_only_parameter():
    point = Point([-1.2, 1])
    assert point() is point.theta
    assert point(None) is point.theta
    assert [name for name, _ in point.named_parameters()] == ["theta"]
    assert point.theta.equal(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    assert point.theta.requires_grad


def test_one_number_is_every_coordinate():
    assert Point(0.5, dimension=3).theta.tolist() == [0.5, 0.5, 0.5]
    assert Point(2, dimension=1).theta.tolist() == [2.0]
    assert Point([1.0, 2.0], dimension=2).theta.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("start", "dimension", "said"),
    [
        (None, None, r"has no start\."),
        (None, 2, r"has no start\."),
        (1.0, None, r"starts at 1\.0 in every coordinate of None\."),
        (1.0, 0, r"starts at 1\.0 in every coordinate of 0\."),
        ([1.0, 2.0, 3.0], 2, r"starts at \[1\.0, 2\.0, 3\.0\], which is not a list of 2 numbers"),
        ([], None, r"starts at \[\], which is not a list of numbers"),
        ("1,2", None, r"starts at 1,2, which is not a list of numbers"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start, dimension, said):
    message = said + r".*point is the parameter vector of a surface: choose loss=quadratic, .*give model\.start"
    with pytest.raises(ValueError, match=message):
        Point(start, dimension)


def test_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"model=point takes no data: use data=none"):
        Point([0.0])(torch.zeros(4, 2))
