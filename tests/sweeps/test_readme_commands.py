"""The commands of the README's section on sweeps, as they stand there, with fewer and shorter jobs."""

import re
import shlex
from pathlib import Path

import pytest
from small_sweeps import results, statuses, sweep_of

from gradlab.cli import main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Sweeps\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)[1]
SWEEP, OPTUNA, RESUME = [shlex.split(line)[3:] for line in re.findall(r"^python -m gradlab .*$", SECTION, re.MULTILINE)]
SHORT = ["trainer.max_steps=2", "probes=none", "trainer.enable_progress_bar=false"]


def test_a_sweep_and_how_to_resume_it(here):
    assert main([*SWEEP, *SHORT]) == 0
    sweep = sweep_of(here)
    assert set(statuses(sweep)) == {f"optimizer={name},seed={seed}" for name in ("sgd", "adam") for seed in (1, 2, 3)}
    assert {"sweep.csv", "multirun.yaml"} <= {path.name for path in sweep.iterdir()}
    key, _, shown = RESUME[0].partition("=")
    assert Path(shown).parent == sweep.parent.relative_to(here)
    lost = sweep / "optimizer=sgd,seed=2" / "summary.json"
    lost.unlink()
    assert main([f"{key}={sweep.relative_to(here)}", *RESUME[1:]]) == 0
    assert lost.exists()


@pytest.mark.usefixtures("quiet_optuna")
def test_tuning(here):
    assert main([*OPTUNA, *SHORT, "hydra.sweeper.n_trials=3"]) == 0
    jobs = results(sweep_of(here))
    assert len(jobs) == 3
    assert all(0.0001 <= float(re.search(r"optimizer\.lr=([^,]*)", name)[1]) <= 0.1 for name in jobs)
    assert all(job["objective"] == job["metrics"]["test_loss"] for job in jobs.values())
