"""The options of loss and optimizer, as shipped: what they build, and how far their descents come."""

import inspect
import math
from pathlib import Path

import pytest
import torch
import yaml
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

import gradlab.losses
from gradlab.losses import targets
from gradlab.losses.surface import ANY_DIMENSION
from gradlab.optimizers import SecondOrder

CONFIGS = Path(__file__).parents[2] / "configs"
LOSSES = sorted(path.stem for path in (CONFIGS / "loss").glob("*.yaml"))
OPTIMIZERS = sorted(path.stem for path in (CONFIGS / "optimizer").glob("*.yaml"))


def load(group, option):
    return yaml.safe_load((CONFIGS / group / f"{option}.yaml").read_text(encoding="utf-8"))


def surface_of(option):
    config = load("loss", option)
    return get_class(config.pop("_target_"))(**config)


def distances(surface, option, steps, **settings):
    """The distance to the nearest minimizer after each step of a plain loop with an optimizer's config."""
    config = load("optimizer", option) | settings
    optimizer_class = get_class(config.pop("_target_"))
    assert config.pop("_partial_") is True
    theta = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_class([theta], **config)
    if isinstance(optimizer, SecondOrder):
        optimizer.descends(lambda: theta, surface)
    minimizers = torch.tensor(surface.minimizers, dtype=torch.float64)

    def closure():
        optimizer.zero_grad()
        loss = surface(theta)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        yield (minimizers - theta.detach()).norm(dim=1).min().item()


@pytest.mark.parametrize("option", [option for option in OPTIMIZERS if option != "custom"])
def test_every_optimizer_solves_the_default_quadratic(option):
    path = list(distances(surface_of("quadratic"), option, steps=1000))
    assert path[-1] < 1e-2


@pytest.mark.parametrize("option", ["momentum", "nesterov", "adam", "lbfgs"])
def test_these_come_to_the_end_of_rosenbrocks_valley(option):
    assert any(distance < 1e-2 for distance in distances(surface_of("rosenbrock"), option, steps=4000))


def test_adam_does_so_by_2000_steps_at_a_larger_rate():
    path = distances(surface_of("rosenbrock"), "adam", steps=2000, lr=0.05)
    assert any(distance < 1e-2 for distance in path)


def test_a_descent_that_is_too_slow_is_noticed():
    path = list(distances(surface_of("quadratic"), "sgd", steps=1000, lr=1e-3))
    # Coordinate i shrinks by 1 − lr λᵢ a step, so the flat one (λ = 1) is left with 0.999¹⁰⁰⁰.
    assert path[-1] == pytest.approx(math.hypot(0.999**1000, 0.99**1000), rel=1e-9)
    assert path[-1] > 1e-2


def test_momentum_and_nesterov_ship_at_the_promised_rate():
    assert [load("optimizer", option)["lr"] for option in ("momentum", "nesterov")] == [1e-3, 1e-3]


@pytest.mark.parametrize("option", LOSSES)
def test_a_loss_is_what_its_name_says(option):
    config = load("loss", option)
    if option == "custom":
        assert OmegaConf.is_missing(OmegaConf.create(config), "_target_")
        return
    loss = instantiate(config)
    assert type(loss).__name__.lower() == option.replace("_", "")
    if isinstance(loss, gradlab.losses.Surface):
        assert loss.name == option
        assert set(config) >= {"dimension", "start"}
        assert loss.start == type(loss)().start, "the config and the class start at different points"


def test_every_loss_has_an_option():
    losses = {name.lower() for name in gradlab.losses.__all__} - {"surface"}
    assert losses == {option.replace("_", "") for option in LOSSES if option != "custom"}


@pytest.mark.parametrize("option", OPTIMIZERS)
def test_an_optimizer_has_a_rate_and_known_keys(option):
    config = load("optimizer", option)
    assert config["_partial_"] is True
    assert config["lr"] > 0
    if option != "custom":
        known = inspect.signature(get_class(config["_target_"])).parameters
        assert set(config) - {"_target_", "_partial_"} <= set(known)


def test_a_negative_rate_is_an_error():
    build = instantiate(load("optimizer", "adam"), lr=-1.0)
    with pytest.raises(ValueError, match=r"Invalid learning rate: -1\.0"):
        build([torch.zeros(1, requires_grad=True)])


def test_a_wrong_dimension_is_an_error():
    with pytest.raises(InstantiationException, match=r"himmelblau has no dimension 3"):
        instantiate(load("loss", "himmelblau"), dimension=3)


@pytest.mark.parametrize(("group", "option"), [*(("loss", o) for o in LOSSES), *(("optimizer", o) for o in OPTIMIZERS)])
def test_an_option_opens_with_what_it_is_and_a_command(group, option):
    first, second, *_ = (CONFIGS / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    assert first.startswith("# ")
    assert second.startswith("# python -m gradlab ")
    assert f" {group}={option}" in second


@pytest.mark.parametrize(
    ("text", "group"),
    [
        (targets.SURFACES, "loss"),
        (ANY_DIMENSION, "loss"),
        (targets.WITH_CLASSES, "data"),
        (targets.WITH_TARGETS, "data"),
    ],
)
def test_messages_name_options_that_exist(text, group):
    options = text.removeprefix(f"{group}=").split(", ")
    assert all((CONFIGS / group / f"{option}.yaml").exists() for option in options)
