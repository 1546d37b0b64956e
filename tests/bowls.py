"""A stand-in for runs of populations on a bowl: NumPy moves the points, and may do it wrongly."""

from pathlib import Path

import numpy as np
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate

from gradlab.records import Array
from gradlab.sinks import MemorySink
from gradlab.studies.base import Finished


def settings_in(overrides):
    """The value of each override: numbers, lists, and grids as arrays."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values = {override.key_or_group: override.value() for override in parsed}
    return {key: instantiate(value) if isinstance(value, dict) else value for key, value in values.items()}


class Setting:
    """Runs heavy balls on a quadratic surface; ``slip`` is added to every learning rate behind the study's back."""

    def __init__(self, surface, steps, slip=0.0, records=("snapshot/theta", "population/arrival")):
        self.surface, self.steps, self.slip, self.records = surface, steps, slip, records
        self.path = None

    def run(self, variants):
        return [self._run(name, settings_in(overrides)) for name, overrides in variants.items()]

    def _run(self, name, given):
        rates = np.asarray(given["optimizer.lr"]).reshape(-1, 1) + self.slip
        momenta = np.asarray(given.get("optimizer.momentum", 0.0)).reshape(-1, 1)
        theta = np.tile(self.surface.start, (given["model.population"], 1))
        velocity, seen = np.zeros_like(theta), []
        for _ in range(self.steps):
            seen.append(theta)
            velocity = momenta * velocity + self.surface.eigenvalues.numpy() * theta
            theta = theta - rates * velocity
        memory = MemorySink()
        memory.write(self._records(np.array(seen), float(given.get("probes.arrivals.within", 0.1))))
        return Finished(name, "agree", {"steps": self.steps}, memory, torch.nn.Identity(), self.surface, Path())

    def _records(self, path, within):
        if "snapshot/theta" in self.records:
            yield from (Array("snapshot/theta", step, theta) for step, theta in enumerate(path))
        if "population/arrival" in self.records:
            distances = np.hypot.reduce(path, axis=-1)
            arrived = [arrival_of(own, within * own[0]) for own in distances.T]
            yield Array("population/arrival", len(path) - 1, np.array(arrived))


def arrival_of(distances, bound):
    """The first step from which on all distances are within the bound, by trying them all; −1 for none."""
    return next((k for k in range(len(distances)) if all(d <= bound for d in distances[k:])), -1)
