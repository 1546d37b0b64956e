"""A sweep of one setting as points over its values, and one of two objectives with its Pareto set."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from gradlab.figures import style
from gradlab.figures.sweep import RING, nothing, number_of
from gradlab.figures.sweep_scales import FAILED, Scale, put_ticks, scale_of, scale_of_objective

if TYPE_CHECKING:
    from gradlab.sweeps.jobs import Job


def curve(jobs: Sequence[Job], key: str, objective: str, best: Collection[str]) -> Figure:
    """Draws what each job came to over the one setting that was swept.

    Args:
        jobs: those whose settings are known.
        key: the setting.
        objective: what is minimised.
        best: names of the best jobs.
    """
    x, y = scale_of(job.settings.get(key) for job in jobs), scale_of_objective(number_of(job) for job in jobs)
    groups: defaultdict[float, list[float]] = defaultdict(list)
    for job in jobs:
        groups[x.position(job.settings.get(key))].append(number_of(job))
    repeated = any(len(group) > 1 for group in groups.values())
    picture, (axes,) = style.canvas(9.5, 6.5)
    means = [(at, _mean(groups[at])) for at in sorted(groups)]
    if x.kind != "category":
        ends = np.array([(at, y.position(mean)) for at, mean in means if math.isfinite(mean)]).reshape(-1, 2)
        axes.plot(*ends.T, color=style.BLUE, alpha=0.6, label="mean" if repeated else None)
    at = np.array([(x.position(job.settings.get(key)), y.position(number_of(job))) for job in jobs])
    known = np.isfinite(at[:, 1])
    axes.plot(*at[known].T, "o", color=style.BLUE, markersize=8, label="one job")
    without = nothing([job for job, k in zip(jobs, known, strict=True) if not k])
    if without:
        axes.plot(at[~known, 0], np.full((~known).sum(), FAILED), "x", color=style.INK, markersize=9, label=without)
    chosen = [place for place, job in enumerate(jobs) if job.name in best]
    if chosen:
        smallest = style.number(jobs[chosen[0]].objective[0])
        axes.plot(*at[chosen].T, "o", label=f"the smallest: {smallest}", **RING)
    put_ticks(axes, x, y, without)
    style.legend_below(axes)
    name = objective.replace("_", " ")
    style.dress(axes, f"{name.capitalize()} over {key}", _scales_said(x, y), key, name)
    return picture


def pareto(jobs: Sequence[Job], objectives: Sequence[str], best: Collection[str]) -> Figure:
    """Draws the two objectives of each job over one another, and the Pareto set as a stair.

    Args:
        jobs: those whose settings are known.
        objectives: what is minimised, two names.
        best: names of the jobs of the Pareto set.
    """
    x, y = (scale_of_objective(number_of(job, place) for job in jobs) for place in (0, 1))
    at = np.array([(x.position(number_of(job)), y.position(number_of(job, 1))) for job in jobs])
    known, front = np.isfinite(at).all(axis=1), np.array([job.name in best for job in jobs])
    picture, (axes,) = style.canvas(9, 7.5)
    axes.plot(*at[known & ~front].T, "o", color=style.BLUE, markersize=8, label="one job")
    stair = at[front][np.lexsort(at[front].T[::-1])]
    axes.plot(*stair.T, "o-", drawstyle="steps-post", color=style.VERMILLION, markersize=10, label="the Pareto set")
    put_ticks(axes, x, y)
    style.legend_below(axes)
    names = [name.replace("_", " ") for name in objectives]
    missing = f"; left out: {(~known).sum()} without numbers" if not known.all() else ""
    caption = f"of a red dot no other job is better in both{missing}"
    style.dress(axes, f"{names[0].capitalize()} against {names[1]}", caption, *names)
    return picture


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _scales_said(x: Scale, y: Scale) -> str:
    logarithmic = [name for name, scale in (("horizontally", x), ("vertically", y)) if scale.kind == "log"]
    return f"lower is better; logarithmic {' and '.join(logarithmic)}" if logarithmic else "lower is better"
