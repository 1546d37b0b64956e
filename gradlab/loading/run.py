"""One run: its event files put together, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.loading.contents import Contents, Kind, Series
from gradlab.loading.folders import event_files
from gradlab.loading.frames import events
from gradlab.records import Breakdown, Hparams, Record, Scalar, ScalarBlock, Text
from gradlab.sinks import MemorySink

SUMMARY = "summary.json"


@dataclass(slots=True)
class Run:
    """The records of one run.

    Attributes:
        series: for each type of record and each tag the steps ([n] int64) and the points ([n], float64 for scalars
            and records for all else).
        settings: what the run was set to.
        metrics: the numbers that it ended with.
        summary: the contents of its ``summary.json``; empty where there is none.
        folder: where it lies.

    Example:
        >>> run = Run({(Scalar, "loss/train"): (np.arange(2), np.array([2.5, 1.5]))})
        >>> run.find(Scalar, "loss/")["loss/train"][1].tolist()
        [2.5, 1.5]
    """

    series: dict[tuple[Kind, str], Series] = field(default_factory=dict)
    settings: dict[str, bool | float | str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def find(self, kind: Kind, prefix: str = "") -> dict[str, Series]:
        """The series of one type whose tags begin with a prefix."""
        return {tag: series for (of, tag), series in self.series.items() if of is kind and tag.startswith(prefix)}

    def memory(self) -> MemorySink:
        """The run's records where figures look for them."""
        memory = MemorySink()
        memory.write(self._records())
        return memory

    def _records(self) -> Iterable[Record]:
        if self.settings or self.metrics:
            yield Hparams(self.settings, self.metrics)
        for (kind, tag), (steps, points) in self.series.items():
            if kind is Scalar:
                yield ScalarBlock((tag,), steps, points[:, None])
            # The table of a breakdown is made from the breakdown, which is there itself.
            elif kind is not Text or (Breakdown, tag) not in self.series:
                yield from points


def read_run(folder: Path) -> Run:
    """Reads every event file of a folder, in the order of their names, and its ``summary.json``.

    Where a run was resumed, a later file's points replace earlier ones of the same tag at the same and later steps,
    as in TensorBoard.

    Raises:
        OSError: a file cannot be read.

    Example:
        >>> read_run(Path(__file__).parent).series
        {}
    """
    run = Run(folder=folder, summary=_summary(folder))
    names: list[str] = []
    for path in event_files(folder):
        contents = Contents()
        for event in events(path):
            contents.add(event)
        if contents.restart is not None:
            run.series = {key: _before(contents.restart, series) for key, series in run.series.items()}
        for key, series in contents.series().items():
            run.series[key] = _joined(run.series[key], series) if key in run.series else series
        run.settings |= contents.settings
        names += contents.metrics
    run.series = {key: series for key, series in run.series.items() if len(series[0])}
    run.metrics = _metrics(run, names)
    return run


def _before(step: int, series: Series) -> Series:
    steps, points = series
    return steps[steps < step], points[steps < step]


def _joined(earlier: Series, later: Series) -> Series:
    if not len(later[0]):
        return earlier
    kept = _before(int(later[0].min()), earlier)
    return np.append(kept[0], later[0]), np.append(kept[1], later[1])


def _metrics(run: Run, names: Iterable[str]) -> dict[str, float]:
    """The latest scalar of each metric's name, or what ``summary.json`` says, which has not gone through float32."""
    scalars = run.find(Scalar)
    metrics = {name: float(scalars[name][1][-1]) for name in names if name in scalars}
    for name, value in run.summary.get("metrics", {}).items():
        with suppress(TypeError, ValueError):  # no number, such as null or a complex one
            metrics[name] = float(value)
    return metrics


def _summary(folder: Path) -> dict[str, Any]:
    """What ``summary.json`` says; a file of that name that is no summary of gradlab's counts as none."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    is_ours = isinstance(summary, dict) and "exit_code" in summary and isinstance(summary.get("metrics", {}), dict)
    return summary if is_ours else {}
