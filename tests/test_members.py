"""From a config to many networks: which seeds they begin from, and what cannot be a population."""

import random
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from shipped import load
from torch import nn

from gradlab.build import build, config_folder, options
from gradlab.errors import BadInput
from gradlab.members import make_model, seeds_of
from gradlab.models import Population

USERS = """
import random
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    \"\"\"Draws its numbers by all three generators.\"\"\"

    def __init__(self, width=4):
        super().__init__()
        self.a = nn.Linear(64, width)
        self.b = nn.Linear(width, 10)
        with torch.no_grad():
            self.b.weight.fill_(random.random())
            self.b.bias.copy_(torch.from_numpy(np.random.rand(10)))

    def forward(self, x):
        return self.b(self.a(x).tanh())

class Several(nn.Module):
    \"\"\"Makes of ``population`` what it likes.\"\"\"

    def __init__(self, population):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(population or 1, 64, 10))
        self.population = population

    def forward(self, x):
        return x @ self.weights
"""


@pytest.fixture
def here(tmp_path, monkeypatch, quiet_lightning):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users_networks.py").write_text(USERS)
    sys.modules.pop("users_networks", None)
    return tmp_path


def composed(*overrides):
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def single(seed, *overrides):
    """What a run of this seed begins with, as `gradlab.experiment.run` makes it."""
    pl.seed_everything(seed, verbose=False)
    return build(composed(f"seed={seed}", *overrides)).model.state_dict()


CUSTOM = ["model=custom", "model._target_=users_networks.Net", "+model.width=3"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.init=he", "model.norm=true"],
        ["model=convnet"],
        ["model=linear"],
        ["model=logistic", "data=moons", "loss=bce"],
        ["model=transformer", "data=characters"],
        CUSTOM,
    ],
)
@pytest.mark.parametrize(
    ("settings", "seeds"),
    [([], [7, 8, 9]), (["model.seeds=same"], [7, 7, 7]), (["model.seeds=[3,0,3]"], [3, 0, 3])],
)
def test_members_begin_as_single_runs_of_their_seeds(here, overrides, settings, seeds):
    pl.seed_everything(7, verbose=False)
    population = build(composed("seed=7", *overrides, "model.population=3", *settings)).model
    assert isinstance(population, Population)
    for member, seed in enumerate(seeds):
        alone = single(seed, *overrides)
        assert alone.keys() == population.state_dict().keys()
        assert all(rows[member].equal(alone[name]) for name, rows in population.state_dict().items())


def test_making_a_population_draws_nothing(here):
    cfg = composed(*CUSTOM, "model.population=3")
    drawn = []
    for make in (lambda: None, lambda: make_model(cfg)):
        pl.seed_everything(1, verbose=False)
        make()
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]


def test_a_model_that_makes_its_own_population_is_left_to(here):
    cfg = composed("model=custom", "model._target_=users_networks.Several", "model.population=5")
    model = make_model(cfg)
    assert type(model).__name__ == "Several"
    assert model.weights.shape == (5, 64, 10)
    with pytest.raises(ValueError, match=r"model\.seeds=same: users_networks\.Several makes its own population"):
        make_model(composed("model=custom", "model._target_=users_networks.Several", "model.seeds=same"))


@pytest.mark.parametrize("model", ["mlp", "linear", "logistic", "convnet", "transformer", "custom"])
def test_without_a_population_it_is_the_network_itself(here, model):
    data = "data=characters" if model == "transformer" else "data=digits"
    own = CUSTOM if model == "custom" else [f"model={model}"]
    made = make_model(composed(*own, data))
    assert not isinstance(made, Population)
    assert isinstance(made, nn.Module)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.population=0"], r"model: model\.population=0: give a whole number above 0, or null"),
        (["model.population=2.5"], r"model\.population=2\.5: give a whole number"),
        (["model.population=true"], r"model\.population=True: give a whole number"),
        (["model.population=many"], r"model\.population=many: give a whole number"),
        (["model.population=3", "model.seeds=[1,2]"], r"model\.seeds=\[1, 2\] has 2 seeds: choose different or same"),
        (["model.population=3", "model.seeds=all"], r"model\.seeds=all is none of these: choose different or same"),
        (["model.population=3", "model.seeds=7"], r"model\.seeds=7 is none of these"),
        (["model.population=2", "model.seeds=[1,-2]"], r"seed must be a whole number from 0 to 2³² − 1, got -2"),
        (["model.population=2", "seed=4294967295"], r"got 4294967296"),
        (["model.population=3", "optimizer=manual_sgd", "optimizer.lr=[1,2]"], r"lr is 2 numbers, .* have 3 rows"),
        (["model.population=2", "optimizer=sgd", "optimizer.lr=[1,2]"], r"optimizer\.lr has several numbers"),
        (["model.population=2", "optimizer=lbfgs"], r"LBFGS does not act entry by entry"),
        (
            ["model.population=2", "optimizer=gauss_newton", "optimizer.limit=9999"],
            r"GaussNewton does not act entry by entry",
        ),
        (["model.population=2", "trainer.gradient_clip_val=1"], r"clips by the norm of all gradients together"),
        (
            ["model=custom", "model._target_=torch.nn.GRU", "+model.input_size=64", "+model.hidden_size=10"]
            + ["model.population=2"],
            r"model: torch\.nn\.GRU runs all its time steps as one operation",
        ),
        (["model=custom", "model.population=2"], r"model: its _target_ is not set"),
        (["model=custom", "model._target_=no.such.Net", "model.population=2"], r"model: _target_=no\.such\.Net cannot"),
    ],
)
def test_what_cannot_be_a_population_is_refused(overrides, said):
    with pytest.raises(BadInput, match=said):
        build(composed(*overrides))


def test_a_list_of_seeds_may_be_any_sequence():
    assert seeds_of(OmegaConf.create([4, 2]), 2, seed=0) == [4, 2]


def test_every_option_with_a_population_says_so():
    having = {option for option in options("model") if "population" in load("model", option)}
    assert having == set(options("model")) - {"recurrent"}
