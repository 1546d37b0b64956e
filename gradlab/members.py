"""The model of a config; with ``model.population``, as many of them at once, each drawn from its own seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from inspect import signature
from typing import Any

import numpy as np
import torch
from hydra.utils import get_object, instantiate
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from gradlab.data.table import checked_seed
from gradlab.models import Population

SEEDS = ("different", "same")


def make_model(cfg: DictConfig, **known: Any) -> Any:
    """What ``cfg.model`` describes, or a `Population` of it.

    The keys ``population`` and ``seeds`` are no arguments of a network, and are kept from it; a class that has an
    argument of that name, such as `gradlab.models.Point`, gets it and makes of it what it likes.

    Args:
        cfg: with a part ``model`` and the ``seed`` of the run.
        known: arguments beside those in the config.

    Raises:
        ValueError: there is no such population, no such seeds, or seeds for a class that makes its own population.
    """
    taken = _arguments(OmegaConf.select(cfg, "model._target_", throw_on_missing=False))
    single = cfg.copy()  # whole, since the model's values may refer to the data's
    with open_dict(single):
        own = {key: single.model.pop(key) for key in ("population", "seeds") if key in cfg.model and key not in taken}
    if "population" in taken and own.get("seeds", "different") != "different":  # the default of model=custom
        raise ValueError(f"model.seeds={own['seeds']}: {cfg.model._target_} makes its own population: leave it out")
    population = own.get("population")
    if population is None:
        return instantiate(single.model, **known)
    seeds = seeds_of(own.get("seeds", "different"), population, cfg.seed)
    drawn = {seed: _drawn(single, seed, known) for seed in dict.fromkeys(seeds)}
    return Population([drawn[seed] for seed in seeds])


def seeds_of(seeds: Any, population: Any, seed: int) -> list[int]:
    """A seed for each member.

    Args:
        seeds: ``different``: seed, seed + 1, …; ``same``: seed for all, so that the members begin alike; or a list.
        population: the number P of members, a whole number above 0.
        seed: of the run.

    Returns:
        P whole numbers.

    Raises:
        ValueError: ``population`` or ``seeds`` is none of these.

    Example:
        >>> seeds_of("different", 3, seed=7), seeds_of("same", 3, seed=7), seeds_of([1, 1, 2], 3, seed=7)
        ([7, 8, 9], [7, 7, 7], [1, 1, 2])
    """
    if not isinstance(population, int) or isinstance(population, bool) or population < 1:
        raise ValueError(f"model.population={population}: give a whole number above 0, or null for a single network")
    if isinstance(seeds, str) and seeds in SEEDS:
        listed = [seed + place * (seeds == "different") for place in range(population)]
    elif isinstance(seeds, Iterable) and not isinstance(seeds, str):
        listed = list(seeds)
    else:
        listed = []
    if len(listed) != population:
        found = f"has {len(listed)} seeds" if listed else "is none of these"
        raise ValueError(
            f"model.seeds={seeds} {found}: choose {' or '.join(SEEDS)}, or give model.population={population} whole "
            "numbers as a list"
        )
    return [checked_seed(one) for one in listed]


def _drawn(cfg: DictConfig, seed: int, known: dict[str, Any]) -> nn.Module:
    """The network with the numbers that a run of this seed begins with; every generator is as before afterwards."""
    with isolate_rng():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        return instantiate(cfg.model, **known)


def _arguments(target: Any) -> set[str]:
    try:
        return set(signature(get_object(target)).parameters)
    except Exception:  # it is missing, cannot be imported or takes no arguments: to instantiate it says what is wrong
        return set()
