"""A launcher around the chosen one. Hydra accepts launchers from packages below ``hydra_plugins`` only."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GradlabLauncher(Launcher):
    """Has the jobs of a sweep that have no result yet run by another launcher.

    Args:
        launcher: the config of that one: joblib's, Ray's …
    """

    def __init__(self, launcher: DictConfig) -> None:
        self._chosen = launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config = config.copy()
        self._config.hydra.launcher = self._chosen
        self._launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, self._config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from gradlab.sweeps.launch import launch  # only now: a program that is not gradlab does without

        return launch(self._launcher, self._config, job_overrides, initial_job_idx)
