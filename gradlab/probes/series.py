"""The gradients of a fixed list of parameters, step by step, copied aside or summed up until somebody wants numbers.

Small parameters: gradient and weights of each step are copied into a row of all parameters, and the statistics of many
steps are computed together. Large ones: the statistics of each step are computed at once, so that memory does not grow,
and only a sample of the weights is kept. Either way nothing waits for the device before `Series.drain`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors  # one call for all tensors; its public twin takes one for each

from gradlab.probes.pieces import in_pieces, is_safe
from gradlab.probes.statistics import FIELDS, cosine, histogram, ratio, statistics, wide, wide_type

SMALL = 1 << 13  # entries of a parameter that is copied aside
RUN = 8  # entries next to each other: half of what comes from memory at once
SAMPLE = 1 << 15  # entries of a larger one that its histogram and its update ratio are taken from
MEMORY = 1 << 25  # bytes that may be set aside for rows
MOST_STEPS = 512  # more at once gain nothing
L2, EXTREMES = FIELDS.index("l2"), slice(FIELDS.index("min"), FIELDS.index("max") + 1)
NUMBERS = len(FIELDS) + 2  # the statistics, the cosine with the previous gradient, the update ratio


class Small:
    """Small parameters on one device: rows of all their entries.

    Args:
        sizes: the number of entries of each.
        bars: of the histograms.
        are_complex: whether any of them holds complex numbers.
    """

    def __init__(self, sizes: Sequence[int], bars: int, are_complex: bool = False) -> None:
        self._sizes = list(sizes)
        self._alike: defaultdict[int, list[int]] = defaultdict(list)  # places by size: their numbers come together
        for place, size in enumerate(sizes):
            self._alike[size].append(place)
        self._bars = bars
        self._rows: list[Tensor] = []
        self._row = _row if are_complex else _flatten_dense_tensors
        self._previous: Tensor | None = None

    def add(self, gradients: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
        """Copies one step aside, in one row: the gradients, then the weights."""
        self._rows.append(self._row([*gradients, *weights]))

    def drain(self, weights: Sequence[Tensor]) -> Tensor:
        """What came since the last drain, and forgets it.

        Args:
            weights: the parameters after the last step's update.

        Returns:
            [n, parameters, NUMBERS + 2 + bars].
        """
        rows = torch.stack(self._rows)
        n, entries = len(rows), rows.shape[1] // 2
        # One row more at either end: the gradient before the first step, the weights after the last.
        table = rows.new_empty((n + 2, 2 * entries), dtype=wide_type(rows.device))
        table[1:-1] = rows
        table[0, :entries] = torch.nan if self._previous is None else self._previous
        table[-1, entries:] = _row(weights)
        self._previous = table[n, :entries].clone()
        self._rows.clear()
        gradients = table[:-1, :entries].split(self._sizes, dim=1)
        weights = table[1:, entries:].split(self._sizes, dim=1)
        numbers = table.new_empty((n, len(self._sizes), NUMBERS + 2 + self._bars))
        for places in self._alike.values():
            g, w = (torch.stack([parts[i] for i in places], dim=1) for parts in (gradients, weights))
            numbers[:, places] = self._numbers(g, w)
        return numbers

    def _numbers(self, gradients: Tensor, weights: Tensor) -> Tensor:
        """Of k parameters of one size m: [n, k, NUMBERS + 2 + bars] from [n + 1, k, m] each.

        The gradients begin one step before, the weights end one step after.
        """
        _, k, m = gradients.shape
        before, rows = gradients[:-1].reshape(-1, m), gradients[1:].reshape(-1, m)
        found = statistics(rows)
        l2 = found[:, L2]
        l2_before = torch.cat([torch.linalg.vector_norm(gradients[0], dim=1), l2[:-k]])
        angle = cosine(rows, before, (l2, l2_before))
        moved = ratio(weights[:-1].reshape(-1, m), weights[1:].reshape(-1, m))
        bars = histogram(rows, self._bars, found[:, EXTREMES])
        numbers = torch.cat([found, torch.stack([angle, moved], 1), bars], dim=1)
        return numbers.view(-1, k, numbers.shape[1])


class Large:
    """One large parameter: its statistics step by step."""

    def __init__(self, bars: int) -> None:
        self._bars = bars
        self._rows: list[Tensor] = []
        self._ratios: list[Tensor] = []
        self._previous: Tensor | None = None
        self._l2 = torch.tensor(math.nan)  # of the previous gradient
        self._largest = 1.0
        self._before: Tensor | None = None

    def add(self, gradient: Tensor, weight: Tensor) -> None:
        """Sums one step up."""
        self._finish_ratio(weight)
        flat = _flat(gradient)
        previous = self._previous = torch.zeros_like(flat) if self._previous is None else self._previous
        if flat.device.type == "cpu":
            numbers, inner = in_pieces(flat, previous, precise=not is_safe(self._largest))
            angle = torch.tensor([inner], dtype=torch.float64) / numbers[0] / self._l2
            self._l2, self._largest = numbers[0], float(numbers[1])
        else:
            row = wide(flat.unsqueeze(0))
            numbers, angle = statistics(row)[0], cosine(row, wide(previous.unsqueeze(0)))
            previous.copy_(flat)
        bars = histogram(wide(_sample(flat).unsqueeze(0)), self._bars)[0]
        self._rows.append(torch.cat([numbers, angle, bars]))

    def drain(self, weight: Tensor) -> Tensor:
        """As `Small.drain`, for one parameter: [n, NUMBERS + 2 + bars]."""
        self._finish_ratio(weight)
        rows, ratios = torch.stack(self._rows), torch.stack(self._ratios)
        self._rows.clear()
        self._ratios.clear()
        end = len(FIELDS) + 1
        return torch.cat([rows[:, :end], ratios.unsqueeze(1), rows[:, end:]], dim=1)

    def _finish_ratio(self, weight: Tensor) -> None:
        """The update ratio of the step before, now that its update is done."""
        sample = wide(_sample(_flat(weight)).clone().unsqueeze(0))
        if self._before is not None and len(self._ratios) < len(self._rows):
            self._ratios.append(ratio(self._before, sample)[0])
        self._before = sample


class Series:
    """The gradients of some parameters over the steps.

    Args:
        parameters: by name; all get a gradient in every step that is added, and have at least one entry.
        bars: of the histograms.
    """

    def __init__(self, parameters: Mapping[str, Tensor], bars: int) -> None:
        self.steps: list[int] = []
        self.names = tuple(parameters)
        self.parameters = tuple(parameters.values())
        self._bars = bars
        sizes = [_numel(p) for p in self.parameters]
        self._large = {place: Large(bars) for place, size in enumerate(sizes) if size > SMALL}
        by_device: defaultdict[torch.device, list[int]] = defaultdict(list)
        for place, p in enumerate(self.parameters):
            if place not in self._large:
                by_device[p.device].append(place)
        self._small = [
            (places, Small([sizes[i] for i in places], bars, any(self.parameters[i].is_complex() for i in places)))
            for places in by_device.values()
        ]
        self._is_simple = [places for places, _ in self._small] == [list(range(len(self.parameters)))]
        row = sum(2 * p.element_size() * p.numel() for p in self.parameters if _numel(p) <= SMALL)
        self.most_steps = max(1, min(MOST_STEPS, MEMORY // max(row, 1)))

    def add(self, step: int, gradients: Sequence[Tensor]) -> None:
        """Takes one step: the gradients in the order of the parameters, which have not been updated yet."""
        if self._is_simple:
            self._small[0][1].add(gradients, self.parameters)
        else:
            for places, small in self._small:
                small.add([gradients[i] for i in places], [self.parameters[i] for i in places])
        for place, large in self._large.items():
            large.add(gradients[place], self.parameters[place])
        self.steps.append(step)

    def drain(self) -> tuple[np.ndarray, np.ndarray]:
        """What came since the last drain, with one transfer for each device; the last step must have been updated.

        Returns:
            Steps [n]; numbers [n, parameters, NUMBERS + 2 + bars]: the fields of `statistics`, the cosine with the
            previous gradient (NaN for the first), the update ratio, and the histogram's edges and counts.
        """
        steps = np.array(self.steps, np.int64)
        self.steps.clear()
        numbers = np.empty((len(steps), len(self.parameters), NUMBERS + 2 + self._bars))
        for places, part in self._drained():
            numbers[:, places] = part.double().numpy() if part.device.type == "cpu" else part.cpu().double().numpy()
        return steps, numbers

    def _drained(self) -> Iterator[tuple[list[int], Tensor]]:
        for places, small in self._small:
            yield places, small.drain([self.parameters[i] for i in places])
        by_device: defaultdict[torch.device, dict[int, Tensor]] = defaultdict(dict)
        for place, large in self._large.items():
            by_device[self.parameters[place].device][place] = large.drain(self.parameters[place])
        for parts in by_device.values():
            yield list(parts), torch.stack(list(parts.values()), dim=1)


def _numel(tensor: Tensor) -> int:
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def _flat(tensor: Tensor) -> Tensor:
    """All entries in a row, real; real and imaginary parts are entries of their own."""
    tensor = tensor.detach()
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)


def _row(tensors: Sequence[Tensor]) -> Tensor:
    """All entries of several tensors, copied into a row; `_flatten_dense_tensors` does it for two real ones or more."""
    return torch.cat([_flat(t) for t in tensors])


def _sample(flat: Tensor) -> Tensor:
    """All of a tensor; of a larger one about 32,768 entries.

    They lie in short runs, each of which comes from memory at once, evenly spread at an odd stride to meet all columns.
    """
    if flat.numel() <= SAMPLE:
        return flat
    runs = flat[: flat.numel() // RUN * RUN].view(-1, RUN)
    return runs[:: (flat.numel() // SAMPLE) | 1].reshape(-1)
