"""The path of a descent: where the point on a surface stands at each step, or some of a population's points."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gradlab.probes.base import Need, Step
from gradlab.records import Array, Record
from gradlab.schedules import Schedule, every


class PathProbe:
    """The parameters themselves, where all of them together are no more than a point on a surface.

    They become an array ``path/point`` [n]; those of a population an array ``path/points`` [k, n], of which every point
    goes its own way.

    Args:
        schedule: the steps to look at; every step by default.
        largest: points of more coordinates than this are networks, whose path is no picture.
        most: of a population, this many points at the most, evenly chosen by their numbers.
    """

    needs: Need = "gradients"

    def __init__(self, schedule: Schedule | None = None, largest: int = 16, most: int = 64) -> None:
        self.schedule = schedule or every(1)
        self.largest = largest
        self.most = most

    def measure(self, step: Step) -> Iterator[Record]:
        theta = step.parameters.get("theta")
        if theta is not None and len(step.parameters) == 1:
            yield from self.records(theta, step.index)

    def records(self, theta: Tensor, step: int) -> Iterator[Record]:
        """What there is to say of a point [n], or of a population [P, n], at one step."""
        if not 1 <= theta.dim() <= 2 or theta.shape[-1] > self.largest:
            return
        if theta.dim() == 1:
            yield Array("path/point", step, theta.detach().cpu().numpy().copy())
        else:
            chosen = torch.linspace(0, len(theta) - 1, min(self.most, len(theta)), device=theta.device).long()
            yield Array("path/points", step, theta.detach()[chosen].cpu().numpy())
