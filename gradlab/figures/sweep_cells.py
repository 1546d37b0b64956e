"""A sweep of two settings as a heatmap: a cell for each pair of values, its colour what the jobs there came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from gradlab.figures import style
from gradlab.figures.sweep import RING, nothing, number_of
from gradlab.figures.sweep_scales import Value, label, put_ticks, scale_of, scale_of_objective

if TYPE_CHECKING:
    from gradlab.sweeps.jobs import Job

FEW_CELLS = 12  # to a side: so many have their value written into them
SPARSE = 3  # times as many cells as jobs: the values were drawn, not taken from a grid


def heatmap(jobs: Sequence[Job], row: str, column: str, objective: str) -> Figure:
    """Draws the objective over two settings; over values that are no grid, as dots.

    Args:
        jobs: those whose settings are known.
        row, column: the settings.
        objective: what is minimised.
    """
    rows, columns = _values(jobs, row), _values(jobs, column)
    if len(rows) > len(columns):
        row, column, rows, columns = column, row, columns, rows
    if len(rows) * len(columns) > SPARSE * len(jobs):
        return _dots(jobs, row, column, objective)
    cells = _cells(jobs, (row, column), (rows, columns))
    means, failed = _means(cells), _failed(cells)
    picture, (axes,) = style.canvas(4.5 + max(5.5, min(len(columns), 20)), 2.5 + max(3.5, 0.8 * min(len(rows), 20)))
    image = axes.imshow(means, cmap=style.SEQUENCE, norm=_norm(means), origin="lower", aspect="auto")
    _hatch(axes, failed & ~np.isfinite(means))
    if max(len(rows), len(columns)) <= FEW_CELLS:
        _write(axes, cells, means, image)
    if np.isfinite(means).any():
        best = np.unravel_index(np.nanargmin(means), means.shape)
        axes.add_patch(_frame(best, edgecolor=style.VERMILLION, linewidth=4, zorder=5, fill=False))
        picture.colorbar(image, ax=axes, label=objective.replace("_", " "))
    _name_cells(axes, rows, columns)
    style.dress(axes, _title(objective, row, column), _caption(cells), column, row)
    return picture


def _values(jobs: Sequence[Job], key: str) -> list[Value | None]:
    """The different values of a setting, numbers first and rising."""
    values = dict.fromkeys(job.settings.get(key) for job in jobs)
    numbers = sorted(value for value in values if isinstance(value, (int, float)))
    return [*numbers, *(value for value in values if not isinstance(value, (int, float)))]


def _cells(
    jobs: Sequence[Job], keys: tuple[str, str], values: tuple[list[Value | None], list[Value | None]]
) -> list[list[list[Job]]]:
    cells: list[list[list[Job]]] = [[[] for _ in values[1]] for _ in values[0]]
    for job in jobs:
        first, second = (own.index(job.settings.get(key)) for own, key in zip(values, keys, strict=True))
        cells[first][second].append(job)
    return cells


def _means(cells: list[list[list[Job]]]) -> np.ndarray:
    """The mean of each cell's jobs that ended well with a number; NaN where there are none."""
    return np.array([[_mean([number_of(job) for job in cell]) for cell in row] for row in cells])


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _failed(cells: list[list[list[Job]]]) -> np.ndarray:
    """Whether any job of a cell came to no number."""
    return np.array([[any(math.isnan(number_of(job)) for job in cell) for cell in row] for row in cells])


def _norm(values: np.ndarray) -> Normalize:
    scale = scale_of_objective(values.ravel().tolist())
    known = [value for value in scale.values if isinstance(value, float) and (value > 0 or scale.kind == "linear")]
    ends = (known[0], known[-1]) if known else (0.0, 1.0)
    return LogNorm(*ends, clip=True) if scale.kind == "log" else Normalize(*ends)  # a zero has the colour of the least


def _frame(cell: Sequence[Any] | np.ndarray, **looks: Any) -> Rectangle:
    return Rectangle((float(cell[1]) - 0.5, float(cell[0]) - 0.5), 1, 1, **looks)


def _hatch(axes: Axes, failed: np.ndarray) -> None:
    for cell in np.argwhere(failed):
        axes.add_patch(_frame(cell, facecolor="#EEEEEE", edgecolor=style.GREY, hatch="///", linewidth=0))


def _write(axes: Axes, cells: list[list[list[Job]]], means: np.ndarray, image: AxesImage) -> None:
    for (row, column), mean in np.ndenumerate(means):
        failed = [job for job in cells[row][column] if math.isnan(number_of(job))]
        lines = [style.number(mean)] if math.isfinite(mean) else [job.status for job in failed[:1]]
        if failed and math.isfinite(mean):
            lines.append(f"{len(failed)} {nothing(failed)}")
        red, green, blue, _ = image.cmap(image.norm(mean)) if math.isfinite(mean) else (1.0, 1.0, 1.0, 1.0)
        is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # luma of ITU-R BT.601
        axes.text(column, row, "\n".join(lines), ha="center", va="center", color="white" if is_dark else style.INK)


def _name_cells(axes: Axes, rows: list[Value | None], columns: list[Value | None]) -> None:
    """The values beside the cells, no more than 20 in a direction."""
    for values, put in ((columns, axes.set_xticks), (rows, axes.set_yticks)):
        every = -(-len(values) // 20)
        put(range(0, len(values), every), [label(value) for value in values[::every]])
    crowded = sum(len(label(value)) + 2 for value in columns[:20]) > 9 * style.size(axes)[0]
    axes.tick_params("x", rotation=30 if crowded else 0)
    axes.grid(False)


def _title(objective: str, row: str, column: str) -> str:
    return f"{objective.replace('_', ' ').capitalize()} for each {row} and {column}"


def _caption(cells: list[list[list[Job]]]) -> str:
    most = max(len(cell) for r in cells for cell in r)
    parts = ["framed: the smallest"]
    if most > 1:
        parts = [f"each cell is the mean of its jobs that ended well, {most} at most\nframed: the smallest mean"]
    if (_failed(cells) & np.isnan(_means(cells))).any():
        parts.append("hatched: failed")
    if any(not cell for r in cells for cell in r):
        parts.append("white: no job")
    return "; ".join(parts)


def _dots(jobs: Sequence[Job], row: str, column: str, objective: str) -> Figure:
    """Settings that were drawn at random or suggested: a dot for each job, its colour what it came to."""
    picture, (axes,) = style.canvas(9.5, 7)
    x, y = (scale_of(job.settings.get(key) for job in jobs) for key in (column, row))
    at = np.array([(x.position(job.settings.get(column)), y.position(job.settings.get(row))) for job in jobs])
    values = np.array([number_of(job) for job in jobs])
    missing, known = np.flatnonzero(np.isnan(values)), np.argsort(-values)[: np.isfinite(values).sum()]
    if len(missing):
        without = nothing([jobs[int(place)] for place in missing])
        axes.plot(*at[missing].T, "x", color=style.GREY, markersize=7, label=without)
    if len(known):  # from the largest to the smallest: the best are drawn last
        colors: dict[str, Any] = {"c": values[known], "cmap": style.SEQUENCE, "norm": _norm(values)}
        dots = axes.scatter(at[known, 0], at[known, 1], s=60, edgecolors="white", linewidths=0.5, **colors)
        picture.colorbar(dots, ax=axes, label=objective.replace("_", " "))
        axes.plot(*at[known[-1:]].T, "o", label=f"the smallest: {style.number(values[known[-1]])}", **RING)
    put_ticks(axes, x, y)
    style.legend_below(axes)
    style.dress(axes, _title(objective, row, column), "one dot a job", column, row)
    return picture
