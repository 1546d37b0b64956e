"""Where Lightning and the lab meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from gradlab.defaults import default_probes
from gradlab.lab import GradientLab
from gradlab.links import command, deep_link
from gradlab.nonfinite import NonFiniteError, explain_gradient, explain_loss, non_finite_gradients
from gradlab.probes import Probe
from gradlab.sinks import MemorySink, Sink
from gradlab.updates import Updates, scale_of, unscales_by_itself


class GradientLabCallback(pl.Callback):
    """Watches any LightningModule's gradients: ``Trainer(callbacks=[GradientLabCallback()])``.

    Args:
        probes: what to measure, by name; None means `default_probes`, an empty mapping only the loss.
        root: the submodule of the LightningModule whose parameters are watched and to which names are relative;
            empty for the LightningModule itself.
        sinks: where records go; whoever gives them closes them. None means TensorBoard, into the folder of the
            trainer's TensorBoard logger if it has one, else into ``default_root_dir/gradlab``.
        figures: whether to draw figures from the records when the run ends, as PNG files and in TensorBoard.
        lines: whether a disagreement names the line of code that ran the operation to blame.
        strict: whether what cannot be recorded (a compiled module, an operation without a rule) ends the run with
            an error. By default a warning says so, and the probes that do not record go on.
        flush_secs: the longest time, in seconds, for which a record may be lost when the process is killed.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe] | None = None,
        root: str = "",
        sinks: Iterable[Sink] | None = None,
        figures: bool = False,
        lines: bool = False,
        strict: bool = False,
        flush_secs: float = 10.0,
    ) -> None:
        self._probes = default_probes() if probes is None else dict(probes)
        self._root = root
        self._settings: dict[str, Any] = {"lines": lines, "strict": strict, "flush_secs": flush_secs}
        self._sinks = None if sinks is None else list(sinks)
        self._own_sinks: list[Sink] = []
        self._memory = MemorySink(limit=2000) if figures else None
        self._lab: GradientLab | None = None
        self._loss: Tensor | None = None
        self._updates = Updates()
        self._scaler: Any = None

    @property
    def lab(self) -> GradientLab:
        """The lab of the run that is going on, or of the last one."""
        if self._lab is None:
            raise RuntimeError("the lab opens when the trainer's fit begins")
        return self._lab

    @property
    def has_lab(self) -> bool:
        """Whether a run has begun."""
        return self._lab is not None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._own_sinks = [] if self._sinks is not None else [_tensorboard(trainer)]
        memory = [self._memory] if self._memory is not None else []
        sinks = [*(self._sinks or []), *self._own_sinks, *memory]
        self._lab = GradientLab(pl_module.get_submodule(self._root), self._probes, sinks, **self._settings)
        self._updates = Updates()
        self._scaler = getattr(trainer.precision_plugin, "scaler", None)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, i: int) -> None:
        step = trainer.global_step
        self._updates.begin_batch(step)
        self.lab.begin_step(step, self._updates.batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._loss = loss
        self.lab.before_backward(loss)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._loss is not None
        # In manual optimization the user's code clips before Lightning calls any hook.
        keep = not pl_module.automatic_optimization
        self.lab.after_backward(self._loss, self._scale(self._loss.device), keep)
        self._loss = None

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        label, only = self._updates.of(optimizer, trainer.optimizers)
        scale = self._scale(trainer.strategy.root_device) if unscales_by_itself(optimizer) else None
        self.lab.before_update([group["lr"] for group in optimizer.param_groups], label, only, scale)
        if not pl_module.automatic_optimization:  # the batch may go on with a further update
            self._updates.count += 1
            self.lab.begin_step(trainer.global_step + 1, self._updates.batch)
        elif isinstance(optimizer, LBFGS):  # the forward pass runs again within this step
            self.lab.begin_step(trainer.global_step, self._updates.batch)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any) -> None:
        self.lab.end_step()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._end()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.lab.flush()
        if self._memory is not None:
            from gradlab.figures.save import save_all  # matplotlib is slow to import

            self.lab.write(save_all(self._memory, _folder(trainer), trainer.global_step))
        self._end()
        if self._own_sinks:
            rank_zero_info(f"gradlab: {self.lab.summary()}")
            rank_zero_info(f"gradlab: {command(_folder(trainer))} then {deep_link(self.lab.tags)}")

    def _scale(self, device: torch.device) -> Tensor | None:
        """By what a gradient scaler multiplies the loss; None where there is none."""
        return None if self._scaler is None else scale_of(self._scaler, device)

    def _end(self) -> None:
        if self._lab is not None:
            self._lab.close()
        for sink in self._own_sinks:
            sink.close()


class StopAtNonFinite(pl.Callback):
    """Ends a run of gradlab's own at the first NaN or infinity, and says where it came from.

    A gradient that a gradient scaler is going to skip is counted instead.
    """

    def __init__(self) -> None:
        self.skipped_steps = 0
        self._batch: tuple[Any, int] = (None, 0)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, i: int) -> None:
        self._batch = (batch, i)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss).all()):
            where = explain_loss(lambda: self._loss_again(pl_module))
            raise NonFiniteError(f"the loss is {float(loss.detach())} at step {trainer.global_step}: {where}")

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        names = non_finite_gradients(pl_module)
        if not names:
            return
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            self.skipped_steps += 1
            return
        where = explain_gradient(lambda: self._loss_again(pl_module))
        raise NonFiniteError(f"the gradient of {', '.join(names)} is non-finite at step {trainer.global_step}: {where}")

    def _loss_again(self, pl_module: pl.LightningModule) -> Tensor:
        result = pl_module.training_step(*self._batch)
        return result["loss"] if isinstance(result, Mapping) else result  # type: ignore[return-value]


class StopWhenAllDiverged(pl.Callback):
    """Ends a population's run once no member is left whose parameters are all finite.

    A single one that diverges ends nothing: the others never meet it. It is counted among the metrics.

    Args:
        every: the steps between two looks.
    """

    def __init__(self, every: int = 100) -> None:
        self._every = every

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any) -> None:
        if trainer.global_step % self._every == 0:
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer, pl_module)

    def _look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not bool(finite_members(pl_module).any()):
            members = next(pl_module.parameters()).shape[0]
            raise NonFiniteError(f"all {members} members of the population have diverged by step {trainer.global_step}")


def finite_members(module: nn.Module) -> Tensor:
    """Which members of a population have finite parameters only, shape [P], bool.

    Example:
        >>> module = nn.Module()
        >>> module.theta = nn.Parameter(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]))
        >>> finite_members(module).tolist()
        [True, False]
    """
    return torch.stack([torch.isfinite(p.detach()).reshape(len(p), -1).all(1) for p in module.parameters()]).all(0)


def _tensorboard(trainer: pl.Trainer) -> Sink:
    from gradlab.sinks.tensorboard import TensorBoardSink  # slow to import, and needed only here

    return TensorBoardSink(_folder(trainer))


def _folder(trainer: pl.Trainer) -> Path:
    loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return Path(loggers[0].log_dir) if loggers else Path(trainer.default_root_dir) / "gradlab"
