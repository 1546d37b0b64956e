"""Which figures a sweep gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradlab.sweeps.jobs import Job
from gradlab.sweeps.objective import LARGEST
from gradlab.sweeps.ranking import best_of, objective_names
from gradlab.sweeps.table import setting_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEED = "seed"


def pictures_of(jobs: Sequence[Job]) -> dict[str, bytes]:
    """Every figure that the jobs allow, as PNG.

    Args:
        jobs: by number.

    Returns:
        ``sweep_parallel``; of one swept setting ``sweep``, of two ``sweep_heatmap``, a swept seed not counted; of two
        objectives ``sweep_pareto``. None where fewer than two jobs differ, or none came to a number.
    """
    known = [job for job in jobs if job.settings]
    if len(known) < 2 or not best_of(known):
        return {}
    from gradlab.figures import png  # matplotlib is slow to import
    from gradlab.figures.style import look

    with look():
        return {name: png(figure) for name, figure in _figures(known).items()}


def _figures(jobs: Sequence[Job]) -> dict[str, Figure]:
    from gradlab.figures.sweep import parallel
    from gradlab.figures.sweep_cells import heatmap
    from gradlab.figures.sweep_points import curve, pareto

    keys = setting_names(jobs)
    objectives = [re.sub(f"^{LARGEST}", "minus ", name) for name in objective_names(jobs)]
    best = {job.name for job in best_of(jobs)}
    figures = {"sweep_parallel": parallel(jobs, keys, objectives, best)}
    apart = [key for key in keys if key != SEED] or keys
    if len(objectives) == 2:
        figures["sweep_pareto"] = pareto(jobs, objectives, best)
    if len(objectives) > 1:
        return figures
    if len(apart) == 1:
        figures["sweep"] = curve(jobs, apart[0], objectives[0], best)
    if len(apart) == 2 or len(keys) == 2:
        rows, columns = apart if len(apart) == 2 else keys
        figures["sweep_heatmap"] = heatmap(jobs, rows, columns, objectives[0])
    return figures
