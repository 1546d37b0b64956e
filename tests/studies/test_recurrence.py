"""Gradients through time, against products of Jacobians by NumPy; and a wrong backward that must show."""

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.errors import BadInput
from gradlab.studies.recurrence import Recurrence, follow


def test_tanh_against_the_product_of_its_jacobians():
    torch.manual_seed(0)
    matrix, inputs = torch.randn(3, 3).double(), torch.randn(6, 1, 3).double()
    torch.manual_seed(1)
    fading = follow("tanh", lambda x, state: (torch.tanh(x + state[0] @ matrix.T),), inputs, (3,))
    torch.manual_seed(1)
    g = torch.randn(1, 3, dtype=torch.float64).numpy()[0]
    states = [np.zeros(3)]
    for x in inputs.numpy()[:, 0]:
        states.append(np.tanh(x + matrix.numpy() @ states[-1]))
    sizes = [np.linalg.norm(g)]
    for h in states[:0:-1]:
        g = matrix.numpy().T @ ((1 - h**2) * g)
        sizes.append(np.linalg.norm(g))
    assert fading.sizes == pytest.approx(np.array(sizes[::-1]) / sizes[0], rel=1e-12)
    assert fading.error < 1e-14


def test_both_parts_of_an_lstms_state_count():
    torch.manual_seed(0)
    cell = nn.LSTMCell(2, 2).double()
    fading = follow("lstm", cell, torch.randn(1, 1, 2).double(), (2, 2))
    torch.manual_seed(0)
    nn.LSTMCell(2, 2)
    x, direction = torch.randn(1, 1, 2).double(), torch.randn(1, 2, dtype=torch.float64)
    h, c = (torch.zeros(1, 2).double().requires_grad_() for _ in "hc")
    g = torch.autograd.grad((cell(x[0], (h, c))[0] * direction).sum(), [h, c])
    assert fading.sizes[0] == pytest.approx(float(torch.cat(g).norm() / direction.norm()))


def test_a_theory_is_a_power():
    fading = follow("half", lambda x, state: (state[0] / 2,), torch.zeros(4, 2, 3), (3,), 0.5)
    assert fading.predicted() == pytest.approx(fading.sizes)
    assert fading.per_step == pytest.approx(0.5)
    assert np.isnan(follow("half", lambda x, state: (state[0] / 2,), torch.zeros(1, 1, 1), (1,)).predicted()).all()


def test_a_wrong_backward_is_noticed():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return 1.9 * g

    fading = follow("wrong", lambda x, state: (Double.apply(state[0]),), torch.zeros(1, 1, 2), (2,))
    assert fading.error == pytest.approx(2 / 1.9 - 1, rel=1e-5)


def test_bad_numbers():
    with pytest.raises(BadInput, match="radii"):
        Recurrence(radii=[0.0])


def test_the_table_says_in_which_sense_theory_is_meant():
    found = Recurrence(hidden=4, steps=5, radii=[0.5], gate_bias=0.0)(None)
    said = {row[0]: row[2] for row in found.rows}
    assert said["linear, radius 0.5"] == "exactly 0.0312"
    assert said["tanh, radius 0.5"] == "at most 0.0312"
    assert said["rnn"] == ""
    assert said["gru, gate bias 0"] == "about 0.0312"
    assert found.numbers["tanh, radius 0.5: bound"] == 0.5**5
    assert found.numbers["linear, radius 0.5: predicted"] == 0.5**5
