"""What a run returns to the sweep that it is a part of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from omegaconf import ListConfig

from gradlab.errors import BadInput

LARGEST = "-"  # before the name of a metric of which the largest is the best
WITHOUT = ("non-finite", "interrupted", "error", "bad input")  # a run that ended so has no result to compare


def chosen_objective(names: Any, metrics: Mapping[str, Any], status: str, otherwise: float) -> float | list[float]:
    """The value, or the values, that a sweep minimises.

    Args:
        names: the setting ``objective``: a metric, a list of metrics, or None. ``-accuracy`` is minus the accuracy,
            of which the smallest is the best too.
        metrics: of the run.
        status: how the run ended; NaN stands for the values of one that went wrong.
        otherwise: what is minimised where no metric is chosen.

    Raises:
        BadInput: there is no such metric.

    Example:
        >>> chosen_objective(["loss", "steps"], {"loss": 0.5, "steps": 10}, "agree", 0.5)
        [0.5, 10.0]
        >>> chosen_objective("-accuracy", {"accuracy": 0.9}, "agree", 0.5)
        -0.9
        >>> chosen_objective("loss", {"loss": 0.5}, "non-finite", 0.5)
        nan
    """
    several = isinstance(names, (list, tuple, ListConfig))
    wanted = [str(name) for name in names] if several else [] if names is None else [str(names)]
    if status in WITHOUT:
        values = [math.nan] * max(len(wanted), 1)
    elif not wanted:
        values = [otherwise]
    elif unknown := [name for name in wanted if name.removeprefix(LARGEST) not in metrics]:
        raise BadInput(
            f"objective={', '.join(unknown)}: this run has no such metric. It has {', '.join(metrics)}; "
            "several are given as 'objective=[loss,steps]', of -steps the largest is the best, and null takes the "
            "loss on test data, else the loss"
        )
    else:
        values = [_value(name, metrics) for name in wanted]
    return values if several else values[0]


def _value(name: str, metrics: Mapping[str, Any]) -> float:
    value = float(metrics[name.removeprefix(LARGEST)])
    return -value if name.startswith(LARGEST) else value
