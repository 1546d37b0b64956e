"""Each optimizer's config, as shipped, on surfaces whose minimizers are known in closed form."""

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from shipped import load

from gradlab.build import options
from gradlab.optimizers import SecondOrder

OPTIMIZERS = [o for o in options("optimizer") if o != "custom"]


def distance_after(surface, optimizer, steps, minimizer, **settings):
    """How close a plain loop of torch's comes within this many steps."""
    f = instantiate(load("loss", surface))
    theta = torch.nn.Parameter(torch.tensor(f.start, dtype=torch.float64))
    optimizer = instantiate(OmegaConf.merge(load("optimizer", optimizer), settings))([theta])
    if isinstance(optimizer, SecondOrder):
        optimizer.descends(lambda: theta, f)
    closest = torch.tensor(float("inf"))

    def closure():
        optimizer.zero_grad()
        loss = f(theta)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        closest = (theta.detach() - torch.tensor(minimizer)).norm()
        if closest < 1e-2:
            break
    return float(closest)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_reaches_the_default_quadratics_minimizer_within_the_default_number_of_steps(optimizer):
    steps = load("trainer", "cpu").max_steps
    assert distance_after("quadratic", optimizer, steps, (0.0, 0.0)) < 1e-2


@pytest.mark.parametrize(
    "optimizer", ["momentum", "nesterov", "adam", "lbfgs", "manual_momentum", "manual_adam", "newton"]
)
def test_reaches_rosenbrocks_minimizer(optimizer):
    assert distance_after("rosenbrock", optimizer, 4000, (1.0, 1.0)) < 1e-2


def test_adam_reaches_rosenbrocks_minimizer_sooner_with_a_larger_learning_rate():
    assert distance_after("rosenbrock", "adam", 2000, (1.0, 1.0), lr=0.05) < 1e-2


def test_every_optimizer_shares_the_key_lr():
    for option in options("optimizer"):
        assert "lr" in load("optimizer", option), option
