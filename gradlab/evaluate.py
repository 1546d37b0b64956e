"""How good the model is on data that it was not trained on."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from gradlab.descent import DescentModule
from gradlab.losses import Surface


@torch.no_grad()
def evaluate(module: DescentModule, data: pl.LightningDataModule) -> dict[str, float]:
    """Loss and, for classes, accuracy on the test data; for a surface, the loss at the point reached.

    Args:
        module: the trained model and its loss; its training flag is as before afterwards.
        data: where its ``test_dataloader`` is missing, the result is empty.

    Returns:
        ``test_loss`` and ``accuracy`` (a share from 0 to 1); or ``loss`` and ``distance`` (to the nearest known
        minimizer) for a surface.
    """
    was_training = module.training
    module.eval()
    try:
        if isinstance(module.loss, Surface):
            return _on_surface(module, module.loss)
        if not is_overridden("test_dataloader", data, pl.LightningDataModule):
            return {}
        parameter = next(module.parameters())
        batches = [(_as(x, parameter), y.to(parameter.device)) for x, y in data.test_dataloader()]
        predictions = [module.model(x) for x, _ in batches]
        targets = [y for _, y in batches]
        return _on_data(module, torch.cat(predictions), torch.cat(targets))
    finally:
        module.train(was_training)


def _as(x: Tensor, parameter: Tensor) -> Tensor:
    """Inputs on the parameter's device, and in its precision where they are no whole numbers."""
    return x.to(parameter.device, parameter.dtype if x.is_floating_point() else x.dtype)


def _on_surface(module: DescentModule, surface: Surface) -> dict[str, float]:
    point = module.model(None)
    metrics = {"loss": float(surface(point))}
    if surface.minimizers:
        minimizers = torch.tensor(surface.minimizers, dtype=point.dtype, device=point.device)
        metrics["distance"] = float((minimizers - point).norm(dim=-1).min())
    return metrics


def _on_data(module: DescentModule, prediction: Tensor, target: Tensor) -> dict[str, float]:
    metrics = {"test_loss": float(module.loss(prediction, target))}
    if not target.is_floating_point():
        chosen = prediction.argmax(-1) if prediction.shape[-1] > 1 else (prediction.squeeze(-1) > 0).long()
        metrics["accuracy"] = float((chosen == target).double().mean())
    return metrics
