"""Loaders under Lightning's trainer: the batches it hands out, and that it has nothing to warn about."""

import itertools
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gradlab.data import Iris, NoBatches, NoData

CONFIGS = Path(__file__).parents[2] / "configs"
OPTIONS = sorted(path.stem for path in (CONFIGS / "data").glob("*.yaml"))

# Warnings are errors, so these tests also say that the loaders cause none. This one is Lightning's own: it asks
# for a name that torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


class Recorder(pl.LightningModule):
    """Keeps every batch that it is given."""

    def __init__(self):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.zeros(()))
        self.batches = []
        self.epochs = []
        self.tested = []

    def training_step(self, batch, index):
        self.batches.append(batch)
        self.epochs.append(self.current_epoch)
        return self.theta**2

    def test_step(self, batch, index):
        self.tested.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**bounds):
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **bounds,
    )


def test_no_data_is_bounded_by_steps_alone():
    module, run = Recorder(), trainer(max_steps=50, max_epochs=-1)
    run.fit(module, datamodule=NoData())
    assert run.global_step == 50
    assert module.batches == [(None, None)] * 50
    assert set(module.epochs) == {0}, "an epoch ended between steps"
    run.test(module, datamodule=NoData(), verbose=False)
    assert module.tested == [(None, None)]


def test_tables_reach_the_module_as_they_leave_the_loader():
    module, run, data = Recorder(), trainer(max_epochs=2), Iris(batch_size=50, seed=1)
    run.fit(module, datamodule=data)
    loader = data.train_dataloader()
    expected = [*loader, *loader]
    assert module.epochs == [0, 0, 0, 1, 1, 1]
    for (x, y), (expected_x, expected_y) in zip(module.batches, expected, strict=True):
        assert x.equal(expected_x)
        assert y.equal(expected_y)
    run.test(module, datamodule=data, verbose=False)
    assert [x.shape for x, _ in module.tested] == [(30, 4)]


def test_an_endless_loader_has_no_length():
    with pytest.raises(TypeError, match="endless"):
        len(NoBatches())
    assert list(itertools.islice(NoBatches(), 3)) == [(None, None)] * 3
    assert len(NoBatches(steps=2)) == len(list(NoBatches(steps=2))) == 2


def test_no_data_checks_what_it_shares_with_the_others():
    with pytest.raises(ValueError, match=r"data.batch_size must be a whole number from 1 on, got -1"):
        NoData(batch_size=-1)
    with pytest.raises(ValueError, match=r"seed must be a whole number"):
        NoData(seed=-1)


def composed(option):
    return OmegaConf.create({"seed": 7, "data": OmegaConf.load(CONFIGS / "data" / f"{option}.yaml")}).data


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in ("custom", "none", "characters")])
def test_an_option_builds_the_data_set_it_describes(option):
    config = composed(option)
    data = instantiate(config)
    data.setup()
    assert data.option == option
    assert data.seed == 7
    assert data.batch_size == config.batch_size
    assert data.x_train.shape[1] == config.features == data.features
    assert data.outputs == config.outputs
    assert data.image == (None if config.image is None else tuple(config.image))


def test_the_text_is_the_one_described():
    config = composed("characters")
    data = instantiate(config)
    data.setup()
    assert data.option == "characters"
    assert data.seed == 7
    assert data.batch_size == config.batch_size
    assert data.x_train.shape[1] == config.context
    assert int(torch.cat([data.x_train, data.x_test]).max()) + 1 == config.vocabulary
    assert "features" not in config, "a network for features would take numbers of characters for features"


def test_no_data_has_no_columns():
    assert set(composed("none")) == {"_target_", "batch_size", "seed"}
    assert isinstance(instantiate(composed("none")), NoData)


def test_a_negative_batch_size_is_an_error():
    with pytest.raises(InstantiationException, match=r"data.batch_size must be a whole number from 1 on, got -3"):
        instantiate(composed("digits"), batch_size=-3)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_opens_with_what_it_is_and_a_command(option):
    lines = (CONFIGS / "data" / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    comment = list(itertools.takewhile(lambda line: line.startswith("# "), lines))
    assert len(comment) >= 2
    assert comment[-1].startswith("# python -m gradlab ")
    assert f" data={option}" in comment[-1]
    assert "batch_size" in OmegaConf.load(CONFIGS / "data" / f"{option}.yaml")
