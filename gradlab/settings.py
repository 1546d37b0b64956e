"""A run's settings as a flat table, for TensorBoard's hparams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gradlab.sweeps.names import swept_keys

CHOICES = ("loss", "model", "optimizer", "data", "trainer")
PARTS = ("loss", "model", "optimizer", "data", "study")


def settings_of(cfg: DictConfig, choices: Mapping[str, Any] | None = None) -> dict[str, bool | float | str]:
    """The chosen option of each group and every plain value in it: ``optimizer`` and ``optimizer.lr``.

    In a sweep, only what the sweep varies: the same keys in every run, so that TensorBoard's table of them tells the
    runs apart at a glance.

    Args:
        cfg: resolved.
        choices: the chosen options by group; None takes those of the present job.
    """
    if choices is None:
        choices = HydraConfig.get().runtime.choices
        if swept := swept_keys():
            return {key: _plain(choices[key] if key in choices else OmegaConf.select(cfg, key)) for key in swept}
    settings: dict[str, bool | float | str] = {"experiment": str(cfg.name), "seed": cfg.seed}
    settings |= {group: str(choices.get(group)) for group in CHOICES if choices.get(group) is not None}
    for group in PARTS:
        part: Any = OmegaConf.to_container(cfg[group], resolve=True) if cfg.get(group) is not None else {}
        settings |= {f"{group}.{k}": _plain(v) for k, v in part.items() if not k.startswith("_")}
    if cfg.get("trainer") is not None:
        settings["trainer.max_steps"] = cfg.trainer.get("max_steps", -1)
    return settings


def _plain(value: Any) -> bool | float | str:
    return value if isinstance(value, (bool, int, float)) else str(value)
