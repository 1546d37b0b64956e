"""The jobs of a sweep as a table in the terminal, best first, and why some failed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from gradlab.report import MEDIANS
from gradlab.sweeps.jobs import Job
from gradlab.sweeps.objective import LARGEST
from gradlab.sweeps.ranking import best_of, objective_names, ranked

MOST_ROWS, MOST_METRICS = 20, 8
ALWAYS = ("loss", "test_loss", "accuracy", "distance", "worst_relative_error")


def job_table(jobs: Sequence[Job]) -> Table:
    """One row a job: the swept settings, the status, the metrics; the best are marked with a star.

    Of more than 20 jobs that ended well, the best 20 are shown; those that failed all are.

    Args:
        jobs: by number.
    """
    settings, metrics = setting_names(jobs), telling_metrics(jobs)[:MOST_METRICS]
    objectives = objective_names(jobs)
    shown_already = {name for metric in metrics for name in (metric, f"{LARGEST}{metric}")}
    computed = [
        (place, name) for place, name in enumerate(objectives) if name not in shown_already and _has(jobs, place)
    ]
    table = Table(title=_title(jobs, objectives), title_justify="left")
    table.add_column("best")
    table.add_column("job", justify="right")
    for key in settings:
        table.add_column(Text(key), justify="right" if _is_number(jobs, key) else "left")
    table.add_column("status")
    for name in [*(name for _, name in computed), *metrics]:
        table.add_column(Text(_heading(name, jobs)), justify="right")
    best = {job.name for job in best_of(jobs)}
    for job in shown(jobs):
        cells = [*(_cell(job.settings.get(key)) for key in settings), job.status]
        cells += [_cell(job.objective[place] if place < len(job.objective) else None) for place, _ in computed]
        cells += [_cell(job.metrics.get(name)) for name in metrics]
        is_best = job.name in best
        style = "bold green" if is_best else "red" if job.exit_code else ""
        table.add_row(*map(Text, ["*" if is_best else "", job.label, *cells]), style=style)
    return table


def shown(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that the table has a row for, in its order."""
    order = ranked(jobs)
    well = sum(not job.exit_code for job in order)
    return order[: min(well, MOST_ROWS)] + order[well:]


def failures(jobs: Sequence[Job]) -> Iterator[str]:
    """One line for each reason for which jobs failed, in full.

    Example:
        >>> from pathlib import Path
        >>> job = Job("a", Path("a"), 4, "bad input", 2, "optimizer.lr=-1: it has to be positive", {}, (), {})
        >>> list(failures([job]))
        ['job 4: bad input: optimizer.lr=-1: it has to be positive']
    """
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        if job.exit_code:
            groups.setdefault((job.status, job.reason), []).append(job)
    for (status, reason), group in groups.items():
        yield f"{named([job.label for job in group])}: {status}{f': {reason}' if reason else ''}"


def named(labels: Sequence[object]) -> str:
    """Jobs by their numbers.

    Example:
        >>> named([3]), named([3, 5])
        ('job 3', 'jobs 3, 5')
    """
    return f"{'job' if len(labels) == 1 else 'jobs'} {', '.join(map(str, labels))}"


def setting_names(jobs: Sequence[Job]) -> list[str]:
    """The swept settings, in the order of the command line."""
    return list(dict.fromkeys(key for job in jobs for key in job.settings))


def metric_names(jobs: Sequence[Job]) -> list[str]:
    """All metrics that any job has; what is minimised first."""
    names = dict.fromkeys(name for job in jobs for name in job.metrics)
    first = [name for name in (name.removeprefix(LARGEST) for name in objective_names(jobs)) if name in names]
    return list(dict.fromkeys([*first, *names]))


def telling_metrics(jobs: Sequence[Job]) -> list[str]:
    """The usual metrics, and those in which the jobs differ; the first few have a column in the terminal."""
    names = metric_names(jobs)
    telling = {name for name in names if len({job.metrics.get(name) for job in jobs if job.metrics}) > 1}
    return [name for name in names if name in ALWAYS or name in telling]


def _title(jobs: Sequence[Job], objectives: Sequence[str]) -> str:
    failed = sum(job.exit_code != 0 for job in jobs)
    parts = [f"sweep: {len(jobs)} {'job' if len(jobs) == 1 else 'jobs'}"]
    parts += [f"{failed} failed"] if failed else []
    names = " and ".join(name.replace("_", " ") for name in objectives)
    if best_of(jobs):
        several = f"* the Pareto set (no other job is at least as good in each of {names}, and better in one)"
        parts.append(several if len(objectives) > 1 else f"* {best_words(objectives[0])}")
    return ", ".join(parts)


def best_words(objective: str) -> str:
    """Which job is the best, in words.

    Example:
        >>> best_words("test_loss"), best_words("-accuracy")
        ('the smallest test loss', 'the largest accuracy')
    """
    name, size = objective.removeprefix(LARGEST), "largest" if objective.startswith(LARGEST) else "smallest"
    return f"the {size} {name.replace('_', ' ')}"


def _heading(metric: str, jobs: Sequence[Job]) -> str:
    """A metric in words; where every job is a population, whose number it is."""
    known = [job for job in jobs if job.metrics]
    is_median = metric in MEDIANS and known and all("members" in job.metrics for job in known)
    return metric.replace("_", " ") + (" (median of members)" if is_median else "")


def _has(jobs: Sequence[Job], place: int) -> bool:
    return any(len(job.objective) > place and not math.isnan(job.objective[place]) for job in jobs)


def _is_number(jobs: Sequence[Job], key: str) -> bool:
    return all(isinstance(job.settings.get(key, 0), (int, float)) for job in jobs)


def _cell(value: float | int | str | None) -> str:
    return "" if value is None or value != value else f"{value:.6g}" if isinstance(value, float) else str(value)
