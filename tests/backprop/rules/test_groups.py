"""Reductions of groups, bags of embeddings and pools: what is easily got wrong, and where autograd is wrong itself.

The numbers are worked out by hand: with an upstream gradient of 1, an entry's gradient is how fast the sum of the
outputs grows with it.
"""

import pytest
import torch
import torch.nn.functional as F
from opinfo import Comparison

import gradlab

D = torch.float64


def _manual(function, *inputs):
    with gradlab.Tape() as tape:
        y = function(*inputs)
    gradients = tape.backward(y, torch.ones_like(y))
    return [gradients[x].tolist() for x in inputs]


def test_an_entry_that_is_left_out_takes_no_share_of_the_extreme():
    """With include_self=False, y is the source alone; autograd halves its gradient where x happens to be equal."""
    x, source = (torch.tensor([5.0], dtype=D, requires_grad=True) for _ in range(2))

    def reduce(x, source):
        return x.scatter_reduce(0, torch.tensor([0]), source, "amax", include_self=False)

    assert _manual(reduce, x, source) == [[0], [1]]


def test_ties_in_several_segments_share_one_gradient_each():
    """The entries of a tie move together as fast as the extreme does: their gradients add up to 1."""
    x = torch.tensor([1, 1, 0, 0, 2, 2], dtype=D, requires_grad=True)
    (gradient,) = _manual(lambda x: torch.segment_reduce(x, "max", lengths=torch.tensor([2, 4])), x)
    assert gradient == [0.5, 0.5, 0, 0, 0.5, 0.5]


def test_scatter_reduce_may_leave_a_part_of_the_source_out():
    """Autograd refuses a source larger than its places."""
    x, source = (torch.randn(n, dtype=D, requires_grad=True) for n in (3, 4))
    places = torch.tensor([0, 2])
    assert _manual(lambda x, s: x.scatter_reduce(0, places, s, "sum"), x, source) == [[1, 1, 1], [1, 1, 0, 0]]


def test_an_embedding_bag_scales_by_the_frequency_of_each_index():
    """Autograd on the CPU divides some rows by the frequency of another index (pytorch#190063)."""
    table = torch.zeros(4, 1, dtype=D, requires_grad=True)
    indices = torch.tensor([1, 1, 3])
    (gradient,) = _manual(
        lambda table: F.embedding_bag(indices, table, torch.tensor([0]), mode="sum", scale_grad_by_freq=True), table
    )
    assert gradient == [[0], [1], [0], [1]]


@pytest.mark.parametrize("p", [1.5, 2, 3])
def test_a_power_mean_of_zeros_has_the_gradient_zero(p):
    """The root's slope is infinite at 0, and the relu inside lets nothing of it through."""
    Comparison(lambda x: F.lp_pool1d(x, p, 2), (torch.zeros(1, 1, 4, dtype=D, requires_grad=True),)).check()


def test_an_undefined_gradient_stays_in_its_window():
    x = torch.randn(1, 1, 5, dtype=D, requires_grad=True)
    scale = torch.tensor([1, torch.nan], dtype=D)
    (gradient,) = _manual(lambda x: F.avg_pool1d(x, 2) * scale, x)
    assert [v == v for v in gradient[0][0]] == [True, True, False, False, True]
