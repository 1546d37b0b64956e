"""Theory of the gradient over depth: closed forms, and averages over many networks that are really drawn."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from gradlab.models import ACTIVATIONS, Mlp
from gradlab.studies.mean_field import arriving, moments

WIDTH, DEPTH = 80, 5


@pytest.mark.parametrize("q", [0.1, 1.0, 9.0])
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_moments_against_quadrature(name, q):
    phi = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}[name]
    slope = {"tanh": lambda z: 1 - np.tanh(z) ** 2, "sigmoid": lambda z: phi(z) * (1 - phi(z))}[name]

    def mean(f):
        return scipy.integrate.quad(lambda u: f(math.sqrt(q) * u) * scipy.stats.norm.pdf(u), -10, 10, points=[0])[0]

    found = moments(ACTIVATIONS[name](), q)
    expected = [mean(f) for f in (phi, lambda z: phi(z) ** 2, lambda z: slope(z) ** 2)]
    assert [found.first, found.second, found.slope] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("init", "gain"), [("he", 1.0), ("xavier", math.sqrt(1 / 2)), ("default", math.sqrt(1 / 6)), (0.5, 4.0)]
)
def test_relu_in_closed_form(init, gain):
    """σ·√(n/2): He's σ² = 2/n, Xavier's 1/n, PyTorch's 1/(3n), and σ = ½ with n = 128."""
    shares = arriving(Mlp(128, [128] * 4, 10, activation="relu", init=init), 1.0)
    assert shares[:-1] / shares[1:] == pytest.approx(gain, rel=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "tanh"},
        {"activation": "sigmoid"},
        {"activation": "relu", "init": "he"},
        {"activation": "tanh", "init": 0.3},
        {"activation": "tanh", "init": "xavier", "residual": True},
        {"activation": "sigmoid", "residual": True},
        {"activation": "tanh", "init": 0.3, "norm": True},
        {"activation": "relu", "residual": True, "norm": True},
    ],
    ids=str,
)
def test_against_networks_that_are_drawn(options):
    torch.manual_seed(0)
    x = torch.randn(40, WIDTH)
    squares = np.zeros(DEPTH)
    for _ in range(40):
        squares += sizes(Mlp(WIDTH, [WIDTH] * DEPTH, 10, **options), x) ** 2
    measured = np.sqrt(squares / squares[-1])
    predicted = arriving(Mlp(WIDTH, [WIDTH] * DEPTH, 10, **options), 1.0)
    assert np.abs(np.log(measured / predicted)).max() < 0.08


def sizes(network, x):
    """The norm of the gradient at each hidden layer's sums, by autograd."""
    sums = []
    for layer in [layer for layer in network if isinstance(layer, torch.nn.Linear)][:-1]:
        layer.register_forward_hook(lambda module, inputs, z: (z.retain_grad(), sums.append(z))[0])
    direction = torch.randn(len(x), 10)
    (network(x) * direction).sum().backward()
    return np.array([float(z.grad.norm()) for z in sums])
