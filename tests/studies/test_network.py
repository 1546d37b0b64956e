"""A network's gradient as one vector, against NumPy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.errors import BadInput
from gradlab.studies.network import Network, distance


class Data:
    def __init__(self, batches):
        self.batches = batches

    def train_dataloader(self):
        return self.batches


def setting(model, loss, batches):
    return SimpleNamespace(parts=lambda: (model, loss, Data(batches)))


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 3, generator=generator), torch.randn(n, 1, generator=generator)) for n in (4, 2)]


def test_the_gradient_of_a_line_is_that_of_least_squares(batches):
    model = nn.Linear(3, 1, bias=False)
    network = Network.of(setting(model, nn.MSELoss(), batches))
    x, y = (np.concatenate([batch[k].double().numpy() for batch in batches]) for k in (0, 1))
    w = model.weight.detach().double().numpy()
    for rows in (np.arange(6), np.array([0, 5])):
        expected = 2 * (x[rows] @ w.T - y[rows]).T @ x[rows] / len(rows)
        chosen = torch.from_numpy(rows)
        assert network.gradient(chosen).numpy() == pytest.approx(expected[0], rel=1e-12)
        assert network.by_hand(chosen).numpy() == pytest.approx(expected[0], rel=1e-12)
    assert len(network) == 6
    assert len(Network.of(setting(model, nn.MSELoss(), batches), batches=1)) == 4
    assert model.weight.dtype == torch.float32, "the configured model stays as it is"


def test_a_parameter_that_is_not_reached_counts_as_zero(batches):
    class Spare(nn.Linear):
        def __init__(self):
            super().__init__(3, 1, bias=False)
            self.spare = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return super().forward(x) + 0 * self.spare.sum()

    network = Network.of(setting(Spare(), nn.MSELoss(), batches))
    assert distance(network.by_hand(), network.gradient()) < 1e-14


@pytest.mark.parametrize(("loss", "rows"), [(None, None), (nn.MSELoss(), [(None, None)])], ids=["loss", "data"])
def test_what_is_missing_is_said(batches, loss, rows):
    with pytest.raises(BadInput, match="this study needs"):
        Network.of(setting(nn.Linear(3, 1), loss, rows or batches))
