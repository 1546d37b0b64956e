"""Hydra's Optuna sweeper, set so that it gets along with runs that diverge or fail."""

from __future__ import annotations

import logging
from typing import Any

from omegaconf import DictConfig, ListConfig, open_dict

from gradlab.errors import BadInput


def prepare(sweeper: DictConfig, objective: Any, seed: Any) -> None:
    """Sets what was left open.

    A trial that fails is told to Optuna as failed, and the study goes on. The sampler gets the run's seed, so that the
    same command asks for the same trials: a sweep that is resumed finds their results in its folder.

    Args:
        sweeper: the config of Hydra's Optuna sweeper; is changed.
        objective: the setting ``objective``.
        seed: the setting ``seed``.

    Raises:
        BadInput: the directions are not as many as the objectives, or one is to be maximised, which the sweep's table
            and figures would not know.
    """
    import optuna  # an extra, and slow to import

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.ERROR)  # the table names what failed
    several = len(objective) if isinstance(objective, ListConfig) else 1
    with open_dict(sweeper):
        sweeper.max_failure_rate = 1.0
        if "seed" in sweeper.sampler and sweeper.sampler.seed is None:
            sweeper.sampler.seed = seed if isinstance(seed, int) else 0
        if several > 1 and not isinstance(sweeper.direction, ListConfig):
            sweeper.direction = [sweeper.direction] * several
    directions = list(sweeper.direction) if isinstance(sweeper.direction, ListConfig) else [sweeper.direction]
    if len(directions) != several:
        raise BadInput(
            f"hydra.sweeper.direction has {len(directions)} directions for {several} objectives: give one for each, "
            "as in 'objective=[loss,steps]' 'hydra.sweeper.direction=[minimize,minimize]'"
        )
    if any(str(getattr(direction, "name", direction)) == "maximize" for direction in directions):
        raise BadInput(
            "hydra.sweeper.direction=maximize: a sweep's table marks the smallest as the best: leave it out, and put a "
            "minus before the metric of which the largest is the best, as in objective=-accuracy"
        )
