"""Ray, connected before Hydra's launcher would do it: that one gives a size for memory, which no cluster accepts."""

from __future__ import annotations

import time
from typing import Any

from omegaconf import DictConfig, OmegaConf


def connect(init: DictConfig) -> None:
    """Connects to a cluster, or starts a Ray on this machine, which ends with this process.

    Args:
        init: the config ``hydra.launcher.ray.init``: arguments of ``ray.init``.

    Raises:
        ConnectionError: there is no cluster at the address.
    """
    import ray  # an extra, and slow to import

    settings: Any = OmegaConf.to_container(init, resolve=True)
    if not ray.is_initialized():
        ray.init(**{"logging_level": "error", **settings})


def wait_for_prints() -> None:
    """Lets what the jobs have printed arrive: it comes later than their results, and would fall into what we print.

    Half a second is what Ray itself waits for it at the end of a process.
    """
    time.sleep(0.5)
