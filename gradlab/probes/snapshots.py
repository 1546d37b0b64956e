"""Snapshots: all parameters of a small model at chosen steps, for whoever wants to look at the loss around them."""

from __future__ import annotations

from collections.abc import Iterator

from gradlab.probes.base import Need, Step
from gradlab.records import Array, Record
from gradlab.schedules import Schedule, every


class SnapshotProbe:
    """Copies of the parameters before the update, as arrays ``snapshot/<parameter>``.

    Args:
        schedule: the steps to look at; every 20th by default.
        largest: models with more parameters than this are not copied.
    """

    needs: Need = "gradients"

    def __init__(self, schedule: Schedule | None = None, largest: int = 10_000) -> None:
        self.schedule = schedule or every(20)
        self.largest = largest

    def measure(self, step: Step) -> Iterator[Record]:
        if sum(p.numel() for p in step.parameters.values()) <= self.largest:
            for name, p in step.parameters.items():
                yield Array(f"snapshot/{name}", step.index, p.detach().cpu().numpy().copy())
