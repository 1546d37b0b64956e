"""Names of jobs: only what was swept, always a folder's name, never the same for different jobs."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from small_sweeps import POINT, results, sweep_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from gradlab.cli import main
from gradlab.sweeps.names import fixed_keys, folder_name
from gradlab.sweeps.overrides import quoted

values = st.text(st.characters(blacklist_categories=("Cs",)), max_size=300)


@given(st.lists(values, min_size=2, max_size=5, unique=True))
def test_different_jobs_have_different_folders_that_every_file_system_can_hold(texts):
    names = [folder_name([f"data.path={text}", "seed=1"], ["seed"], number) for number, text in enumerate(texts)]
    assert len(set(names)) == len(texts)
    for name in names:
        assert 0 < len(name.encode()) <= 255
        assert "/" not in name
        assert name[0] != "."


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="$\\"), min_size=1))
def test_hydra_reads_what_was_quoted(text):
    (override,) = OverridesParser.create().parse_overrides([f"key={quoted(text)}"])
    assert override.value() == text


@pytest.mark.parametrize(
    ("params", "overrides", "fixed"),
    [
        ({}, ["seed=1,2", "optimizer=sgd"], ["optimizer"]),
        ({}, ["+model.width=range(1,3)", "~probes.partials"], ["probes.partials"]),
        ({"optimizer.lr": "interval(0.1,1)", "seed": "3"}, ["loss=mse"], ["loss", "seed"]),
        ({"optimizer.lr": "interval(0.1,1)"}, ["optimizer.lr=0.5"], []),  # Hydra's sweepers take the latter
        ({}, ["model.hidden=[4,4],[8]"], []),
    ],
)
def test_what_a_sweep_leaves_as_it_is(params, overrides, fixed):
    config = OmegaConf.create({"hydra": {"sweeper": {"params": params}, "overrides": {"task": overrides}}})
    assert fixed_keys(config) == fixed


def hparams_of(run):
    events = EventAccumulator(str(run))
    events.Reload()
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    data = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info
    return {key: value.string_value or value.number_value for key, value in data.hparams.items()}


def test_folders_and_hparams_show_what_was_swept(here):
    assert main(["-m", *POINT, "+loss.start=[1,2],[3,4]", "optimizer=sgd,adam"]) == 0
    sweep = sweep_of(here)
    assert set(results(sweep)) == {
        f"loss.start=[{start}],optimizer={optimizer}" for start in ("1,2", "3,4") for optimizer in ("sgd", "adam")
    }
    run = sweep / "loss.start=[3,4],optimizer=adam"
    assert hparams_of(run) == {"loss.start": "[3, 4]", "optimizer": "adam"}
    assert [results(sweep)[name]["job"] for name in sorted(results(sweep))] == [1, 0, 3, 2]


def test_experiments_can_be_swept(here):
    assert main(["-m", "experiment=himmelblau,logistic", "probes=none", "trainer.max_steps=2"]) == 0
    assert set(results(sweep_of(here))) == {"experiment=himmelblau", "experiment=logistic"}


def test_a_sweep_over_nothing_is_one_job_in_a_folder_of_its_own(here, capsys):
    assert main(["-m", *POINT]) == 0
    sweep = sweep_of(here)
    assert set(results(sweep)) == {"0"}
    assert "sweep: 1 job" in capsys.readouterr().out
    assert "optimizer.lr" in hparams_of(sweep / "0")  # as in a run outside of a sweep
