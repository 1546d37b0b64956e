"""The one answer of a sweep: a table in the terminal, a file for every other program, and figures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gradlab.errors import EXIT_CODES
from gradlab.files import write_whole
from gradlab.links import command
from gradlab.report import show
from gradlab.sweeps.csv_file import csv_of
from gradlab.sweeps.folder import read_jobs
from gradlab.sweeps.jobs import RUN_AGAIN, Job, jobs_of
from gradlab.sweeps.pictures import pictures_of
from gradlab.sweeps.ranking import best_of
from gradlab.sweeps.table import MOST_METRICS, failures, job_table, named, shown, telling_metrics


def answer(folder: Path, console: Console) -> int:
    """Reads a sweep's folder, prints its table, and writes ``sweep.csv`` and the figures into it.

    Args:
        folder: of the sweep, whether all of its jobs have ended or not.
        console: where it is printed.

    Returns:
        The exit code of the first job (by number) whose code is not 0. Where there is none, 1 if jobs have not begun,
        2 if a file cannot be written, else 0.

    Raises:
        OSError: the folder cannot be read.
    """
    jobs, missing = jobs_of(folder), missing_jobs(folder)
    if not jobs:
        show(console, Text(f"sweep: no job has begun in {folder.resolve()}"))
        return EXIT_CODES["error"] if missing else 0
    show(console, job_table(jobs))
    for line in [*_below(jobs), *_not_begun(missing), *_best(jobs)]:
        show(console, Text(line))
    code = next((job.exit_code for job in jobs if job.exit_code), EXIT_CODES["error"] if missing else 0)
    try:
        for path in _write(folder, jobs):
            show(console, Text(str(path)))
    except OSError as error:
        show(console, Text(f"not written: {error}"))
        code = code or EXIT_CODES["bad input"]
    show(console, Text(command(folder.resolve())))
    if missing or any(job.status in RUN_AGAIN for job in jobs):
        show(console, Text(f"run what is missing: {resume_command(folder)}"))
    return code


def missing_jobs(folder: Path) -> list[int]:
    """The numbers of the jobs that were asked for and have not begun, if the sweep has a list of its jobs.

    Example:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = (Path(folder) / "jobs.json").write_text(json.dumps({0: "seed=1", 1: "seed=2"}))
        ...     (Path(folder) / "seed=1").mkdir()
        ...     missing_jobs(Path(folder))
        [1]
    """
    try:
        asked = read_jobs(folder)
    except (ValueError, AttributeError):  # a damaged list
        return []
    return [number for number, name in sorted(asked.items()) if not (folder / name).is_dir()]


def resume_command(folder: Path) -> str:
    """What to type to run the jobs that have no end yet.

    Example:
        >>> resume_command(Path("runs/free/today"))
        'python -m gradlab sweep.resume=runs/free/today'
    """
    return f"python -m gradlab {shlex.quote(f'sweep.resume={folder}')}"


def _below(jobs: Sequence[Job]) -> Iterator[str]:
    """What the table leaves out."""
    if len(shown(jobs)) < len(jobs):
        yield f"and {len(jobs) - len(shown(jobs))} more jobs that ended well: sweep.csv has them all"
    more = telling_metrics(jobs)[MOST_METRICS:]
    if more:
        yield f"and {len(more)} more {'metric' if len(more) == 1 else 'metrics'}: in sweep.csv"
    yield from failures(jobs)


def _not_begun(missing: Sequence[int]) -> Iterator[str]:
    if missing:
        yield f"{named(missing)}: not begun"


def _best(jobs: Sequence[Job]) -> Iterator[str]:
    best = best_of(jobs)
    if len(best) == 1:
        yield f"best: {best[0].folder.resolve()}"


def _write(folder: Path, jobs: Sequence[Job]) -> Iterator[Path]:
    yield write_whole(folder / "sweep.csv", csv_of(jobs)).resolve()
    for name, picture in pictures_of(jobs).items():
        yield write_whole(folder / f"{name}.png", picture).resolve()
