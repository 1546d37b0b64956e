"""Accumulated gradients, against closed forms; and what is not the same is told from what is."""

import pytest
import torch
from torch import nn

from gradlab.errors import BadInput
from gradlab.records import Scalar
from gradlab.sinks import MemorySink
from gradlab.studies.accumulation import Accumulation, gaps_of
from gradlab.studies.network import Network


def network(loss=None):
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(12, n, generator=generator, dtype=torch.float64) for n in (3, 2))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return Network(model, loss or nn.MSELoss(), x, y)


def cases(loss=None, parts=3):
    return {case.name: case for case in Accumulation(parts, 0.5, [6, 4, 2])._cases(network(loss))}


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_what_should_be_the_same_is_and_the_rest_is_not(parts):
    found = cases(parts=parts)
    assert all((case.difference < 1e-13) == case.same for case in found.values())
    assert found["mean loss, not divided"].difference == pytest.approx(parts - 1)
    assert found["sum loss, each ÷ number of parts"].difference == pytest.approx(1 - 1 / parts)


def test_unequal_parts_by_hand():
    own = network()
    parts = [own.gradient(slice(0, 6)), own.gradient(slice(6, 10)), own.gradient(slice(10, 12))]
    whole = (6 * parts[0] + 4 * parts[1] + 2 * parts[2]) / 12
    wrong = sum(parts) / 3
    expected = float((wrong - whole).norm() / whole.norm())
    assert cases()["unequal parts, each ÷ number of parts"].difference == pytest.approx(expected)


def test_a_loss_that_is_a_sum_already_is_noticed():
    found = cases(nn.MSELoss(reduction="sum"))
    assert found["mean loss, each ÷ number of parts"].difference == pytest.approx(2 / 3)


def test_the_networks_weights_and_mode_stay():
    own = network()
    before = own.gradient()
    Accumulation(3, 0.5, [6, 4, 2])._cases(own)
    assert torch.equal(own.gradient(), before)


def test_gaps_need_the_step_in_both():
    large, small = MemorySink(), MemorySink()
    large.write([Scalar("loss/train", 0, 4.0), Scalar("loss/train", 1, 2.0)])
    small.write([Scalar("loss/train", 1, 1.0), Scalar("loss/train", 2, 1.0)])
    assert gaps_of("loss/train", large, small) == {1: -0.5}


def test_parts_that_do_not_fit():
    with pytest.raises(BadInput, match="a batch has 12 rows"):
        Accumulation(5)._check(12)
    with pytest.raises(BadInput, match="at least 2 parts"):
        Accumulation(1)
