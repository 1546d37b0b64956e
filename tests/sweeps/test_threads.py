"""CPU threads: the jobs that run at the same time share the cores."""

import os

import pytest
import torch
from omegaconf import OmegaConf
from small_sweeps import POINT

from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.sweeps.threads import cores, share, threads_of

SHARES = [  # launcher, settings, threads on 8 cores
    ("BasicLauncher", {}, 8),
    ("JoblibLauncher", {"n_jobs": 2}, 4),
    ("JoblibLauncher", {"n_jobs": 3}, 2),
    ("JoblibLauncher", {"n_jobs": -1}, 1),  # joblib: all cores
    ("JoblibLauncher", {"n_jobs": -5}, 2),  # joblib: all cores but 4, so 4 jobs
    ("JoblibLauncher", {"n_jobs": 16}, 1),
    ("LocalLauncher", {"cpus_per_task": None}, 1),
    ("LocalLauncher", {"cpus_per_task": 3}, 3),
    ("SlurmLauncher", {"cpus_per_task": 64}, 8),
    ("RayLauncher", {"ray": {"remote": {}}}, 1),
    ("RayLauncher", {"ray": {"remote": {"num_cpus": 4}}}, 4),
    ("RayLauncher", {"ray": {"remote": {"num_cpus": 0.5}}}, 1),
]


@pytest.mark.parametrize(("name", "settings", "expected"), SHARES)
def test_a_jobs_share(name, settings, expected):
    launcher = OmegaConf.create({"_target_": f"some.where.{name}", **settings})
    assert share(launcher, available=8) == expected


def test_never_more_than_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert cores() == 3
    assert threads_of(None, OmegaConf.create({"_target_": "x.BasicLauncher"})) == 3


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "two", True])
def test_a_wrong_number_is_refused(wrong):
    with pytest.raises(BadInput, match="threads="):
        threads_of(wrong, OmegaConf.create({}))


def test_each_job_of_a_sweep_has_its_own_setting(here, monkeypatch):
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    assert main(["-m", *POINT, "threads=2,null,1"]) == 0
    assert used == [2, len(os.sched_getaffinity(0)), 1]
