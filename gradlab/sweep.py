"""The table at the end of a sweep: one row for each job."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from gradlab.report import objective, read_summary, show

COLUMNS = ("loss", "test_loss", "accuracy", "distance", "worst_relative_error")


class SweepTable(Callback):
    """Hydra calls it when all jobs of a sweep have ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        rows = {job: read_summary(job) for job in _jobs(folder)}
        columns = [c for c in COLUMNS if any(c in row["metrics"] for row in rows.values())]
        table = Table("job", "status", *(c.replace("_", " ") for c in columns), title=f"sweep: {len(rows)} jobs")
        for path, row in sorted(rows.items(), key=lambda item: _rank(item[1])):
            cells = [_cell(row["metrics"].get(c)) for c in columns]
            table.add_row(str(path.relative_to(folder)), row["status"], *cells)
        console = Console()
        show(console, table)
        show(console, f"tensorboard --logdir {shlex.quote(str(folder.resolve()))}")


def _jobs(folder: Path) -> list[Path]:
    """The folders of the jobs; the runs that a study made for itself lie in its own folder, and are no jobs."""
    ended = [path.parent for path in sorted(folder.rglob("summary.json"))]
    return [job for job in ended if not (job.parent / "summary.json").is_file()]


def _rank(summary: dict[str, Any]) -> float:
    """Best objective first; a job without one last."""
    value = objective(summary["metrics"])
    return math.inf if math.isnan(value) else value


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
