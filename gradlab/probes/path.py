"""The path of a descent: where the point on a surface stands at each step."""

from __future__ import annotations

from collections.abc import Iterator

from gradlab.probes.base import Need, Step
from gradlab.records import Array, Record
from gradlab.schedules import Schedule, every


class PathProbe:
    """The parameters themselves, where all of them together are no more than a point on a surface.

    Args:
        schedule: the steps to look at; every step by default.
        largest: models with more parameters than this are networks, whose path is no picture.
    """

    needs: Need = "gradients"

    def __init__(self, schedule: Schedule | None = None, largest: int = 16) -> None:
        self.schedule = schedule or every(1)
        self.largest = largest

    def measure(self, step: Step) -> Iterator[Record]:
        theta = step.parameters.get("theta")
        if theta is not None and len(step.parameters) == 1 and theta.dim() == 1 and theta.numel() <= self.largest:
            yield Array("path/point", step.index, theta.detach().cpu().numpy().copy())
