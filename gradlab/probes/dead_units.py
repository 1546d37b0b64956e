"""Dead units: those whose weights get no gradient from any sample of the batch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

from gradlab.probes.base import Need, Step
from gradlab.records import Record, Scalar
from gradlab.schedules import Schedule, every
from gradlab.tensors import dense


class DeadUnitsProbe:
    """The share of dead units in each layer, ``dead/<layer>/fraction``; over all members of a population together.

    A ReLU passes nothing back where its sum is negative. A unit whose sum is negative for every sample has a gradient
    of exactly 0 in all of its weights and its bias; so none of them moves, and the unit stays as it is. A batch is a
    sample of the data: a unit may sleep through one batch and answer to the next.

    Args:
        schedule: the steps at which units are counted.
    """

    needs: Need = "gradients"

    def __init__(self, schedule: Schedule | None = None) -> None:
        self.schedule = schedule or every(1)

    def measure(self, step: Step) -> Iterator[Record]:
        members = 0 if getattr(step.root, "population", None) is None else 1
        for layer, dead in dead_units(step.gradients, members).items():
            yield Scalar(f"dead/{layer}/fraction", step.index, float(dead.double().mean()))


def dead_units(gradients: Mapping[str, Tensor | None], members: int = 0) -> dict[str, Tensor]:
    """Which units got a gradient of exactly 0, in every weight and in the bias.

    Args:
        gradients: by parameter: weights [units, …], and where there is one, a bias [units] of the same name but for
            ``bias``. Parameters of one dimension alone are no layer.
        members: 1 where an axis in front of these counts the members of a population.

    Returns:
        For each layer whether a unit is dead, bool [units], or [members, units].

    Example:
        >>> import torch
        >>> weight, bias = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), torch.tensor([0.0, 2.0, 0.0])
        >>> dead_units({"0.weight": weight, "0.bias": bias})
        {'0': tensor([ True, False, False])}
    """
    found: dict[str, Tensor] = {}
    for name, gradient in gradients.items():
        path, _, last = name.rpartition(".")
        if gradient is None or gradient.ndim < 2 + members or "weight" not in last:
            continue
        dead = (dense(gradient).flatten(1 + members) == 0).all(dim=-1)
        bias = gradients.get(re.sub(r"weight(?=[^.]*$)", "bias", name))
        layer = path if last == "weight" and path else name
        found[layer] = dead if bias is None else dead & (bias == 0)
    return found
