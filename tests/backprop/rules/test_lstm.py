"""A layer of an LSTM as one operation (float32 on the CPU), against autograd and against double precision.

A gradient passes a few dozen roundings (ε = 1.2e-7) in three layers and three steps: 1e-5 of it is allowed, and 1e-6
where its terms, of order 1, cancel.
"""

import copy

import pytest
import torch
from opinfo import Comparison
from torch import nn

aten = torch.ops.aten
ALLOWED = {"rtol": 1e-5, "atol": 1e-6}

SETTINGS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "both directions": {"bidirectional": True},
    "without biases": {"bias": False, "bidirectional": True},
    "three layers": {"num_layers": 3, "bidirectional": True, "batch_first": True},
}


def _lstm(setting):
    torch.manual_seed(0)
    module = nn.LSTM(5, 4, **SETTINGS[setting])
    layers = module.num_layers * (2 if module.bidirectional else 1)
    inputs = [torch.randn(size).requires_grad_() for size in ((3, 3, 5), (layers, 3, 4), (layers, 3, 4))]
    return module, inputs


def _run(module):
    def run(parameters, x, h, c):
        out, state = module(x, (h, c))
        return out, *state

    return run


@pytest.mark.parametrize("setting", SETTINGS)
def test_agrees_with_autograd_and_with_double_precision(setting):
    module, inputs = _lstm(setting)
    single = Comparison(_run(module), (list(module.parameters()), *inputs))
    if torch.backends.mkldnn.is_available():
        assert any(term.entry.op is aten.mkldnn_rnn_layer.default for term in single.terms)
    single.check(**ALLOWED)
    exact, doubles = copy.deepcopy(module).double(), [t.detach().double().requires_grad_() for t in inputs]
    outputs = _run(exact)(None, *doubles)
    upstream = [g.double() for g in single.upstream]
    expected = torch.autograd.grad(outputs, [*exact.parameters(), *doubles], upstream)
    torch.testing.assert_close([g.double() for g in single.manual], list(expected), **ALLOWED)


@pytest.mark.parametrize("place", range(3))
def test_a_gradient_that_comes_from_one_output_only(place):
    module, inputs = _lstm("three layers")
    Comparison(lambda *args: _run(module)(*args)[place], (list(module.parameters()), *inputs)).check(**ALLOWED)


def test_a_frozen_layer_passes_the_gradient_on():
    module, inputs = _lstm("both directions")
    module.requires_grad_(False)
    Comparison(_run(module), (None, *inputs)).check(**ALLOWED)
