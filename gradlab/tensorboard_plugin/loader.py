"""How TensorBoard finds the tab: the entry point.

An error in the import of this module would stop TensorBoard for every user of the environment, so it imports nothing
but what TensorBoard itself has loaded; all else is imported in `load`, where an error only means that there is no tab.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorboard.plugins import base_plugin

NAME = "gradlab"


class GradlabLoader(base_plugin.TBLoader):
    """Makes the tab, or says in TensorBoard's log why there is none."""

    def fix_flags(self, flags: Any) -> None:
        """Every step is kept: by default TensorBoard chooses 100 of a tag (or 10) at random."""
        samples = getattr(flags, "samples_per_plugin", None)
        if isinstance(samples, dict):
            samples.setdefault(NAME, 0)

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin | None:
        try:
            from gradlab.tensorboard_plugin.plugin import GradlabPlugin

            return GradlabPlugin(context)
        except Exception as error:
            logging.getLogger("tensorboard").warning(
                "gradlab: no Gradlab tab, since %s: %s", type(error).__name__, error
            )
            return None
