"""The options of the group model, as shipped, with the interpolations that a run resolves."""

from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from gradlab.members import make_model

CONFIGS = Path(__file__).parents[2] / "configs"
MODELS = sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml"))


def composed(**options):
    """The chosen option of each group under its name, and a seed, as in a run's config."""
    groups = {group: OmegaConf.load(CONFIGS / group / f"{option}.yaml") for group, option in options.items()}
    return OmegaConf.create({"seed": 0, **groups})


@pytest.mark.parametrize("option", ["rosenbrock", "quadratic", "styblinski_tang"])
def test_point_takes_start_and_dimension_from_the_surface(option):
    config = composed(model="point", loss=option, data="none")
    config.loss.dimension = 2
    theta = make_model(config).theta
    assert theta.tolist() == list(instantiate(config.loss).start)


def test_point_follows_another_dimension():
    config = composed(model="point", loss="quadratic", data="none")
    config.loss.dimension = 5
    assert make_model(config).theta.shape == (5,)


def test_point_without_a_surface_says_so():
    config = composed(model="point", loss="mse", data="none")
    with pytest.raises(InstantiationException, match=r"model=point has no start.*choose loss=quadratic"):
        make_model(config)


@pytest.mark.parametrize("model", ["linear", "logistic", "mlp", "convnet"])
@pytest.mark.parametrize("data", ["digits", "iris", "diabetes", "moons", "circles", "spiral", "sine"])
def test_networks_take_their_sizes_from_the_data(model, data):
    config = composed(model=model, data=data)
    if model == "convnet" and data != "digits":
        with pytest.raises(InstantiationException, match=r"model=convnet needs images"):
            make_model(config)
        return
    network = make_model(config)
    outputs = 1 if model == "logistic" else config.data.outputs
    assert network(torch.zeros(2, config.data.features)).shape == (2, outputs)


@pytest.mark.parametrize("model", ["linear", "logistic", "mlp", "convnet"])
def test_without_data_there_is_no_size(model):
    with pytest.raises(InterpolationKeyError, match=r"data\.(features|image|outputs)"):
        make_model(composed(model=model, data="none"))


def test_hidden_is_shared_by_the_networks_that_have_it():
    assert [m for m in MODELS if "hidden" in OmegaConf.load(CONFIGS / "model" / f"{m}.yaml")] == [
        "convnet",
        "mlp",
        "recurrent",
        "transformer",
    ]


@pytest.mark.parametrize("model", ["recurrent", "transformer"])
def test_networks_over_texts_take_their_sizes_from_the_data(model):
    config = composed(model=model, data="characters")
    config.data.context, config.data.vocabulary = 5, 7
    network = make_model(config)
    assert network(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, 7)
    with pytest.raises(ValueError, match=r"knows the characters 0 to 6, got 7 to 7"):
        network(torch.full((2, 5), 7))


@pytest.mark.parametrize("model", ["recurrent", "transformer"])
@pytest.mark.parametrize("data", ["none", "digits", "sine"])
def test_features_are_no_text(model, data):
    with pytest.raises(InterpolationKeyError, match=r"data\.vocabulary"):
        make_model(composed(model=model, data=data))


@pytest.mark.parametrize("model", ["linear", "logistic", "mlp", "convnet"])
def test_a_text_has_no_features(model):
    with pytest.raises(InterpolationKeyError, match=r"data\.(features|image)"):
        make_model(composed(model=model, data="characters"))


@pytest.mark.parametrize("option", MODELS)
def test_an_option_opens_with_what_it_is_and_a_command(option):
    first, second, *_ = (CONFIGS / "model" / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    assert first.startswith("# ")
    assert second.startswith("# python -m gradlab ")
    assert f" model={option}" in second
