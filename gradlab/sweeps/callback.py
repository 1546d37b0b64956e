"""What happens at the start of a sweep, before any of its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from gradlab.errors import BadInput
from gradlab.sweeps.command import CURRENT, Command, Refused
from gradlab.sweeps.folder import claim
from gradlab.sweeps.overrides import key_of, quoted
from gradlab.sweeps.tuning import prepare

LAUNCHER = "hydra_plugins.gradlab_launcher.launcher.GradlabLauncher"


class BeginSweep(Callback):
    """Takes a folder for the sweep, and sees to it that jobs which have a result are not run again."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        command = CURRENT.get() or Command(list(config.hydra.overrides.task))
        try:
            _refuse(config)
            if str(config.hydra.sweeper.get("_target_", "")).endswith(".OptunaSweeper"):
                prepare(config.hydra.sweeper, config.objective, config.seed)
            folder = Path(config.hydra.sweep.dir).absolute() if command.resumes else claim(config)
        except Exception as error:
            raise Refused(error) from error
        command.sweep = folder
        with open_dict(config.hydra):
            config.hydra.sweep.dir = str(folder)
            # From this list Hydra composes the config of each job anew.
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(folder))}")
            chosen = config.hydra.launcher
            config.hydra.launcher = {"_target_": LAUNCHER, "_recursive_": False, "launcher": chosen}


def _refuse(config: DictConfig) -> None:
    """Settings with which a sweep could not work."""
    if "hydra.sweep.subdir" in map(key_of, config.hydra.overrides.hydra):
        raise BadInput("hydra.sweep.subdir: a sweep names the folders of its jobs by what it varies: leave it out")
    if config.sweep.resume is not None:
        raise BadInput(f"sweep.resume={config.sweep.resume}: give it on the command line, not in a config")
