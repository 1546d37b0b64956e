"""From a resolved config to the parts of a run; whatever cannot work becomes one clear message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from gradlab.errors import BadInput
from gradlab.losses import Surface
from gradlab.members import make_model
from gradlab.population import check_population, check_settings
from gradlab.probes import Probe


def config_folder() -> Path:
    """Where the configs lie: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def options(group: str) -> list[str]:
    """The options of a config group.

    Example:
        >>> options("trainer")
        ['cpu', 'debug', 'gpu']
    """
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of."""

    model: nn.Module
    loss: nn.Module
    optimizer: Callable[..., Any]
    data: pl.LightningDataModule
    probes: dict[str, Probe]


def build(cfg: DictConfig) -> Parts:
    """Instantiates the parts in the order in which they need each other.

    Raises:
        BadInput: names the group, the cause, and what could be chosen instead.
    """
    data = _make(cfg, "data")
    _set_up(data)
    loss = _make(cfg, "loss")
    model = _model(cfg, loss)
    optimizer = _make(cfg, "optimizer")
    for part, group in ((loss, "loss"), (model, "model")):
        if not isinstance(part, nn.Module):
            raise BadInput(f"{group}: {type(part).__name__} is no torch.nn.Module: give a class that is one")
    if not callable(optimizer):
        raise BadInput("optimizer: give a torch.optim.Optimizer class, with _partial_: true beside its _target_")
    check_settings(cfg, optimizer)
    _try("optimizer", cfg, lambda: optimizer(model.parameters()))
    check_population(cfg, model, optimizer)
    _check_length(cfg, data)
    return Parts(model, loss, optimizer, data, {name: _make(cfg.probes, name, "probes.") for name in cfg.probes})


def check_parts(cfg: DictConfig) -> tuple[nn.Module, nn.Module | None, pl.LightningDataModule]:
    """The parts that a check needs: model, loss (None where none is chosen) and data."""
    data = _make(cfg, "data")
    _set_up(data)
    loss = _make(cfg, "loss") if cfg.get("loss") is not None else None
    model = _model(cfg, loss)
    if not isinstance(model, nn.Module):
        raise BadInput(f"model: {type(model).__name__} is no torch.nn.Module: give a class that is one")
    return model, loss, data


def _model(cfg: DictConfig, loss: Any) -> Any:
    """The model; a population on a surface is told over which window it is spread."""
    is_told = isinstance(loss, Surface) and "window" in cfg.model and cfg.model.window is None
    known = {"window": loss.box} if is_told else {}
    return _try("model", cfg, lambda: make_model(cfg, **known))


def _set_up(data: Any) -> None:
    if not isinstance(data, pl.LightningDataModule):
        raise BadInput(f"data: {type(data).__name__} is no LightningDataModule: give a class that is one")
    try:
        data.prepare_data()
        data.setup("fit")
    except (ValueError, TypeError) as error:
        raise BadInput(f"data: {error}") from error


def make_trainer(cfg: DictConfig, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """The trainer of a config, which writes nothing but into ``folder``."""
    return _try("trainer", cfg, lambda: instantiate(cfg.trainer, callbacks=callbacks, default_root_dir=str(folder)))


def _make(cfg: DictConfig, key: str, prefix: str = "") -> Any:
    return _try(prefix + key, cfg, lambda: instantiate(cfg[key]))


def explained(group: str, cfg: DictConfig, make: Callable[[], Any]) -> Any:
    """What ``make`` gives; what goes wrong in it as one clear message.

    Raises:
        BadInput: names the group and the cause.
    """
    return _try(group, cfg, make)


def _try(group: str, cfg: DictConfig, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (HydraException, OmegaConfBaseException, ValueError, TypeError, ImportError, RuntimeError) as error:
        raise BadInput(f"{group}: {_explain(group, cfg, error)}") from error
    except Exception as error:  # Lightning's MisconfigurationException derives from Exception alone
        if type(error).__name__ != "MisconfigurationException":
            raise
        raise BadInput(f"{group}: {error}") from error


def _explain(group: str, cfg: DictConfig, error: Exception) -> str:
    """The innermost cause in one sentence, and what to do about it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause).strip().split("\n")[0] or type(cause).__name__
    missing = re.search(r"Interpolation key '(\w+)\.(\w+)' not found", str(error))
    if missing:
        needed, key = missing.groups()
        return (
            f"it asks for {needed}.{key}, which the chosen {needed} does not have. "
            f"Choose another {needed} ({', '.join(options(needed))}), another {group} "
            f"({', '.join(options(group))}), or set the value yourself"
        )
    if "MissingMandatoryValue" in type(error).__name__ or "Missing mandatory value" in str(error):
        return f"its _target_ is not set: add {group}._target_=your_package.YourClass"
    target = OmegaConf.select(cfg, f"{group}._target_", throw_on_missing=False)
    if isinstance(cause, (ImportError, AttributeError)) or "Error locating target" in str(error):
        return (
            f"_target_={target} cannot be imported ({text}). Give the dotted path of a class that "
            "`python -c` can import from the present folder, such as my_package.Net"
        )
    return text


def _check_length(cfg: DictConfig, data: pl.LightningDataModule) -> None:
    bounds = (cfg.trainer.get("max_steps", -1), cfg.trainer.get("max_epochs", -1))
    if bounds[0] in (None, -1) and (bounds[1] in (None, -1) or not hasattr(data.train_dataloader(), "__len__")):
        raise BadInput(
            "trainer: nothing bounds this run, since max_steps is -1 (no bound) and max_epochs does not apply: "
            "set trainer.max_steps, for example trainer.max_steps=1000"
        )
