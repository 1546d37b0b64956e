"""Every surface with every optimizer: at each point of a descent the handwritten gradient is sympy's closed form."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from shipped import load

from gradlab.backprop import Tape
from gradlab.build import options
from gradlab.losses import Surface
from gradlab.optimizers import SecondOrder


def surfaces():
    made = {o: load("loss", o) for o in options("loss") if o != "custom"}
    return [o for o, cfg in made.items() if isinstance(instantiate(cfg), Surface)]


def allowed(surface, gradient, theta):
    """1e-10 of the gradient; and, since terms cancel near a minimizer, what rounding of θ itself does to it.

    θ is known to ε·|θ|, and ∇f(θ + δ) − ∇f(θ) ≈ ∇²f·δ: no way of computing ∇f is closer than ‖∇²f‖·ε·|θ|. Eight of
    these roundings are allowed, for a formula of a few operations.
    """
    hessian = np.abs(surface.hessian_at(theta)).max()
    size = max(1.0, float(theta.detach().abs().max()))
    return 1e-10 * np.abs(gradient).max() + 8 * np.finfo(np.float64).eps * hessian * size


@pytest.mark.filterwarnings("ignore:.*damping is raised")  # where a surface bends downwards, Newton says so
@pytest.mark.parametrize("optimizer", [o for o in options("optimizer") if o != "custom"])
@pytest.mark.parametrize("name", surfaces())
def test_handwritten_gradient_equals_the_closed_form(name, optimizer):
    surface = instantiate(load("loss", name))
    theta = torch.nn.Parameter(torch.tensor(surface.start, dtype=torch.float64))
    steps = instantiate(load("optimizer", optimizer))([theta])
    if isinstance(steps, SecondOrder):
        steps.descends(lambda: theta, surface)

    def closure():
        steps.zero_grad()
        with Tape() as tape:
            loss = surface(theta)
        manual = tape.backward(loss)[theta]
        expected = surface.gradient_at(theta)
        if np.isfinite(expected).all():
            assert np.abs(manual.numpy() - expected).max() <= allowed(surface, expected, theta)
        loss.backward()
        return loss

    for _ in range(4):
        steps.step(closure)
        if not torch.isfinite(theta).all() or float(theta.detach().abs().max()) > 1e3:
            break  # a learning rate made for the quadratic may leave the window of another surface
