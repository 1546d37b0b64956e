"""The same sweep under each launcher: one job ends well, one fails, one is killed with its process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from small_sweeps import OWN, POINT, results, statuses, sweep_of, times

from gradlab.cli import main
from gradlab.sweeps.threads import cores

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| .* \| `(hydra/launcher=.*)` \| `(\w+)` \|$", README, re.MULTILINE)
SHOWN = {extra: command.split() for command, extra in ROWS}  # what the README tells people to add
JOBLIB = [*SHOWN["joblib"], "hydra.launcher.n_jobs=2"]
RAY = [
    *(argument.replace("HEAD:6379", "local") for argument in SHOWN["ray"]),
    "+hydra.launcher.ray.init.num_cpus=2",
    "+hydra.launcher.ray.remote.num_cpus=2",
    "+hydra.launcher.ray.remote.max_retries=0",  # Ray by itself runs a killed job three times more
]


@pytest.mark.parametrize(("how", "threads"), [(JOBLIB, cores() // 2), (RAY, 2)], ids=["joblib", "ray"])
def test_one_job_fails_one_is_killed_and_the_others_are_kept(here, how, threads):
    """From a shell, as it were: a model of the user's own, which lies in the present folder, is found by workers."""
    in_twos = "hydra.sweeper.max_batch_size=2"  # for nothing runs beside the worker that dies: joblib kills it too
    command = [sys.executable, "-m", "gradlab", "-m", *OWN, *how, in_twos, "+model.end=fail,well,die", "threads=null"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    run = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, encoding="utf-8")
    sweep = sweep_of(here)
    assert statuses(sweep) == {"model.end=fail": "error", "model.end=well": "not compared"}, run.stderr
    assert results(sweep)["model.end=fail"]["reason"] == "ZeroDivisionError: on purpose"
    assert (sweep / "model.end=die" / ".hydra").is_dir()
    assert f"{min(max(threads, 1), cores())} threads" in (sweep / "model.end=well" / "output.txt").read_text()
    assert run.returncode == 1
    assert "gradlab: a worker of the launcher failed" in run.stderr
    assert "job 2: no end" in run.stdout
    assert f"sweep.resume={sweep}" in run.stdout


def test_submitit(here):
    """Its local executor; submitit_slurm is the same plugin with another."""
    assert main(["-m", *OWN, "hydra/launcher=submitit_local", "+model.end=fail,well"]) == 1
    sweep = sweep_of(here)
    assert statuses(sweep) == {"model.end=fail": "error", "model.end=well": "not compared"}
    before = {path: when for path, when in times(sweep).items() if "model.end=well" in path.parts}
    assert before
    assert main([f"sweep.resume={sweep}", "hydra/launcher=basic"]) == 1  # fails once more, now in this process
    assert {path: when for path, when in times(sweep).items() if path in before} == before
    assert results(sweep)["model.end=fail"]["job"] == 0


def test_a_launcher_that_cannot_start_says_why(here, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no sbatch there
    assert main(["-m", *POINT, *SHOWN["slurm"], "seed=1,2"]) == 1
    out, err = capsys.readouterr()
    assert "gradlab: a worker of the launcher failed" in err
    assert "no job has begun" in out


@pytest.mark.parametrize(
    ("group", "option", "extra"),
    [
        ("launcher", "joblib", "joblib"),
        ("launcher", "submitit_local", "slurm"),
        ("launcher", "submitit_slurm", "slurm"),
        ("launcher", "ray", "ray"),
        ("sweeper", "optuna", "optuna"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(here, capsys, monkeypatch, group, option, extra):
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"][group], f"{option}.yaml")
    assert main(["-m", *POINT, f"hydra/{group}={option}", "seed=1,2"]) == 2
    error = capsys.readouterr().err
    assert error == f"gradlab: hydra/{group}={option} is an extra: pip install 'gradlab-torch[{extra}]'\n"
    assert not list(here.rglob("multirun.yaml"))
