"""A network learns: what its gradients do from the first step to the last, together and layer by layer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from gradlab.diagnosis import depth_weights
from gradlab.errors import BadInput
from gradlab.sinks import MemorySink
from gradlab.studies.base import Findings, Setting

QUANTITIES = {"gradient RMS": "gradient/{}/rms", "cosine": "gradient/{}/cosine", "update ratio": "update/{}/ratio"}
HEADING = ("weight", *(f"{name}, {end}" for name in QUANTITIES for end in ("first", "last")))
TOTALS = {"loss": "loss/train", "gradient norm": "total/norm_before_clipping", "cosine": "total/cosine"}


class Training:
    """Runs the configured descent once, and compares its first steps with its last ones.

    Args:
        window: over how many steps at either end is averaged.

    Raises:
        BadInput: the window is empty.
    """

    def __init__(self, window: int = 20) -> None:
        if window < 1:
            raise BadInput(f"study.window={window}: give a number of steps, at least 1")
        self._window = int(window)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import training  # matplotlib is slow to import

        (run,) = setting.run({"training": []})
        weights = weights_of(run.memory)
        missing = [tag for tag in TOTALS.values() if tag not in run.memory.scalars(tag)]
        if missing or not weights:
            raise BadInput("this study needs the gradients of a network at every step: probes=all")
        return Findings(
            numbers=dict(self._numbers(run.memory, weights)),
            title=f"{run.name}: means over the first and over the last {self._window} steps",
            rows=[HEADING, *self._rows(run.memory, weights)],
            figures={
                "training": training.progress(run.memory),
                "steps": training.steps(run.memory, weights, self._window),
            },
            statuses={run.name: run.status},
        )

    def _numbers(self, memory: MemorySink, weights: list[str]) -> Iterator[tuple[str, float]]:
        yield "loss at the first step", float(_values(memory, TOTALS["loss"])[0])
        for name, tag in TOTALS.items():
            yield from self._ends(name, _values(memory, tag))
        for weight in weights:
            ratios = _values(memory, QUANTITIES["update ratio"].format(weight))
            yield f"{weight}: update ratio, very first", float(ratios[0])
            for name, tag in QUANTITIES.items():
                yield from self._ends(f"{weight}: {name}", _values(memory, tag.format(weight)))

    def _ends(self, name: str, values: np.ndarray) -> Iterator[tuple[str, float]]:
        yield f"{name}, first", float(values[: self._window].mean())
        yield f"{name}, last", float(values[-self._window :].mean())

    def _rows(self, memory: MemorySink, weights: list[str]) -> Iterator[tuple[str, ...]]:
        for weight in weights:
            ends = [pair for tag in QUANTITIES.values() for pair in self._ends("", _values(memory, tag.format(weight)))]
            yield weight, *(f"{value:.3g}" for _, value in ends)


def weights_of(memory: MemorySink) -> list[str]:
    """The weights whose gradients were recorded at every step, first the one nearest to the input.

    Example:
        >>> weights_of(MemorySink())
        []
    """
    found = (re.fullmatch(r"gradient/(.+)/cosine", tag) for tag in memory.scalars("gradient/"))
    return depth_weights([match[1] for match in found if match])


def _values(memory: MemorySink, tag: str) -> np.ndarray:
    return memory.scalars(tag)[tag][1]
