"""The jobs of a sweep that have no result yet, given to a launcher, and what came of all of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gradlab.errors import EXIT_CODES
from gradlab.sweeps.command import CURRENT
from gradlab.sweeps.folder import forget_jobs, write_jobs
from gradlab.sweeps.job import ENDED, LOCK, recorded_objective, status_of
from gradlab.sweeps.names import fixed_keys, folder_name
from gradlab.sweeps.overrides import quoted
from gradlab.sweeps.ray_cluster import connect, wait_for_prints


@dataclass(frozen=True, slots=True)
class _Asked:
    """A job: what it is to do, and where."""

    number: int
    overrides: list[str]
    folder: Path

    def for_hydra(self, fixed: Sequence[str]) -> list[str]:
        keys = ",".join(map(quoted, fixed))
        return [
            *self.overrides,
            f"hydra.sweep.subdir={quoted(self.folder.name)}",
            f"hydra.job.config.override_dirname.exclude_keys=[{keys}]",
        ]


def launch(launcher: Launcher, config: DictConfig, overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Runs jobs, and reads from their folders what came of them, since processes share no memory.

    Jobs with a result are not launched, and the same job twice is launched once. Where a worker process dies, most
    launchers raise, and give up the jobs that have not begun: those are launched once more, the others are waited for.

    Args:
        launcher: ready to launch.
        config: of the whole sweep.
        overrides: of each job.
        first: the number of the first job.

    Returns:
        For each job, its objective; None where it came to none.

    Raises:
        HydraException, OmegaConfBaseException: a job's config cannot be composed.
    """
    sweep, fixed = Path(config.hydra.sweep.dir), fixed_keys(config)
    jobs = [
        _Asked(number, list(own), sweep / folder_name(own, fixed, number))
        for number, own in enumerate(overrides, first)
    ]
    write_jobs(sweep, {job.number: job.folder.name for job in jobs})
    waiting = list({job.folder: job for job in reversed(jobs) if status_of(job.folder) not in ENDED}.values())[::-1]
    while waiting:
        before = {job.folder: _record_time(job) for job in waiting}
        try:
            _connect(launcher, config)
            launcher.launch([job.for_hydra(fixed) for job in waiting], initial_job_idx=waiting[0].number)
            break
        except (HydraException, OmegaConfBaseException):
            forget_jobs(sweep)
            raise
        except Exception as error:
            _report(error)
            if type(launcher).__name__ == "SlurmLauncher":  # its queue goes on without us
                print(f"gradlab: jobs in the queue go on; then: python -m gradlab.sweeps {sweep}", file=sys.stderr)
                break
            waiting = _not_begun(waiting, before)
    _let_print(launcher)
    return [
        JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED, _return_value=recorded_objective(job.folder))
        for job in jobs
    ]


def _connect(launcher: Launcher, config: DictConfig) -> None:
    if type(launcher).__name__ == "RayLauncher":
        connect(config.hydra.launcher.ray.init)


def _let_print(launcher: Launcher) -> None:
    if type(launcher).__name__ == "RayLauncher":
        wait_for_prints()


def _report(error: Exception) -> None:
    text = (str(error).strip() or repr(error)).splitlines()[0]
    print(f"gradlab: a worker of the launcher failed ({type(error).__name__}: {text})", file=sys.stderr)
    if command := CURRENT.get():
        command.code = EXIT_CODES["error"]


def _not_begun(jobs: Sequence[_Asked], before: Mapping[Path, int | None]) -> list[_Asked]:
    """The jobs that nobody has begun, once nobody works on the others any more; none where all of them are so."""
    begun = [job for job in jobs if _record_time(job) != before[job.folder]]
    for job in begun:
        with FileLock(job.folder / LOCK):  # free as soon as the process that held it has ended, however it did
            pass
    return [job for job in jobs if job not in begun] if begun else []


def _record_time(job: _Asked) -> int | None:
    """When Hydra last began the job, in nanoseconds."""
    try:
        return (job.folder / ".hydra" / "overrides.yaml").stat().st_mtime_ns
    except FileNotFoundError:
        return None
