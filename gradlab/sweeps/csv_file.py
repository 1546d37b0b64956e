"""A sweep as a table for pandas and for spreadsheets."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from gradlab.sweeps.jobs import Job
from gradlab.sweeps.table import metric_names, setting_names


def csv_of(jobs: Sequence[Job]) -> bytes:
    """One row a job, by number: settings under their own names, metrics as ``metrics.loss``.

    Args:
        jobs: by number.

    Returns:
        UTF-8 with the mark at its beginning by which spreadsheets know it.

    Example:
        >>> from pathlib import Path
        >>> job = Job("a", Path("a"), 0, "agree", 0, "", {"loss": 0.5}, (0.5,), {"optimizer.lr": 0.1})
        >>> print(csv_of([job]).decode("utf-8-sig"), end="")
        job,optimizer.lr,status,exit_code,reason,objective,metrics.loss,folder
        0,0.1,agree,0,,0.5,0.5,a
    """
    settings, metrics = setting_names(jobs), metric_names(jobs)
    several = max((len(job.objective) for job in jobs), default=1)
    objectives = [f"objective.{place}" for place in range(several)] if several > 1 else ["objective"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["job", *settings, "status", "exit_code", "reason", *objectives, *(f"metrics.{m}" for m in metrics), "folder"]
    )
    for job in jobs:
        objective = [*job.objective, *[math.nan] * several][:several]
        writer.writerow(
            [
                *("" if job.number is None else job.number, *(job.settings.get(key, "") for key in settings)),
                *(job.status, job.exit_code, job.reason),
                *("" if math.isnan(value) else value for value in objective),
                *("" if value is None or value != value else value for value in map(job.metrics.get, metrics)),
                job.name,
            ]
        )
    return file.getvalue().encode("utf-8-sig")
