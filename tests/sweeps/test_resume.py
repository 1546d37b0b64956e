"""A sweep that ended early: what is kept, what is said, and that resuming runs what is missing and nothing else."""

import os
import signal
import subprocess
import sys
import time

import pytest
from small_sweeps import OWN, POINT, results, statuses, sweep_of, times

from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.sweeps.resume import resumed


def test_a_failing_job_is_recorded_and_the_others_go_on(here, capsys):
    arguments = ["-m", *OWN, "+model.end=fail,well", "optimizer.lr=0.1,-1"]
    assert main(arguments) == 1  # the first that failed, by number: the error
    sweep = sweep_of(here)
    assert statuses(sweep) == {
        "model.end=fail,optimizer.lr=0.1": "error",
        "model.end=fail,optimizer.lr=-1": "bad input",
        "model.end=well,optimizer.lr=0.1": "not compared",
        "model.end=well,optimizer.lr=-1": "bad input",
    }
    failed = results(sweep)["model.end=fail,optimizer.lr=0.1"]
    assert failed["reason"] == "ZeroDivisionError: on purpose"
    assert 'raise ZeroDivisionError("on purpose")' in (sweep / "model.end=fail,optimizer.lr=0.1/output.txt").read_text()
    out, err = capsys.readouterr()
    assert "job 0 (model.end=fail,optimizer.lr=0.1): error; ZeroDivisionError: on purpose" in out
    assert "sweep: 4 jobs, 3 failed" in out
    assert f"sweep.resume={sweep}" in out
    assert err == ""


def test_what_diverges_is_named_and_not_run_again(here):
    diverging = [*POINT, "optimizer=sgd", "trainer.max_steps=400", "optimizer.lr=0.01,100"]
    assert main(["-m", *diverging]) == 4
    sweep = sweep_of(here)
    assert statuses(sweep) == {"optimizer.lr=0.01": "not compared", "optimizer.lr=100": "non-finite"}
    before = times(sweep)
    assert main(["-m", f"sweep.resume={sweep}"]) == 4
    assert times(sweep) == before


def test_ctrl_c_ends_the_sweep_and_resuming_finishes_it(here, capsys):
    assert main(["-m", *OWN, "+model.end=well,stop", "seed=1,2"]) == 130
    sweep = sweep_of(here)
    assert statuses(sweep) == {
        "model.end=well,seed=1": "not compared",
        "model.end=well,seed=2": "not compared",
        "model.end=stop,seed=1": "interrupted",
    }
    out, err = capsys.readouterr()
    assert "sweep: 3 jobs" in out
    assert f"sweep.resume={sweep}" in out
    assert err == "gradlab: interrupted\n"
    before = times(sweep)
    (here / "go").touch()
    assert main([f"sweep.resume={sweep}"]) == 0
    after = times(sweep)
    assert set(statuses(sweep).values()) == {"not compared"}
    assert {path: after[path] for path in before if "=well," in str(path)} == {
        path: before[path] for path in before if "=well," in str(path)
    }
    assert {name: summary["job"] for name, summary in results(sweep).items()} == {
        "model.end=well,seed=1": 0,
        "model.end=well,seed=2": 1,
        "model.end=stop,seed=1": 2,
        "model.end=stop,seed=2": 3,
    }
    for job in results(sweep):
        assert len(list((sweep / job).glob("events.out.tfevents.*"))) == 1, job


def test_a_kill_in_mid_sweep(here, capsys):
    arguments = ["-m", *OWN, "+model.end=wait", "seed=1,2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-m", "gradlab", *arguments], cwd=here, env=environment)
    deadline = time.monotonic() + 120
    while not list(here.rglob("events.out.tfevents.*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    sweep = sweep_of(here)
    assert statuses(sweep) == {}
    (old,) = sweep.rglob("events.out.tfevents.*")
    (here / "go").touch()
    assert main([f"sweep.resume={sweep}"]) == 0
    assert statuses(sweep) == {"seed=1": "not compared", "seed=2": "not compared"}
    assert not old.exists()
    assert len(list(sweep.rglob("events.out.tfevents.*"))) == 2
    assert capsys.readouterr().err == ""


def test_the_same_job_twice_runs_once(here):
    assert main(["-m", *POINT, "seed=1,1"]) == 0
    sweep = sweep_of(here)
    assert statuses(sweep) == {"seed=1": "not compared"}
    assert len(list(sweep.rglob("events.out.tfevents.*"))) == 1


RECORD = """
hydra:
  overrides:
    task: [loss=mse, 'seed=1,2', experiment=backprop]
    hydra: [hydra/launcher=joblib, hydra.launcher.n_jobs=2, hydra.sweep.dir=elsewhere, hydra.mode=MULTIRUN]
  runtime:
    config_sources:
    - {path: hydra.conf, schema: pkg, provider: hydra}
    - {path: /mine, schema: file, provider: command-line}
"""


@pytest.fixture
def record(tmp_path):
    (tmp_path / "multirun.yaml").write_text(RECORD)
    return tmp_path


def test_the_command_line_of_the_record(record):
    task = ["loss=mse", "seed=1,2", "experiment=backprop"]
    folder = f"hydra.sweep.dir='{record}'"
    chosen = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    named = f"sweep.resume={record}"
    begin = ["--multirun", "--config-dir", "/mine", *task]
    assert resumed([named]) == [*begin, *chosen, folder]
    assert resumed(["-m", "loss=mse", named]) == [*begin, *chosen, folder]
    assert resumed([named, "hydra.launcher.n_jobs=4"]) == [*begin, chosen[0], "hydra.launcher.n_jobs=4", folder]
    assert resumed([named, "hydra/launcher=basic"]) == [*begin, "hydra/launcher=basic", folder]
    assert resumed([named, "--config-dir", "/yours"]) == [
        "--multirun",
        "--config-dir",
        "/yours",
        *task,
        *chosen,
        folder,
    ]


@pytest.mark.parametrize(
    "override",
    [
        "loss=l1",
        "seed=3",
        "+model.width=3",
        "hydra/sweeper=optuna",
        "hydra.sweep.dir=x",
        "hydra.sweeper.direction=maximize",
    ],
)
def test_what_contradicts_the_record_is_refused(record, override):
    with pytest.raises(BadInput, match=r"contradicts sweep.resume.*loss=mse seed=1,2"):
        resumed([f"sweep.resume={record}", override])


@pytest.mark.parametrize("text", ["", "{", "hydra: 3", "hydra: {overrides: {}}"])
def test_a_damaged_record_is_named(record, text):
    (record / "multirun.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"multirun.yaml cannot be read"):
        resumed([f"sweep.resume={record}"])


def test_a_folder_without_a_sweep_is_answered_with_those_there_are(tmp_path, capsys):
    record, other = tmp_path / "a sweep", tmp_path / "no sweep"
    record.mkdir()
    (record / "multirun.yaml").write_text(RECORD)
    assert main([f"sweep.resume={other}"]) == 2
    error = capsys.readouterr().err
    assert "holds no sweep" in error
    assert str(record) in error
    assert error.count("\n") == 1
