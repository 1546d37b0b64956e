"""What Hydra calls for each job, in whatever process: a function of a module, which every launcher can send."""

from __future__ import annotations

import logging
import math
import shutil
import traceback
import warnings
from contextlib import redirect_stdout
from pathlib import Path

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gradlab.report import read_summary
from gradlab.sweeps.command import CURRENT, Command
from gradlab.sweeps.folder import number_of

LOCK = ".lock"
OUTPUT = "output.txt"
LOSSES = ("loss", "test_loss")
KEPT = {LOCK, ".hydra"}  # Hydra has just written the latter
ENDED = {"agree", "disagree", "not compared", "diverged as expected", "non-finite"}  # these would end so once more

Objective = float | tuple[float, ...] | None


def job(cfg: DictConfig) -> Objective:
    """Runs one config. It raises nothing but KeyboardInterrupt: the jobs after it go on.

    In a sweep, a job whose folder holds a result is not run again, and two processes never run the same job.

    Returns:
        The objective; None for a job of a sweep that came to none.
    """
    from gradlab.experiment import run

    _quieten_lightning()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode == RunMode.MULTIRUN:
        return _one_of_many(cfg, folder)
    command = CURRENT.get() or Command(list(hydra.overrides.task))
    try:
        objective = run(cfg)
        command.code = read_summary(folder)["exit_code"]
        return objective
    except Exception as error:
        command.code = command.report(error)
        return math.nan


def _one_of_many(cfg: DictConfig, folder: Path) -> Objective:
    with FileLock(folder / LOCK):
        if status_of(folder) not in ENDED:
            clear(folder)
            _run_apart(cfg, folder)
    if status_of(folder) == "interrupted":
        raise KeyboardInterrupt
    return recorded_objective(folder)


def _run_apart(cfg: DictConfig, folder: Path) -> None:
    """Runs a job; what it prints goes into its folder, and one line to the terminal, which many jobs may share."""
    from gradlab.experiment import run

    try:
        with (folder / OUTPUT).open("w", encoding="utf-8") as file, redirect_stdout(file):
            try:
                run(cfg)
            except Exception:
                traceback.print_exc(file=file)
    finally:
        print(_line(folder), flush=True)


def _line(folder: Path) -> str:
    """How a job ended, in one line."""
    try:
        summary = read_summary(folder)
    except (OSError, ValueError) as error:
        return f"{folder.name}: no result ({error})"
    numbers = {name: summary["metrics"].get(name) for name in LOSSES}
    parts = [f"{n.replace('_', ' ')} {v:.6g}" for n, v in numbers.items() if isinstance(v, (int, float))]
    if summary["status"] == "error":
        parts.append(f"where: {folder / OUTPUT}")
    text = "; ".join(filter(None, [summary["status"], summary["reason"], *parts]))
    return f"job {summary['job']} ({folder.name}): {text}"


def status_of(folder: Path) -> str | None:
    """How the job of a folder ended; None where it has not, or where nobody can tell."""
    try:
        return str(read_summary(folder)["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def recorded_objective(folder: Path) -> Objective:
    """What the job of a folder returned; None where that is no number, by which Optuna knows a failed trial."""
    try:
        found = read_summary(folder)["objective"]
        values = tuple(float(value) for value in (found if isinstance(found, list) else [found]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all(map(math.isfinite, values)):
        return None
    return values if isinstance(found, list) else values[0]


def clear(folder: Path) -> None:
    """Removes what an earlier attempt at a job left, so that a run has one event file.

    Nothing is removed from any folder but one that the sweep around it lists as a job's.
    """
    if folder.is_symlink() or number_of(folder) is None:
        return
    for entry in folder.iterdir():
        if entry.name in KEPT:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _quieten_lightning() -> None:
    """Lightning's notes about devices and its own deprecations are not what a run is about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
