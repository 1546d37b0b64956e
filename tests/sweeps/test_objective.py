"""What a sweep minimises."""

import math

import pytest
from small_sweeps import POINT, results, sweep_of

from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.sweeps.job import recorded_objective
from gradlab.sweeps.objective import chosen_objective

METRICS = {"loss": 0.5, "test_loss": 0.25, "steps": 10}


@pytest.mark.parametrize(
    ("names", "expected"), [(None, 7.0), ("steps", 10.0), (["loss"], [0.5]), (["test_loss", "steps"], [0.25, 10.0])]
)
def test_the_metrics_that_are_named(names, expected):
    assert chosen_objective(names, METRICS, "agree", otherwise=7.0) == expected


def test_of_a_name_with_a_minus_the_largest_is_the_best():
    assert chosen_objective(["-steps", "loss"], METRICS, "agree", otherwise=7.0) == [-10.0, 0.5]
    with pytest.raises(BadInput, match="objective=-accuracy: this run has no such metric"):
        chosen_objective("-accuracy", METRICS, "agree", otherwise=7.0)


@pytest.mark.parametrize("status", ["non-finite", "interrupted"])
def test_a_run_that_went_wrong_has_none(status):
    assert math.isnan(chosen_objective(None, METRICS, status, otherwise=0.5))
    assert all(map(math.isnan, chosen_objective(["loss", "nowhere"], METRICS, status, otherwise=0.5)))


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(BadInput, match="objective=accuracy.*loss, test_loss, steps"):
        chosen_objective(["loss", "accuracy"], METRICS, "agree", otherwise=0.5)


def test_it_is_recorded(here, capsys):
    assert main(["-m", *POINT, "seed=1,2", "objective=[loss,steps]"]) == 0
    sweep = sweep_of(here)
    for name, summary in results(sweep).items():
        assert summary["objective"] == [summary["metrics"]["loss"], 3.0]
        assert recorded_objective(sweep / name) == (summary["metrics"]["loss"], 3.0)
    assert main([*POINT, "objective=los"]) == 2
    assert "objective=los" in capsys.readouterr().err


def test_nothing_recorded_is_none(tmp_path):
    for text in ("", "{}", '{"objective": null}', '{"objective": "nan"}', '{"objective": [0.5, "inf"]}'):
        (tmp_path / "summary.json").write_text(text)
        assert recorded_objective(tmp_path) is None
