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
        BadInput: the directions are not as many as the objectives.
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
    directions = len(sweeper.direction) if isinstance(sweeper.direction, ListConfig) else 1
    if directions != several:
        raise BadInput(
            f"hydra.sweeper.direction has {directions} directions for {several} objectives: give one for each, "
            "as in 'objective=[loss,steps]' 'hydra.sweeper.direction=[minimize,minimize]'"
        )
