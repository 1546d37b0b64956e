"""The jobs of a sweep, read from its folder: what each was asked, and how it ended."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gradlab import report
from gradlab.errors import EXIT_CODES
from gradlab.sweeps.folder import number_of
from gradlab.sweeps.overrides import Value, value_of

SUMMARY, OVERRIDES, HYDRA = "summary.json", ".hydra/overrides.yaml", ".hydra/hydra.yaml"
NO_END, DAMAGED = "no end", "damaged"
RUN_AGAIN = (NO_END, DAMAGED, "interrupted", "error", "bad input")  # the others have ended, if not as hoped


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a sweep.

    Args:
        name: its folder, relative to the sweep's.
        folder: where its files lie.
        number: Hydra's number; None where none is recorded.
        status: as in ``summary.json``; "no end" without one, "damaged" where it cannot be read.
        exit_code: 0 where it ended well; 1 for a job without an end.
        reason: why it did not end well, in one line; else empty.
        metrics: as in ``summary.json``.
        objective: what the sweep minimises, one number or several; NaN where the job came to none.
        settings: what was swept: the overrides whose values differ among the jobs.
    """

    name: str
    folder: Path
    number: int | None
    status: str
    exit_code: int
    reason: str
    metrics: dict[str, float]
    objective: tuple[float, ...]
    settings: dict[str, Value]

    @property
    def label(self) -> str:
        """The number, else the folder's name."""
        return self.name if self.number is None else str(self.number)


def jobs_of(folder: Path) -> list[Job]:
    """Reads every job that has begun, by number.

    A folder is a job's if Hydra's or gradlab's record lies in it. The runs that a study made for itself lie in the
    study's own folder, and are no jobs. Files that cannot be read make a job "damaged", and its reason says why.

    Args:
        folder: of a sweep.

    Raises:
        OSError: the folder cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for number, rate in enumerate([0.1, 0.01]):
        ...         job = Path(name) / f"lr={rate}"
        ...         job.mkdir()
        ...         summary = report.Summary("free", ["seed=0", f"optimizer.lr={rate}"], "agree", 0, job=number)
        ...         summary.save(job)
        ...     [(job.number, job.status, job.settings) for job in jobs_of(Path(name))]
        [(0, 'agree', {'optimizer.lr': 0.1}), (1, 'agree', {'optimizer.lr': 0.01})]
    """
    jobs = [_read(path, folder) for path in _job_folders(folder)]
    jobs.sort(key=lambda job: (math.inf if job.number is None else job.number, job.name))
    keys = swept([job.settings for job in jobs])
    return [replace(job, settings={k: job.settings[k] for k in keys if k in job.settings}) for job in jobs]


def swept(settings: Sequence[dict[str, Value]]) -> list[str]:
    """The keys that do not have the same value in all jobs, in the order in which they come.

    A job of which nothing is known does not count.

    Example:
        >>> swept([{"seed": 0, "optimizer.lr": 0.1}, {"seed": 0, "optimizer.lr": 0.2}, {}])
        ['optimizer.lr']
    """
    known = [own for own in settings if own]
    keys = dict.fromkeys(key for own in known for key in own)
    return [key for key in keys if len({own.get(key) for own in known}) > 1]


def settings_of(overrides: Sequence[str]) -> dict[str, Value]:
    """Overrides of a command line as settings: numbers as numbers, everything else as text.

    Example:
        >>> settings_of(["optimizer=sgd", "optimizer.lr=1e-3", "+seed=2", "model.hidden=[64,32]", "~probes.partials"])
        {'optimizer': 'sgd', 'optimizer.lr': 0.001, 'seed': 2, 'model.hidden': '[64,32]', '~probes.partials': ''}
    """
    pairs = (override.partition("=") for override in overrides)
    return {key.lstrip("+"): value_of(value) for key, _, value in pairs}


def _job_folders(folder: Path) -> Iterator[Path]:
    """The folders of jobs; what lies inside one of them is its own business."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            path = Path(entry.path)
            if (path / SUMMARY).is_file() or (path / ".hydra").is_dir():
                yield path
            else:
                yield from _job_folders(path)


def _read(path: Path, sweep: Path) -> Job:
    name = str(path.relative_to(sweep))
    try:
        summary = report.read_summary(path)
        return _ended(name, path, summary)
    except FileNotFoundError:
        status, reason = NO_END, "it is still running, or it was killed"
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        status, reason = DAMAGED, f"{SUMMARY} cannot be read: {_one_line(repr(error))}"
    settings: dict[str, Value] = {}
    try:
        settings = _recorded_settings(path)
    except FileNotFoundError:
        reason += f"; {OVERRIDES} is not there"
    except (ValueError, TypeError, yaml.YAMLError, OSError) as error:
        reason += f"; {OVERRIDES} cannot be read: {_one_line(str(error))}"
    return Job(name, path, _number(path), status, EXIT_CODES["error"], reason, {}, (math.nan,), settings)


def _ended(name: str, path: Path, summary: dict[str, Any]) -> Job:
    metrics = {str(k): v if isinstance(v, int) else float(v) for k, v in summary["metrics"].items()}
    recorded = summary.get("objective")
    if recorded is None:
        recorded = report.objective(metrics)
    objective = tuple(float(v) for v in (recorded if isinstance(recorded, list) else [recorded]))
    number = summary.get("job")
    return Job(
        name=name,
        folder=path,
        number=_number(path) if number is None else int(number),
        status=str(summary["status"]),
        exit_code=int(summary["exit_code"]),
        reason=_reason(summary),
        metrics=metrics,
        objective=objective,
        settings=settings_of([str(override) for override in summary["overrides"]]),
    )


def _reason(summary: dict[str, Any]) -> str:
    """Why a job did not end well; of a disagreement, the worst."""
    found = summary.get("disagreements") or []
    if summary.get("reason") or not found:
        return _one_line(str(summary.get("reason", "")))
    if "parameter" in found[0]:
        blamed = found[0].get("culprit") or found[0].get("hint")
        return _one_line(report.sentence(found[0]) + (f"; to blame: {blamed}" if blamed else ""))
    return "; ".join(f"{tensor.get('name')}: {tensor.get('blame')}" for tensor in found)


def _recorded_settings(path: Path) -> dict[str, Value]:
    """What Hydra wrote down before the job began."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML was built with it
    return settings_of([str(line) for line in yaml.load((path / OVERRIDES).read_text("utf-8"), loader) or []])


def _number(path: Path) -> int | None:
    """The number in the sweep's list of its jobs; else Hydra's, which counts anew when a sweep is resumed.

    Hydra's record is searched, since reading a whole one takes milliseconds.
    """
    if (listed := number_of(path)) is not None:
        return listed
    try:
        found = re.search(r"^    num: (\d+)$", (path / HYDRA).read_text("utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return int(found.group(1)) if found else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
