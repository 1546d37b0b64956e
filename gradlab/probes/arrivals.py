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
    """When the distance from a goal fell below a share of the first distance, or below a given one, for good.

    The array ``population/arrival`` has a number of steps for each point of `gradlab.models.Point`: the first step from
    which on it is near in every step that was looked at; `NEVER` where it is not near at the last one.

    Args:
        goal: n numbers, or one for every coordinate; the origin by default. Several such points, [k, n], are several
            goals, of which the nearest counts.
        within: the share of the distance at step 0 that counts as near, above 0.
        near: a distance, above 0, that counts as near instead.
        schedule: the steps to look at; every step by default.
    """

    needs: Need = "gradients"

    def __init__(
        self,
        goal: float | Sequence[float] | Sequence[Sequence[float]] = 0.0,
        within: float = 1e-3,
        schedule: Schedule | None = None,
        near: float | None = None,
    ) -> None:
        if not within > 0:
            raise ValueError(f"within={within}: the share of the first distance that counts as near is above 0")
        if near is not None and not near > 0:
            raise ValueError(f"near={near}: the distance that counts as near is above 0")
        self.schedule = schedule or every(1)
        self._goal = torch.tensor(goal, dtype=torch.float64)
        self._within, self._radius = within, near
        self._near: Tensor | None = None  # as a distance, of each point
        self._arrival: Tensor | None = None
        self._last = -1
        self._drained = -1

    def measure(self, step: Step) -> Iterator[Record]:
        theta = step.parameters.get("theta")
        if theta is None or theta.dim() != 2:
            raise ValueError("the probe arrivals looks at a population on a surface: model=point model.population=…")
        goals = self._goal.to(theta).expand(theta.shape[1]) if self._goal.dim() < 2 else self._goal.to(theta)
        # The differences themselves: by ‖a‖² − 2ab + ‖b‖², which is faster for many goals, digits would be lost.
        exact = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(theta.detach(), goals.reshape(-1, theta.shape[1]), compute_mode=exact).amin(1)
        if self._near is None or self._arrival is None:
            share = self._within * distance
            self._near = share if self._radius is None else torch.full_like(distance, self._radius)
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
