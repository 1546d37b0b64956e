"""How large each parameter's gradient is, and how its entries are distributed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gradlab.probes.base import Need, Step
from gradlab.records import Histogram, Record, Scalar
from gradlab.schedules import Schedule, every
from gradlab.tensors import dense, floats


class GradientProbe:
    """L2 norm, largest entry (L∞) and root mean square (RMS, independent of size) of every gradient.

    Args:
        schedule: the steps at which norms are taken; every step by default.
        histograms: the steps at which histograms are taken besides.
        bins: the number of bars in a histogram.
    """

    needs: Need = "gradients"

    def __init__(self, schedule: Schedule | None = None, histograms: Schedule | None = None, bins: int = 30) -> None:
        self.schedule = schedule or every(1)
        self.histograms = histograms or every(25)
        self.bins = bins

    def measure(self, step: Step) -> Iterator[Record]:
        present = {name: dense(g) for name, g in step.gradients.items() if g is not None and g.numel()}
        yield Scalar("coverage/parameters_with_gradient", step.index, len(present))
        yield Scalar("coverage/parameters", step.index, len(step.gradients))
        for name, (l2, linf) in zip(present, _norms(list(present.values())), strict=True):
            yield Scalar(f"gradient/{name}/l2", step.index, l2)
            yield Scalar(f"gradient/{name}/linf", step.index, linf)
            yield Scalar(f"gradient/{name}/rms", step.index, l2 / math.sqrt(present[name].numel()))
        if self.histograms(step.index):
            for name, gradient in present.items():
                yield from self._histogram(name, step.index, gradient)

    def _histogram(self, name: str, index: int, gradient: Tensor) -> Iterator[Record]:
        finite = gradient[torch.isfinite(gradient)].float().cpu()
        if not finite.numel():
            return
        low, high = float(finite.min()), float(finite.max())
        if low == high:  # one value only: a bar around it
            margin = abs(low) * 1e-3 or 1e-12
            low, high = low - margin, high + margin
        counts = torch.histc(finite, self.bins, low, high).numpy()
        yield Histogram(f"gradient/{name}/histogram", index, np.linspace(low, high, self.bins + 1), counts)


def _norms(tensors: list[Tensor]) -> list[tuple[float, float]]:
    """L2 and L∞ of each tensor."""
    if not tensors:
        return []
    flat = floats([*torch._foreach_norm(tensors), *torch._foreach_norm(tensors, ord=math.inf)])
    return list(zip(flat[: len(tensors)], flat[len(tensors) :], strict=True))
