"""Gradient accumulation: small batches one after the other in place of a large one, and when that is not the same."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gradlab.errors import BadInput
from gradlab.sinks import MemorySink
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.network import Network, distance

SAME = 1e-7  # in float64; what differs by less is rounding


@dataclass(frozen=True, slots=True)
class Case:
    """One way of adding up the gradients of micro-batches.

    Attributes:
        name: in a few words.
        same: whether it should give the gradient of the large batch.
        difference: ‖accumulated − large‖/‖large‖.
        predicted: what the formula says it is; None where chance decides.
    """

    name: str
    same: bool
    difference: float
    predicted: float | None = None


class Accumulation:
    """Cuts a batch into micro-batches and compares the sum of their gradients with the gradient of the batch.

    Besides, trains twice with Lightning: with the large batch, and with ``accumulate_grad_batches``.

    Args:
        parts: how many micro-batches.
        dropout: the share of inputs that dropout sets to 0.
        unequal: rows of the micro-batches of unequal size; together as many as a batch.
    """

    def __init__(self, parts: int = 4, dropout: float = 0.2, unequal: Sequence[int] = (40, 12, 8, 4)) -> None:
        if parts < 2 or not 0 < dropout < 1 or min(unequal, default=0) < 2:
            raise BadInput("study: give at least 2 parts, of at least 2 rows each, and a dropout between 0 and 1")
        self._parts, self._dropout, self._unequal = int(parts), float(dropout), [int(rows) for rows in unequal]

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import accumulation as picture  # matplotlib is slow to import

        network = Network.of(setting, batches=1)
        self._check(len(network))
        cases = self._cases(network)
        large, small = setting.run(self._variants(len(network)))
        gaps = gaps_of("loss/train", large.memory, small.memory)
        lengths = gaps_of("total/norm_before_clipping", large.memory, small.memory)
        rounds = len(Network.of(setting)) // len(network)
        before, after = ([gap for at, gap in gaps.items() if sign * (at - rounds) > 0] for sign in (-1, 1))
        return Findings(
            numbers={
                **{case.name: case.difference for case in cases},
                **{f"{case.name}, predicted": case.predicted for case in cases if case.predicted is not None},
                "Lightning: whole batches in an epoch": float(rounds),
                "Lightning: loss differs within the epoch": _largest(before),
                "Lightning: loss differs afterwards": _largest(after),
                "Lightning: length of the gradient of the rest": 1 + lengths.get(rounds, math.nan),
                "Lightning: weights differ": _weights_apart(large, small),
            },
            title=f"a batch of {len(network)} rows, and {self._parts} micro-batches: how far the gradients are apart",
            rows=[
                ("how", "difference", "predicted", "the same?"),
                *((c.name, f"{c.difference:.2g}", _cell(c.predicted), "yes" if c.same else "no") for c in cases),
            ],
            figures={"accumulation": picture.figure(cases, gaps, rounds)},
            errors={
                "the handwritten sweep": distance(network.by_hand(), network.gradient()),
                **{f"the micro-batches ({case.name})": case.difference for case in cases if case.same},
                **{f"the formula ({c.name}: off by {_cell(c.predicted)})": _miss(c) for c in cases if c.predicted},
            },
            tolerance=SAME,
            statuses={run.name: run.status for run in (large, small)},
        )

    def _check(self, rows: int) -> None:
        if rows % self._parts or sum(self._unequal) != rows:
            raise BadInput(
                f"a batch has {rows} rows (data.batch_size): study.parts has to divide that, and study.unequal to add "
                f"up to it; they are {self._parts} and {self._unequal}"
            )

    def _variants(self, rows: int) -> dict[str, list[str]]:
        small = [f"data.batch_size={rows // self._parts}", f"trainer.accumulate_grad_batches={self._parts}"]
        return {f"batches of {rows}": [], f"{self._parts} times {rows // self._parts}": small}

    def _cases(self, network: Network) -> list[Case]:
        equal, unequal = _cut([len(network) // self._parts] * self._parts), _cut(self._unequal)
        total = replace(network, loss=_Sum(network.loss))
        normed = _with_layer(network, nn.BatchNorm1d(network.x.shape[-1], dtype=network.x.dtype))
        settled = replace(normed, model=copy.deepcopy(normed.model).eval())
        dropped = _with_layer(network, nn.Dropout(self._dropout))
        parts, rows = self._parts, len(network)

        def over(count: int) -> Callable[[int], float]:
            return lambda size: 1 / count

        return [
            Case("mean loss, each ÷ number of parts", True, _apart(network, equal, over(parts))),
            Case("mean loss, not divided", False, _apart(network, equal, over(1)), parts - 1.0),
            Case("sum loss, not divided", True, _apart(total, equal, over(1))),
            Case("sum loss, each ÷ number of parts", False, _apart(total, equal, over(parts)), 1 - 1 / parts),
            Case("unequal parts, each ÷ number of parts", False, _apart(network, unequal, over(len(unequal)))),
            Case("unequal parts, each × its share of rows", True, _apart(network, unequal, lambda size: size / rows)),
            Case("batch norm, training", False, _apart(normed, equal, over(parts))),
            Case("batch norm, evaluation", True, _apart(settled, equal, over(parts))),
            Case("dropout, new masks", False, _apart(dropped, equal, over(parts))),
        ]


def gaps_of(tag: str, large: MemorySink, small: MemorySink) -> dict[int, float]:
    """(b − a)/|a| of two runs' numbers a and b at each step that both have.

    Example:
        >>> from gradlab.records import Scalar
        >>> a, b = MemorySink(), MemorySink()
        >>> a.write([Scalar("loss/train", 0, 2.0)])
        >>> b.write([Scalar("loss/train", 0, 2.5)])
        >>> gaps_of("loss/train", a, b)
        {0: 0.25}
    """
    one, two = (_by_step(memory, tag) for memory in (large, small))
    return {step: (two[step] - one[step]) / abs(one[step]) for step in one if step in two}


def _by_step(memory: MemorySink, tag: str) -> dict[int, float]:
    steps, values = memory.scalars(tag)[tag]
    return dict(zip(steps.tolist(), values.tolist(), strict=True))


class _Sum(nn.Module):
    """The sum over the rows, of a loss that is their mean."""

    def __init__(self, mean: nn.Module) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return len(prediction) * self.mean(prediction, target)


def _with_layer(network: Network, layer: nn.Module) -> Network:
    """The network with a further layer in front, with the same weights, in training mode."""
    return replace(network, model=nn.Sequential(layer, copy.deepcopy(network.model)).train())


def _cut(sizes: Sequence[int]) -> list[slice]:
    ends = torch.tensor(list(sizes)).cumsum(0).tolist()
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _apart(network: Network, parts: Sequence[slice], factor: Callable[[int], float]) -> float:
    """How far the sum of the parts' gradients, each times a factor of its size, is from the gradient of all."""
    torch.manual_seed(0)  # of dropout
    whole = network.gradient()
    gradients = [factor(part.stop - part.start) * network.gradient(part) for part in parts]
    return distance(torch.stack(gradients).sum(0), whole)


def _weights_apart(a: Finished, b: Finished) -> float:
    one, two = (torch.nn.utils.parameters_to_vector(run.model.parameters()).detach() for run in (a, b))
    return distance(two, one)


def _miss(case: Case) -> float:
    """By what share a difference is not what the formula says, which is neither None nor 0."""
    return abs(case.difference / (case.predicted or math.nan) - 1)


def _largest(gaps: Iterable[float]) -> float:
    return max(map(abs, gaps), default=math.nan)


def _cell(number: float | None) -> str:
    return "" if number is None else f"{number:.2g}"
