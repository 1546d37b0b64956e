"""Runs as tidy tables: columns of equal length, one row a point, a bar, a text or a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from gradlab.loading.contents import Kind, Series
from gradlab.loading.run import Run
from gradlab.records import Histogram, Scalar, Text

Library = Literal["pandas", "polars"]
METRIC = "metric/"  # settings and metrics may share a name: `loss` is both


class ScalarTable(TypedDict):
    """One row a point: ``step`` int64, ``value`` float64."""

    run: list[str]
    tag: list[str]
    step: np.ndarray
    value: np.ndarray


class HistogramTable(TypedDict):
    """One row a bar: ``step`` int64; ``left``, ``right`` and ``count`` float64."""

    run: list[str]
    tag: list[str]
    step: np.ndarray
    left: np.ndarray
    right: np.ndarray
    count: np.ndarray


class TextTable(TypedDict):
    """One row a text: ``step`` int64."""

    run: list[str]
    tag: list[str]
    step: np.ndarray
    markdown: list[str]


def scalar_table(runs: Mapping[str, Run], prefix: str = "") -> ScalarTable:
    """The scalars of some runs; see `Records.scalars`.

    Example:
        >>> scalar_table({})["value"].tolist()
        []
    """
    found = _series(runs, Scalar, prefix)
    names, tags = _labels(found, [len(steps) for _, _, (steps, _) in found])
    steps = _column((steps for _, _, (steps, _) in found), np.int64)
    values = _column((values for _, _, (_, values) in found), np.float64)
    return {"run": names, "tag": tags, "step": steps, "value": values}


def histogram_table(runs: Mapping[str, Run], prefix: str = "") -> HistogramTable:
    """The histograms of some runs; see `Records.histograms`.

    Example:
        >>> histogram_table({})["count"].tolist()
        []
    """
    found = _series(runs, Histogram, prefix)
    histograms = [histogram for _, _, (_, points) in found for histogram in points]
    lengths = [sum(len(histogram.counts) for histogram in points) for _, _, (_, points) in found]
    names, tags = _labels(found, lengths)
    steps = np.array([histogram.step for histogram in histograms], np.int64)
    return {
        "run": names,
        "tag": tags,
        "step": np.repeat(steps, [len(histogram.counts) for histogram in histograms]),
        "left": _column((histogram.edges[:-1] for histogram in histograms), np.float64),
        "right": _column((histogram.edges[1:] for histogram in histograms), np.float64),
        "count": _column((histogram.counts for histogram in histograms), np.float64),
    }


def text_table(runs: Mapping[str, Run], prefix: str = "") -> TextTable:
    """The texts of some runs; see `Records.texts`.

    Example:
        >>> text_table({})["markdown"]
        []
    """
    found = _series(runs, Text, prefix)
    names, tags = _labels(found, [len(steps) for _, _, (steps, _) in found])
    steps = _column((steps for _, _, (steps, _) in found), np.int64)
    markdown = [text.markdown for _, _, (_, points) in found for text in points]
    return {"run": names, "tag": tags, "step": steps, "markdown": markdown}


def settings_table(runs: Mapping[str, Run]) -> dict[str, list[Any]]:
    """One row a run; see `Records.settings`.

    Example:
        >>> settings_table({"a": Run(settings={"lr": 0.1}), "b": Run(metrics={"loss": 2.0})})["lr"]
        [0.1, None]
    """
    rows = [
        {
            **run.settings,
            **{METRIC + metric: value for metric, value in run.metrics.items()},
            "run": name,
            "status": run.summary.get("status"),
            "exit_code": run.summary.get("exit_code"),
        }
        for name, run in runs.items()
    ]
    inner = dict.fromkeys(name for row in rows for name in row)
    names = ["run", *(name for name in inner if name not in ("run", "status", "exit_code")), "status", "exit_code"]
    return {name: [row.get(name) for row in rows] for name in names}


def to_frame(columns: Mapping[str, Any], library: Library | None) -> Any:
    """A frame of pandas or polars; see `Records.frame`.

    Example:
        >>> to_frame({"step": np.arange(2)}, "pandas").shape
        (2, 1)
    """
    if library is not None and library not in get_args(Library):
        raise ValueError(
            f"library={library!r}: choose one of {', '.join(get_args(Library))}, or None for what there is"
        )
    wanted = get_args(Library) if library is None else (library,)
    for name in wanted:
        try:
            return _pandas(columns) if name == "pandas" else _polars(columns)
        except ModuleNotFoundError as error:
            if error.name != name:  # the library is there, and something is wrong with it
                raise
    missing = f"{library} is not" if library else "neither pandas nor polars is"
    raise ImportError(
        f"a frame needs a library, and {missing} installed: pip install 'gradlab-torch[{wanted[0]}]'; without one, "
        "scalars(), histograms(), texts() and settings() give the same columns as a dict"
    )


def _pandas(columns: Mapping[str, Any]) -> Any:
    import pandas

    return pandas.DataFrame(dict(columns))


def _polars(columns: Mapping[str, Any]) -> Any:
    import polars

    # A setting may be a number in one run and a word in another, such as inf; strict columns refuse that.
    return polars.DataFrame(dict(columns), strict=False)


def _series(runs: Mapping[str, Run], kind: Kind, prefix: str) -> list[tuple[str, str, Series]]:
    return [(name, tag, series) for name, run in runs.items() for tag, series in run.find(kind, prefix).items()]


def _labels(found: Iterable[tuple[str, str, Series]], lengths: list[int]) -> tuple[list[str], list[str]]:
    """The columns ``run`` and ``tag``, each name as many times as it has rows."""
    names: list[str] = []
    tags: list[str] = []
    for (name, tag, _), length in zip(found, lengths, strict=True):
        names += [name] * length
        tags += [tag] * length
    return names, tags


def _column(parts: Iterable[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts], dtype=dtype, casting="unsafe")
