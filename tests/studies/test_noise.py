"""The noise of mini-batches, against all mini-batches that there are."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.errors import BadInput
from gradlab.studies.network import Network
from gradlab.studies.noise import GradientNoise, slope


@pytest.fixture
def network():
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (2, 1))
    return Network(nn.Linear(2, 1, dtype=torch.float64), nn.MSELoss(), x, y)


def measured(network, draws=400, sizes=(1, 2, 3)):
    return GradientNoise(sizes, draws)._measure(network)


def test_the_prediction_is_the_mean_over_all_subsets(network):
    noise, _ = measured(network)
    single = torch.stack([network.gradient(torch.tensor([k])) for k in range(5)]).numpy()
    whole = single.mean(0)
    for size in (1, 2, 3, 4, 5):
        once = [((single[list(rows)].mean(0) - whole) ** 2).sum() for rows in combinations(range(5), size)]
        assert noise.predicted(np.array([size]))[0] ** 2 == pytest.approx(np.mean(once), abs=1e-12)
    again = [((single[list(rows)].mean(0) - whole) ** 2).sum() for rows in product(range(5), repeat=3)]
    assert noise.predicted(np.array([3]), replaced=True)[0] ** 2 == pytest.approx(np.mean(again), rel=1e-12)
    assert noise.scale == pytest.approx(((single - whole) ** 2).sum(1).mean() / (whole**2).sum(), rel=1e-12)


def test_the_draws_come_near_the_prediction(network):
    noise, error = measured(network)
    assert noise.sizes.tolist() == [1, 2, 3, 5]
    assert noise.apart[:3] == pytest.approx(noise.predicted(noise.sizes[:3]), rel=0.15)
    assert noise.replaced == pytest.approx(noise.predicted(noise.sizes, replaced=True), rel=0.15)
    assert noise.apart[-1] < 1e-14
    assert noise.cosines[-1] == pytest.approx(1)
    assert error < 1e-12


def test_a_loss_that_is_no_mean_over_rows_is_noticed(network):
    summed = Network(network.model, nn.MSELoss(reduction="sum"), network.x, network.y)
    assert measured(summed, draws=2)[1] > 0.1


def test_a_slope():
    assert slope(np.array([1.0, 10.0, 100.0]), np.array([5.0, 0.5, 0.05])) == pytest.approx(-1)


def test_bad_numbers():
    with pytest.raises(BadInput, match="from 1 on"):
        GradientNoise(sizes=[0])
