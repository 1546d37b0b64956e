"""Loss scaling, against what NumPy's float16 makes of the same numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.errors import BadInput
from gradlab.studies.loss_scaling import LARGEST, NORMAL, SMALLEST, LossScaling, in_half, measure
from gradlab.studies.network import Network

INPUTS = [2.0**-30, 2.0**-24, 2.0**-10, 1.0, 2.0**10]


class Sum(nn.Module):
    def forward(self, prediction, target):
        return prediction.sum()


@pytest.fixture
def network():
    """Its gradient is its input: one entry each."""
    x = torch.tensor([INPUTS], dtype=torch.float64)
    return Network(nn.Linear(5, 1, bias=False, dtype=torch.float64), Sum(), x, torch.zeros(1))


def test_the_limits_are_those_of_numpy():
    info = np.finfo(np.float16)
    assert (info.smallest_subnormal, info.smallest_normal, info.max) == (SMALLEST, NORMAL, LARGEST)


def test_zeros_and_infinities_are_predicted_as_numpy_rounds(network):
    exponents = [0, 4, 6, 8, 16]
    scaled = measure(network, exponents)
    with np.errstate(over="ignore"):
        stored = [(np.array(INPUTS) * 2.0**k).astype(np.float16) for k in exponents]
    assert scaled.predicted_zeros.tolist() == [np.mean(each == 0) for each in stored]
    assert scaled.predicted_nonfinite.tolist() == [np.mean(np.isinf(each)) for each in stored]
    assert scaled.predicted_zeros[[0, -1]].tolist() == [0.2, 0.0]
    assert scaled.predicted_nonfinite[[0, -1]].tolist() == [0.0, 0.4]


def test_the_gradient_itself_is_computed_in_float16(network):
    gradient = in_half(network, 4)
    assert gradient.dtype == torch.float16
    assert gradient.tolist() == [0.0, 2.0**-20, 2.0**-6, 16.0, 2.0**14]  # 2^-30 is lost in the input already
    assert network.model.weight.dtype == torch.float64


def test_one_infinity_ruins_the_layers_below():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    network = Network(model, nn.MSELoss(), torch.randn(4, 3).double(), torch.randn(4, 2).double())
    scaled = measure(network, [0, 40])
    assert scaled.nonfinite[0] == 0
    assert scaled.nonfinite[1] > 0.9
    assert scaled.first_errors[0] < 0.01
    assert not np.isfinite(scaled.first_errors[1])


def test_bad_exponents():
    with pytest.raises(BadInput, match="exponents"):
        LossScaling(exponents=[])
