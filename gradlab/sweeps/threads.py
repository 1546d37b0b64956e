"""How many CPU threads a job may use."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import DictConfig

from gradlab.errors import BadInput


def threads_of(threads: Any, launcher: DictConfig) -> int:
    """The threads for tensor operations of the present job.

    Args:
        threads: the setting; None for this job's share of the processor's cores.
        launcher: the config of Hydra's launcher.

    Raises:
        BadInput: the setting is no whole number from 1.

    Example:
        >>> from omegaconf import OmegaConf
        >>> threads_of(3, OmegaConf.create({"_target_": "any.Launcher"}))
        3
    """
    if threads is None:
        return share(launcher, cores())
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise BadInput(f"threads={threads}: give a whole number from 1, or null for this job's share of all cores")
    return threads


def share(launcher: DictConfig, available: int) -> int:
    """One job's share of the cores, so that all jobs that run at the same time get along.

    Args:
        launcher: the config of Hydra's launcher.
        available: cores that this process may use.

    Example:
        >>> from omegaconf import OmegaConf
        >>> share(OmegaConf.create({"_target_": "x.JoblibLauncher", "n_jobs": 2}), available=8)
        4
    """
    name = str(launcher.get("_target_", "")).rpartition(".")[2]
    if name == "JoblibLauncher":
        jobs = launcher.n_jobs if launcher.n_jobs > 0 else available + 1 + launcher.n_jobs  # joblib's own rule
        return max(1, available // max(1, jobs))
    if name in ("LocalLauncher", "SlurmLauncher"):
        return min(launcher.cpus_per_task or 1, available)
    if name == "RayLauncher":
        return max(1, min(int(launcher.ray.remote.get("num_cpus", 1)), available))  # Ray's default is one CPU a task
    return available


def cores() -> int:
    """The cores that this process may use, which may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
