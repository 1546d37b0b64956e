"""What a sweep varies, and the names that tell its jobs apart by nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from gradlab.sweeps.folder import number_of
from gradlab.sweeps.overrides import key_of

LONGEST = 180  # bytes; file systems allow 255, and TensorBoard's tables less than anybody wants to read


def fixed_keys(config: DictConfig) -> list[str]:
    """The keys to which a sweep gives one value for all of its jobs.

    Args:
        config: of the whole sweep.
    """
    params = config.hydra.sweeper.get("params") or {}
    settings = [f"{key}={value}" for key, value in params.items()]
    parsed = OverridesParser.create().parse_overrides([*settings, *config.hydra.overrides.task])
    swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
    return sorted({override.key_or_group for override in parsed} - swept)


def swept_keys() -> list[str]:
    """The keys that the sweep of the present job varies; none outside of a sweep."""
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return []
    fixed = hydra.job.config.override_dirname.exclude_keys
    return [key for key in map(key_of, hydra.overrides.task) if key not in fixed]


def job_number() -> int | None:
    """The number of the present job; None outside of a sweep.

    The sweep's own list comes first: where some jobs have a result already, the launcher counts the others only.
    """
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    listed = number_of(Path(hydra.runtime.output_dir))
    return hydra.job.num if listed is None else listed


def folder_name(overrides: Sequence[str], fixed: Sequence[str], number: int) -> str:
    """The name of a job's folder: what was swept, and where that says nothing, the job's number.

    Where characters had to go, because a folder's name cannot hold them, or because they are too many, a checksum of
    all of them stands at the end, so that different jobs never share a folder.

    Args:
        overrides: of the job.
        fixed: keys that are the same for all jobs.
        number: of the job.

    Example:
        >>> folder_name(["optimizer=sgd", "seed=1", "trainer.max_steps=9"], ["trainer.max_steps"], 0)
        'optimizer=sgd,seed=1'
        >>> folder_name(["data.path=texts/a.txt"], [], 0)
        'data.path=texts_a.txt~d904aa97'
        >>> folder_name(["seed=1"], ["seed"], 7)
        '7'
    """
    own = [override.lstrip("+") for override in overrides if key_of(override) not in fixed]
    text = ",".join(own)
    name = re.sub(r"[^\w.=,+~\[\]-]+", "_", text)
    if name != text or len(name.encode()) > LONGEST:
        short = name.encode()[: LONGEST - 9].decode(errors="ignore")
        return f"{short}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return name or str(number)
