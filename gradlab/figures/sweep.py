"""A sweep as parallel coordinates: an axis for each swept setting, the objective's last, and a line for each job."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from gradlab.figures import style
from gradlab.figures.sweep_scales import FAILED, Scale, scale_of, scale_of_objective

if TYPE_CHECKING:
    from gradlab.sweeps.jobs import Job

CAPTION = "one line a job, from setting to setting; where it ends on the last axis is what it came to: lower is better"
SEVERAL = "one line a job, from setting to setting to what it came to on the last {} axes: lower is better"
MANY = 100  # lines: from here on thin ones
RING: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 3, "markersize": 15, "color": style.VERMILLION}
PALEST = 0.9  # of the colour map: beyond, a line is too pale on white


def parallel(jobs: Sequence[Job], keys: Sequence[str], objectives: Sequence[str], best: Collection[str]) -> Figure:
    """Draws every job's settings and objectives as one line.

    Args:
        jobs: those whose settings are known.
        keys: the swept settings.
        objectives: what is minimised; names of the last axes.
        best: names of the best jobs.
    """
    scales = [scale_of(job.settings.get(key) for job in jobs) for key in keys]
    scales += [scale_of_objective(number_of(job, place) for job in jobs) for place in range(len(objectives))]
    rows = np.array([_row(job, keys, scales) for job in jobs])
    ended = np.isfinite(rows).all(axis=1)
    rows[~np.isfinite(rows)] = FAILED
    picture, (axes,) = style.canvas(min(40, max(11, 2.3 * len(scales) + 1.5)), 7)
    _draw_jobs(axes, rows, ended, np.array([job.name in best for job in jobs]))
    without = nothing([job for job, e in zip(jobs, ended, strict=True) if not e])
    for place, scale in enumerate(scales):
        _draw_axis(axes, place, scale, without if place >= len(keys) else "")
    caption = CAPTION if len(objectives) == 1 else SEVERAL.format(len(objectives))
    style.dress(axes, f"{len(jobs)} jobs: which settings lead where?", caption, "", "")
    names = [*keys, *(name.replace("_", " ") for name in objectives)]
    _leave_frame(axes, [style.shorten(name, 24) for name in names], FAILED if without else 1)
    _explain(axes, [job for job in jobs if job.name in best], objectives, without, int((~ended).sum()))
    return picture


def number_of(job: Job, place: int = 0) -> float:
    """An objective of a job that ended well with a finite one, else NaN."""
    if job.exit_code or place >= len(job.objective) or not math.isfinite(job.objective[place]):
        return math.nan
    return job.objective[place]


def nothing(jobs: Sequence[Job]) -> str:
    """What to call the end of jobs without a number; empty if there are none."""
    return "" if not jobs else "failed" if all(job.exit_code for job in jobs) else "no number"


def _row(job: Job, keys: Sequence[str], scales: Sequence[Scale]) -> list[float]:
    """Where a job's line crosses each axis; NaN where it has no number."""
    settings = [scale.position(job.settings.get(key)) for key, scale in zip(keys, scales, strict=False)]
    return settings + [scale.position(number_of(job, place)) for place, scale in enumerate(scales[len(keys) :])]


def _draw_jobs(axes: Axes, rows: np.ndarray, ended: np.ndarray, is_best: np.ndarray) -> None:
    usual = rows[ended & ~is_best]
    usual = usual[np.argsort(-usual[:, -1])]  # the better, the later, and so on top
    width, alpha = (1.6, 0.85) if len(rows) < MANY else (0.9, 0.6)
    colors = matplotlib.colormaps[style.SEQUENCE](PALEST * usual[:, -1])
    _draw_lines(axes, rows[~ended], colors=style.GREY, linestyles=":", linewidths=1.6, zorder=1)
    _draw_lines(axes, usual, colors=colors, linewidths=width, alpha=alpha, zorder=2)
    _draw_lines(axes, rows[is_best], colors="white", linewidths=6, zorder=3)
    _draw_lines(axes, rows[is_best], colors=style.VERMILLION, linewidths=3, zorder=4)


def _draw_lines(axes: Axes, rows: np.ndarray, **looks: Any) -> None:
    crossings = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
    axes.add_collection(LineCollection(list(np.stack([crossings, rows], axis=-1)), **looks))


def _draw_axis(axes: Axes, place: int, scale: Scale, failed: str) -> None:
    axes.plot([place, place], [0, 1], color=style.INK, linewidth=1.2, zorder=5)
    halo = [withStroke(linewidth=4, foreground="white", alpha=0.85)]
    for height, text in [*scale.ticks(), *([(FAILED, failed)] if failed else [])]:
        axes.plot([place - 0.03, place], [height, height], color=style.INK, linewidth=1.2, zorder=5)
        axes.text(place - 0.045, height, text, ha="right", va="center", fontsize=12, zorder=6, path_effects=halo)


def _leave_frame(axes: Axes, names: Sequence[str], top: float) -> None:
    """The axes of the settings stand for themselves."""
    axes.set_xticks(range(len(names)), names)
    axes.tick_params("x", length=0, pad=10)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.5, len(names) - 0.85)
    axes.set_ylim(-0.04, top + 0.04)


def _explain(axes: Axes, best: Sequence[Job], objectives: Sequence[str], without: str, count: int) -> None:
    handles = []
    if best:
        smallest = f"the smallest {objectives[0].replace('_', ' ')}: {style.number(best[0].objective[0])}"
        said = smallest if len(objectives) == 1 else "the Pareto set: no other job is better in all of these"
        handles.append(Line2D([], [], color=style.VERMILLION, linewidth=3, label=said))
    if without:
        jobs = f"{count} {'job' if count == 1 else 'jobs'}"
        words = f"{jobs} failed" if without == "failed" else f"{jobs} came to no number"
        handles.append(Line2D([], [], color=style.GREY, linestyle=":", label=words))
    if handles:
        style.legend_below(axes, handles)
