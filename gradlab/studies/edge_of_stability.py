"""The edge of stability: full-batch gradient descent drives a network's sharpness up to 2/lr, and holds it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlab.errors import BadInput
from gradlab.sinks import MemorySink
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.network import Network
from gradlab.studies.sharpness import by_double_backward, by_two_tapes, dot, largest, unit

SNAPSHOT = "snapshot/"
COMPARED = 5  # snapshots of a run at which both witnesses are asked


@dataclass(frozen=True, slots=True)
class Training:
    """One run.

    Attributes:
        rate: the learning rate lr.
        steps, sharpness: the steps that were looked at [n] and the Hessian's largest eigenvalue there, [n].
        error: the largest relative gap between the two witnesses' Hessian-vector products.
        memory: what was recorded.
    """

    rate: float
    steps: np.ndarray
    sharpness: np.ndarray
    error: float
    memory: MemorySink

    @property
    def limit(self) -> float:
        """2/lr: a bowl of a larger curvature throws this descent out."""
        return 2 / self.rate

    @property
    def late(self) -> float:
        """The mean sharpness over the last third, as a share of the limit."""
        return float(self.sharpness[-len(self.sharpness) // 3 :].mean() / self.limit)


class EdgeOfStability:
    """Trains a network with several learning rates and measures the sharpness along the way.

    Args:
        rates: the learning rates.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        if not rates or min(rates) <= 0:
            raise BadInput("study.rates: give one or more learning rates above 0")
        self._rates = tuple(map(float, rates))

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import edge_of_stability as picture  # matplotlib is slow to import

        _check(setting.parts()[2])
        runs = setting.run({f"lr={rate:g}": ["optimizer=sgd", f"optimizer.lr={rate!r}"] for rate in self._rates})
        trainings = [
            _training(run, rate, Network.of(setting, run.model)) for run, rate in zip(runs, self._rates, strict=True)
        ]
        return Findings(
            numbers={
                "sharpness at the start": float(trainings[0].sharpness[0]),
                **{f"limit, lr={t.rate:g}": t.limit for t in trainings},
                **{f"greatest sharpness, lr={t.rate:g}": float(t.sharpness.max()) for t in trainings},
                **{f"late sharpness / limit, lr={t.rate:g}": t.late for t in trainings},
                **{f"loss, lr={t.rate:g}": run.metrics["loss"] for t, run in zip(trainings, runs, strict=True)},
            },
            title="the sharpness, and the limit 2/lr beyond which a bowl throws gradient descent out",
            rows=[
                ("learning rate", "2/lr", "sharpness at the start", "greatest", "late (mean), as a share of 2/lr"),
                *(
                    (f"{t.rate:g}", *map(_cell, (t.limit, t.sharpness[0], t.sharpness.max(), t.late)))
                    for t in trainings
                ),
            ],
            figures={"edge_of_stability": picture.figure(trainings)},
            errors={f"two tapes, lr={t.rate:g}": t.error for t in trainings},
            statuses={run.name: run.status for run in runs},
        )


def _check(data: Any) -> None:
    """Gradient descent takes all rows in every step.

    Raises:
        BadInput: they come in several batches.
    """
    if sum(1 for _ in data.train_dataloader()) != 1:
        raise BadInput("this study needs all rows in every step: set data.batch_size to the number of training rows")


def _training(run: Finished, rate: float, network: Network) -> Training:
    named = dict(network.model.named_parameters())
    if not run.memory.tags(SNAPSHOT):
        raise BadInput("this study looks at the weights along the way: use the probe snapshots, and a small model")
    arrays = {name: run.memory.arrays(SNAPSHOT + name) for name in named}
    steps = next(iter(arrays.values()))[0]
    parameters = list(named.values())
    vector = _random(parameters)
    found, errors = [], []
    asked = set(np.linspace(0, len(steps) - 1, COMPARED).astype(int).tolist())
    for place in range(len(steps)):
        with torch.no_grad():
            for name, p in named.items():
                p.copy_(torch.from_numpy(arrays[name][1][place]))
        value, vector = largest(by_double_backward(network.value, parameters), vector)
        found.append(value)
        if place in asked:
            errors.append(_gap(network.value, parameters, vector))
    return Training(rate, steps, np.array(found), max(errors), run.memory)


def _gap(loss: Callable[[], Tensor], parameters: Sequence[Tensor], vector: list[Tensor]) -> float:
    """How far the two witnesses' products lie apart, relative to their length."""
    one, other = by_double_backward(loss, parameters)(vector), by_two_tapes(loss, parameters)(vector)
    apart = [a - b for a, b in zip(one, other, strict=True)]
    return float((dot(apart, apart) / dot(one, one)).sqrt())


def _random(parameters: Sequence[Tensor]) -> list[Tensor]:
    """A direction without preferences; the same one every time."""
    source = torch.Generator().manual_seed(0)
    return unit([torch.randn(p.shape, dtype=torch.float64, generator=source) for p in parameters])


def _cell(value: float) -> str:
    return f"{value:.4g}"
