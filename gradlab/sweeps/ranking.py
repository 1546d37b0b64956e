"""Which jobs of a sweep are the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradlab.sweeps.jobs import Job
from gradlab.sweeps.objective import LARGEST


def ranked(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that ended well, best first, then those that failed, by number.

    Of several objectives, the Pareto set comes first, by the first objective.

    Args:
        jobs: in the order of their numbers.
    """
    best = {job.name for job in best_of(jobs)}
    well = [job for job in jobs if not job.exit_code]
    well.sort(key=lambda job: (job.name not in best, *map(_last_where_nan, job.objective)))
    return well + [job for job in jobs if job.exit_code]


def best_of(jobs: Sequence[Job]) -> list[Job]:
    """Those of the jobs that ended well to which no other is better.

    A job is better than another if it is smaller in one objective and larger in none; of several objectives, what is
    left is the Pareto set. Jobs with equal objectives are all left; those without a finite one are not.
    """
    several = max((len(job.objective) for job in jobs), default=0)
    ended = [job for job in jobs if not job.exit_code and len(job.objective) == several]
    known = [job for job in ended if job.objective and all(map(math.isfinite, job.objective))]
    front: list[tuple[float, ...]] = []
    for values in sorted({job.objective for job in known}):  # whatever is better than a row comes before it
        if not any(_covers(better, values) for better in front):
            front.append(values)
    kept = set(front)
    return [job for job in known if job.objective in kept]


def objective_names(jobs: Sequence[Job]) -> list[str]:
    """What the objectives are called: the metric that each equals in all jobs that ended well, else "objective".

    One that is minus a metric is called ``-accuracy``, as in the setting ``objective``.

    Example:
        >>> from pathlib import Path
        >>> job = Job("a", Path("a"), 0, "agree", 0, "", {"loss": 0.5, "accuracy": 0.9}, (0.5, 7.0), {})
        >>> objective_names([job])
        ['loss', 'objective 2']
    """
    several = max((len(job.objective) for job in jobs), default=1)
    if several == 1:
        return [_name(jobs, 0) or "objective"]
    return [_name(jobs, place) or f"objective {place + 1}" for place in range(several)]


def _name(jobs: Sequence[Job], place: int) -> str | None:
    known = [job for job in jobs if job.metrics and len(job.objective) > place and not math.isnan(job.objective[place])]
    known = [job for job in known if not job.exit_code] or known
    names = list(known[0].metrics) if known else []
    minus: list[str] = []
    for name in sorted(names, key=lambda name: name != "test_loss"):  # two names can stand for the same numbers
        if all(_same(job.metrics.get(name), job.objective[place]) for job in known):
            return name
        if all(_same(job.metrics.get(name), -job.objective[place]) for job in known):
            minus.append(f"{LARGEST}{name}")
    return next(iter(minus), None)


def _same(metric: float | None, objective: float) -> bool:
    return metric is not None and float(metric) == objective


def _covers(better: tuple[float, ...], values: tuple[float, ...]) -> bool:
    return all(b <= v for b, v in zip(better, values, strict=True))


def _last_where_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value
