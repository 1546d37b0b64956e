"""Arrivals: from which step on each point of a population stays close to its goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gradlab.probes.base import Need, Step
from gradlab.records import Array, Record
from gradlab.schedules import Schedule, every

NEVER = -1


class ArrivalProbe:
    """When the distance from a goal fell below a share of the first distance, for good.

    The array ``population/arrival`` has a number of steps for each point of `gradlab.models.Point`: the first step from
    which on it is near in every step that was looked at; `NEVER` where it is not near at the last one.

    Args:
        goal: n numbers, or one for every coordinate; the origin by default.
        within: the share of the distance at step 0 that counts as near, above 0.
        schedule: the steps to look at; every step by default.
    """

    needs: Need = "gradients"

    def __init__(
        self, goal: float | Sequence[float] = 0.0, within: float = 1e-3, schedule: Schedule | None = None
    ) -> None:
        if not within > 0:
            raise ValueError(f"within={within}: the share of the first distance that counts as near is above 0")
        self.schedule = schedule or every(1)
        self._goal = goal if isinstance(goal, (int, float)) else list(goal)
        self._within = within
        self._near: Tensor | None = None  # as a distance, of each point
        self._arrival: Tensor | None = None
        self._last = -1
        self._drained = -1

    def measure(self, step: Step) -> Iterator[Record]:
        theta = step.parameters.get("theta")
        if theta is None or theta.dim() != 2:
            raise ValueError("the probe arrivals looks at a population on a surface: model=point model.population=…")
        distance = (theta.detach() - torch.tensor(self._goal).to(theta)).norm(dim=-1)
        if self._near is None or self._arrival is None:
            self._near = self._within * distance
            self._arrival = torch.full(distance.shape, NEVER, device=theta.device)
        is_near = distance <= self._near  # False for NaN
        arrives = is_near & (self._arrival == NEVER)
        self._arrival = torch.where(is_near, torch.where(arrives, step.index, self._arrival), NEVER)
        self._last = step.index
        return iter(())

    def updated(self, step: Step) -> Iterator[Record]:
        """Nothing: it has looked before the update."""
        return iter(())

    def drain(self) -> Iterator[Record]:
        """How things stand after the last step that was looked at."""
        if self._arrival is not None and self._last > self._drained:
            self._drained = self._last
            yield Array("population/arrival", self._last, self._arrival.cpu().numpy().copy())
