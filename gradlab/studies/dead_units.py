"""Dead ReLUs: how many units no sample reaches any more, counted in the gradients and in the forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.errors import BadInput
from gradlab.models import Mlp
from gradlab.probes.dead_units import dead_units
from gradlab.studies.base import Findings, Finished, Setting, checked_variants
from gradlab.studies.layers import hidden_layers


@dataclass(frozen=True, slots=True)
class Units:
    """The hidden units of one run.

    Attributes:
        steps, shares: at which steps the dead ones were counted [n], and their share of all hidden units [n].
        highest: each unit's highest sum over all samples, in ascending order, at the end [units].
    """

    steps: np.ndarray
    shares: np.ndarray
    highest: np.ndarray

    @property
    def revived(self) -> float:
        """The share of units that came back to life, all falls of the curve together."""
        return float(np.maximum(-np.diff(self.shares), 0).sum()) + 0.0


class DeadUnits:
    """Runs variants of a network, and counts the units whose gradient is exactly zero for every sample.

    At the end of each run the dead units are counted twice: by the gradients, and by the forward pass, in which a dead
    ReLU's sum is above 0 for no sample. The latter is said for ReLU and leaky ReLU only: ELU's slope is never 0 on
    paper, but smaller than every float far on the left.

    Args:
        variants: a name for each, and what is set otherwise, as on the command line: ``["optimizer.lr=0.1"]``.

    The runs need the probe ``dead_units``, and batches of all samples.
    """

    def __init__(self, variants: Mapping[str, Sequence[str]]) -> None:
        self._variants = checked_variants(variants)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import dead_units as picture  # matplotlib is slow to import
        from gradlab.figures.comparison import FIGURES

        data = setting.parts()[2]
        batch = next(iter(data.train_dataloader()))
        if len(batch[0]) < len(data.train_dataloader().x):
            raise BadInput(f"this study needs batches of all samples: set data.batch_size={len(data.x_train)}")
        runs = setting.run(self._variants)
        units = {run.name: units_of(run, batch[0]) for run in runs}
        return Findings(
            numbers={
                **{f"dead at the start, {name}": float(own.shares[0]) for name, own in units.items()},
                **{f"dead at the end, {name}": float(own.shares[-1]) for name, own in units.items()},
                **{f"revived, {name}": own.revived for name, own in units.items()},
                **{f"accuracy, {run.name}": run.metrics["accuracy"] for run in runs if "accuracy" in run.metrics},
                **{f"loss, {run.name}": run.metrics["loss"] for run in runs},
            },
            rows=[
                ("variant", "dead at the start", "at the end", "loss", "accuracy", "status"),
                *(_row(run, units[run.name]) for run in runs),
            ],
            figures={
                "dead_units": picture.figure(units),
                "losses": FIGURES["losses"]({run.name: run.memory for run in runs}),
            },
            errors={f"the forward pass, {run.name}": gap for run in runs if (gap := disagreement(run, *batch)) >= 0},
            statuses={run.name: run.status for run in runs},
        )


def units_of(run: Finished, x: Tensor) -> Units:
    """What a run recorded of its hidden units, and their highest sums over all samples x [N, …] at the end.

    Raises:
        BadInput: the model is no ``Mlp`` with a hidden layer, or its dead units were not counted.
    """
    layers = _hidden(run)
    tags = {name: f"dead/{name}/fraction" for name in layers}
    found = {name: run.memory.scalars(tag)[tag] for name, tag in tags.items() if tag in run.memory.scalars(tag)}
    if len(found) < len(layers):
        raise BadInput(f"{run.name}: dead units were not counted: choose 'probes=[dead_units]'")
    sizes = [layer.out_features for layer in layers.values()]
    shares = np.average([shares for _, shares in found.values()], axis=0, weights=sizes)
    highest = torch.cat([z.amax(dim=0) for z in sums(run.model, x, layers).values()])
    return Units(next(iter(found.values()))[0], shares, np.sort(highest.double().numpy()))


def disagreement(run: Finished, x: Tensor, y: Any) -> float:
    """The share of hidden units that are dead by autograd's gradients but not by the forward pass, or the reverse.

    Going back from the outputs, a unit is reached for a sample where its slope is not 0 and any unit above is reached.

    Returns:
        0 where the two agree on every unit; −1 for an activation whose slope in floats is not known to be exactly 0.
    """
    model = run.model
    assert isinstance(model, Mlp)
    if model.activation not in ("relu", "leaky_relu") or model.norm or model.residual:
        return -1.0
    layers = _hidden(run)
    loss = run.loss(model(x), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    by_gradient = dead_units(dict(zip(dict(model.named_parameters()), gradients, strict=True)))
    above = torch.ones(len(x), 1, dtype=torch.bool)
    different = 0
    for name, z in reversed(sums(model, x, layers).items()):
        above = above.any(dim=1, keepdim=True) & ((z > 0) | (model.activation == "leaky_relu"))
        different += int((by_gradient[name] != ~above.any(dim=0)).sum())
    return different / sum(layer.out_features for layer in layers.values())


@torch.no_grad()
def sums(model: nn.Module, x: Tensor, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """What each of the layers gives for x, by name, [N, units] each."""
    found: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda module, inputs, z, name=name: found.update({name: z}))
        for name, layer in layers.items()
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return found


def _hidden(run: Finished) -> dict[str, nn.Linear]:
    layers = hidden_layers(run)
    if not layers:
        raise BadInput(f"{run.name}: the network has no hidden unit: give model.hidden a number")
    return layers


def _row(run: Finished, units: Units) -> tuple[str, ...]:
    shares = (f"{units.shares[place]:.1%}" for place in (0, -1))
    return (run.name, *shares, f"{run.metrics['loss']:.4g}", run.cell("accuracy", ".3f"), run.status)
