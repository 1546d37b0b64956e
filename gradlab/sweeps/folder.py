"""The folder of a sweep: whose it is, and which jobs belong into it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from gradlab.errors import BadInput
from gradlab.files import write_whole
from gradlab.sweeps.overrides import key_of

RECORD = "multirun.yaml"  # Hydra's own name for it
JOBS = "jobs.json"


def claim(config: DictConfig) -> Path:
    """Takes a folder that no other sweep has, and writes into it what was asked for.

    The record is created exclusively, so that of two sweeps that begin at the same instant one gets the folder, and
    the other one the next: ``…_2``.

    Args:
        config: of the whole sweep. A folder that the command line names is not replaced by another.

    Returns:
        The folder, as an absolute path.

    Raises:
        BadInput: the folder that was asked for holds a sweep or a run.
        OSError: it cannot be made.
    """
    wanted = Path(config.hydra.sweep.dir).absolute()
    named = "hydra.sweep.dir" in map(key_of, config.hydra.overrides.hydra)
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        if _take(folder):
            write_whole(folder / RECORD, OmegaConf.to_yaml(config).encode())
            return folder
        if named:
            raise BadInput(
                f"hydra.sweep.dir={config.hydra.sweep.dir} holds a sweep or a run already: give another folder, or go "
                f"on with that sweep by sweep.resume={config.hydra.sweep.dir}"
            )
    raise AssertionError("numbers do not end")


def _take(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "summary.json").exists():
        return False
    try:
        os.close(os.open(folder / RECORD, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def give_up(folder: Path) -> None:
    """Removes a folder that was claimed for nothing: no job was ever asked for."""
    (folder / RECORD).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def has_begun(folder: Path) -> bool:
    """Whether jobs were asked for."""
    return (folder / JOBS).exists()


def write_jobs(folder: Path, names: Mapping[int, str]) -> None:
    """Adds jobs to the list of those that belong to the sweep.

    Args:
        folder: of the sweep.
        names: of their folders, by job number.
    """
    known = {**read_jobs(folder), **names}
    lines = ",\n".join(f"  {json.dumps(str(number))}: {json.dumps(name)}" for number, name in sorted(known.items()))
    write_whole(folder / JOBS, f"{{\n{lines}\n}}\n".encode())


def read_jobs(folder: Path) -> dict[int, str]:
    """The folders' names of the sweep's jobs by number; empty where there is no list.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_jobs(Path(folder), {0: "seed=1"})
        ...     write_jobs(Path(folder), {1: "seed=2"})
        ...     read_jobs(Path(folder))
        {0: 'seed=1', 1: 'seed=2'}
    """
    try:
        return {int(number): name for number, name in json.loads((folder / JOBS).read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}


def forget_jobs(folder: Path) -> None:
    """Takes the list back, if none of its jobs has begun."""
    if not any((folder / name).exists() for name in read_jobs(folder).values()):
        (folder / JOBS).unlink(missing_ok=True)


def number_of(job: Path) -> int | None:
    """The number of a job, by its folder; None where no sweep knows it."""
    names = read_jobs(job.parent)
    return next((number for number, name in sorted(names.items()) if name == job.name), None)
