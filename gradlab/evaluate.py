"""How good the model is on data that it was not trained on."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from gradlab.descent import DescentModule
from gradlab.losses import Surface
from gradlab.member_losses import median

NEAR = 0.01  # a hundredth of a unit, where the minimizers of every surface here lie whole units apart


@torch.no_grad()
def evaluate(module: DescentModule, data: pl.LightningDataModule) -> dict[str, float]:
    """Loss and, for classes, accuracy on the test data; for a surface, the loss at the point reached.

    Args:
        module: the trained model and its loss; its training flag is as before afterwards.
        data: where its ``test_dataloader`` is missing, the result is empty.

    Returns:
        ``test_loss`` and ``accuracy`` (a share from 0 to 1); or ``loss`` and ``distance`` (to the nearest known
        minimizer) for a surface. For a population these are medians over its ``members``; so is ``loss``, that of the
        last training step. Beside them stand ``best_test_loss`` (or ``best_loss``) and which ``best_member`` has it,
        from 0; how many members have ``diverged``, and count as infinite; and, on a surface, ``reached``: the share of
        points that lie within `NEAR` of a known minimizer.
    """
    was_training = module.training
    module.eval()
    try:
        if isinstance(module.loss, Surface):
            return _on_surface(module, module.loss)
        trained = _at_the_last_step(module)
        if not is_overridden("test_dataloader", data, pl.LightningDataModule):
            return trained
        parameter = next(module.parameters())
        if any(y is None for _, y in data.test_dataloader()):  # no data: the loss is a function of the parameters
            return _over_members("loss", module.losses(module.model(None), None))
        batches = [(_as(x, parameter), y.to(parameter.device)) for x, y in data.test_dataloader()]
        predictions = [module.model(x) for x, _ in batches]
        targets = [y for _, y in batches]
        rows = 0 if module.population is None else 1
        tested = _on_data(module, torch.cat(predictions, rows), torch.cat(targets))
        return tested if module.population is None else {"loss": trained.get("loss", math.nan), **tested}
    finally:
        module.train(was_training)


def _as(x: Tensor, parameter: Tensor) -> Tensor:
    """Inputs on the parameter's device, and in its precision where they are no whole numbers."""
    return x.to(parameter.device, parameter.dtype if x.is_floating_point() else x.dtype)


def _at_the_last_step(module: DescentModule) -> dict[str, float]:
    """What a population has come to in training; of a single model the run itself knows."""
    losses = None if module.members is None else module.members.last
    return {} if losses is None else _over_members("loss", losses)


def _on_surface(module: DescentModule, surface: Surface) -> dict[str, float]:
    point = module.model(None)
    metrics = _over_members("loss", surface(point))
    if surface.minimizers:
        minimizers = torch.tensor(surface.minimizers, dtype=point.dtype, device=point.device)
        distances = torch.stack([(point - minimizer).norm(dim=-1) for minimizer in minimizers]).amin(0)
        metrics["distance"] = _median(distances)
        if distances.dim():
            metrics["reached"] = float((distances <= NEAR).double().mean())
    return metrics


def _on_data(module: DescentModule, prediction: Tensor, target: Tensor) -> dict[str, float]:
    metrics = _over_members("test_loss", module.losses(prediction, target))
    if not target.is_floating_point():
        chosen = prediction.argmax(-1) if prediction.shape[-1] > 1 else (prediction.squeeze(-1) > 0).long()
        right = (chosen == target).double()
        metrics["accuracy"] = _median(right.mean() if module.population is None else right.flatten(1).mean(1))
    return metrics


def _over_members(name: str, losses: Tensor) -> dict[str, float]:
    """A loss, or what there is to say of the losses of a population."""
    if not losses.dim():
        return {name: float(losses)}
    finite = torch.isfinite(losses)
    found: dict[str, float] = {name: _median(losses), f"best_{name}": math.nan}
    if bool(finite.any()):
        best = int(torch.where(finite, losses, math.inf).argmin())
        found |= {f"best_{name}": float(losses[best]), "best_member": best}
    return {**found, "members": len(losses), "diverged": int((~finite).sum())}


def _median(values: Tensor) -> float:
    """The value itself; of several the median."""
    return float(median(values) if values.dim() else values)
