"""What a population asks of the other parts of a run: nothing may mix its members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn

from gradlab.errors import BadInput
from gradlab.optimizers.base import each
from gradlab.optimizers.elementwise import moves_rows_alone

ALONE = (
    "sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, nadam, or one by hand: manual_sgd, manual_momentum, "
    "manual_nesterov, manual_adagrad, manual_rmsprop, manual_adam, manual_adamw"
)


def check_population(cfg: DictConfig, model: nn.Module, optimizer: Callable[..., Any]) -> None:
    """Refuses what would let one member of a population change the way of another.

    Raises:
        BadInput: an optimizer that does not act entry by entry, clipping by the norm of all gradients together, or a
            scaler, which skips a step for all where one member's gradient overflows.
    """
    if getattr(model, "population", None) is None:
        return
    trainer = cfg.trainer
    clips = trainer.get("gradient_clip_val") is not None
    if clips and trainer.get("gradient_clip_algorithm") != "value":
        raise BadInput(
            "trainer.gradient_clip_val clips by the norm of all gradients together, so that the members of a "
            "population (model.population) would slow each other down: add trainer.gradient_clip_algorithm=value, "
            "or leave it out"
        )
    if str(trainer.get("precision", "")).startswith("16"):
        raise BadInput(
            f"trainer.precision={trainer.precision} has a gradient scaler, which skips a step for all members of a "
            "population (model.population) where one overflows: use 32-true, 64-true or bf16-mixed"
        )
    parameter = next(model.parameters())
    if not moves_rows_alone(optimizer, parameter.shape):
        raise BadInput(
            f"optimizer: {cfg.optimizer.get('_target_')} does not act entry by entry, so that the members of a "
            f"population (model.population) would not go their own ways: choose {ALONE}"
        )


def check_single(model: nn.Module) -> None:
    """Refuses a population where one model is looked at closely.

    Raises:
        BadInput: says what to leave out.
    """
    if getattr(model, "population", None) is not None:
        raise BadInput("this looks closely at one model, and model.population gives several: leave it out")


def check_settings(cfg: DictConfig, optimizer: Any) -> None:
    """Refuses settings of several numbers where the optimizer takes one.

    Args:
        cfg: its part ``optimizer`` is looked at.
        optimizer: made without parameters, as a partial.

    Raises:
        BadInput: names the setting.
    """
    made = getattr(optimizer, "func", optimizer)
    if not getattr(made, "__module__", "").startswith("torch.optim"):
        return
    for name, value in getattr(optimizer, "keywords", {}).items():
        numbers = each(value)
        if name != "betas" and isinstance(numbers, Tensor) and numbers.dim():
            raise BadInput(
                f"optimizer.{name} has several numbers, one for each member of a population, and "
                f"{cfg.optimizer.get('_target_')} takes one: choose an optimizer by hand, such as manual_sgd, "
                "manual_momentum or manual_adam"
            )
