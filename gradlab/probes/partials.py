"""Partial derivatives: a gradient's entries one by one, each a curve over the steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gradlab.probes.base import Need, Step
from gradlab.records import Record, Scalar
from gradlab.schedules import Schedule, every


class PartialsProbe:
    """∂L/∂θᵢ for every entry of small parameters, and for the most active entries of large ones.

    Args:
        schedule: the steps to look at; every step by default.
        small: up to this many entries, all of a parameter's partials are recorded.
        largest: of a larger parameter, this many: those of largest magnitude in its first gradient.
    """

    needs: Need = "gradients"

    def __init__(self, schedule: Schedule | None = None, small: int = 64, largest: int = 8) -> None:
        self.schedule = schedule or every(1)
        self.small = small
        self.largest = largest
        self._chosen: dict[str, tuple[Tensor, list[str]]] = {}

    def measure(self, step: Step) -> Iterator[Record]:
        for name, gradient in step.gradients.items():
            if gradient is None or not gradient.numel() or gradient.layout != torch.strided:
                continue
            if name not in self._chosen:
                self._chosen[name] = self._choose(name, gradient)
            places, tags = self._chosen[name]
            values = gradient.detach().reshape(-1)[places].tolist()
            yield from (Scalar(tag, step.index, value) for tag, value in zip(tags, values, strict=True))

    def _choose(self, name: str, gradient: Tensor) -> tuple[Tensor, list[str]]:
        flat = gradient.detach().reshape(-1)
        if flat.numel() <= self.small:
            places = torch.arange(flat.numel(), device=flat.device)
        else:
            places = flat.abs().topk(min(self.largest, flat.numel())).indices.sort().values
        each = zip(*(axis.tolist() for axis in torch.unravel_index(places, gradient.shape)), strict=True)
        if gradient.dim() == 0:
            return places, [f"partial/{name}"]
        return places, [f"partial/{name}[{','.join(map(str, index))}]" for index in each]
