"""Optuna's sweeper: minimises what a run returns, lives with trials that fail, and goes on where it stopped."""

import pytest
from omegaconf import OmegaConf
from small_sweeps import POINT, results, statuses, sweep_of, times

from gradlab.cli import main

pytestmark = pytest.mark.usefixtures("quiet_optuna")

OPTUNA = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", *POINT, "optimizer=sgd"]


def found(sweep):
    return OmegaConf.to_container(OmegaConf.load(sweep / "optimization_results.yaml"))


def test_the_best_trial_is_the_best_run(here, capsys):
    assert main([*OPTUNA, "optimizer.lr=interval(0.001,0.1)", "+optimizer.momentum=choice(0.0,0.5)"]) == 0
    sweep = sweep_of(here)
    losses = {name: summary["metrics"]["loss"] for name, summary in results(sweep).items()}
    best = min(losses, key=losses.get)
    assert found(sweep)["best_value"] == losses[best]
    assert best == ",".join(f"{key.lstrip('+')}={value}" for key, value in found(sweep)["best_params"].items())
    assert capsys.readouterr().err == ""
    before = times(sweep)
    assert main([f"sweep.resume={sweep}", "hydra.sweeper.n_trials=8"]) == 0
    assert len(statuses(sweep)) == 8  # the same six from the folder, and two more
    assert {path: when for path, when in times(sweep).items() if path in before} == before


def test_failed_and_diverged_trials_do_not_end_the_study(here, capsys):
    space = ["optimizer.lr=choice(-1,0.01,1e30)", "seed=choice(1,2)", "trainer.max_steps=9"]
    assert main([*OPTUNA, "hydra.sweeper.n_trials=12", *space]) in (2, 4)
    sweep = sweep_of(here)
    assert set(statuses(sweep).values()) == {"bad input", "non-finite", "not compared"}
    assert found(sweep)["best_params"]["optimizer.lr"] == 0.01
    assert capsys.readouterr().err == ""


def test_a_study_without_any_result_says_so(here, capsys):
    assert main([*OPTUNA, "hydra.sweeper.n_trials=2", "optimizer.lr=choice(-1,-2)"]) == 2
    assert "no trial came to a finite objective" in capsys.readouterr().err


def test_several_objectives_from_a_config(here):
    (here / "configs" / "experiment").mkdir(parents=True)
    (here / "configs" / "experiment" / "front.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /hydra/sweeper: optuna\n"
        "name: front\nobjective: [loss, steps]\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    n_trials: 4\n"
        "    params:\n      trainer.max_steps: choice(2, 4)\n      optimizer.lr: interval(0.001, 0.1)\n"
    )
    shape = [a for a in POINT if not a.startswith("trainer.max_steps")]
    assert main(["--config-dir", "configs", "experiment=front", *shape]) == 0
    sweep = sweep_of(here)
    values = [tuple(summary["objective"]) for summary in results(sweep).values()]
    front = {a for a in values if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in values)}
    assert {tuple(solution["values"]) for solution in found(sweep)["solutions"]} == front


@pytest.mark.parametrize(
    "more",
    [
        ["hydra.sweeper.direction=[minimize,minimize]"],
        ["objective=[loss]", "hydra.sweeper.direction=[minimize,maximize]"],
    ],
)
def test_directions_and_objectives_are_as_many(here, capsys, more):
    assert main([*OPTUNA, "optimizer.lr=interval(0.001,0.1)", *more]) == 2
    error = capsys.readouterr().err
    assert "hydra.sweeper.direction" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("objective", "direction"), [("loss", "maximize"), ("[loss,steps]", "[minimize,maximize]"), ("[loss]", "maximize")]
)
def test_to_maximise_has_a_minus_since_the_table_marks_the_smallest(here, capsys, objective, direction):
    more = [f"objective={objective}", f"hydra.sweeper.direction={direction}"]
    assert main([*OPTUNA, "optimizer.lr=interval(0.001,0.1)", *more]) == 2
    assert "as in objective=-accuracy" in capsys.readouterr().err
    assert not list(here.rglob("multirun.yaml"))


def test_a_space_that_cannot_be_composed_is_one_message_and_leaves_nothing(here, capsys):
    assert main([*OPTUNA, "optimizer.momentum=interval(0.1,0.5)"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no setting optimizer.momentum" in err
    assert not list(here.rglob("multirun.yaml"))
