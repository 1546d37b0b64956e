"""A progress bar over the steps of a run, with the loss beside it."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 10  # steps between two looks at the loss: looking waits for the device


class StepBar(ProgressBar):
    """Counts optimizer steps from the first to the last, across epochs; of a population it shows the mean loss."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console()
        self._progress: Progress | None = None
        self._members = 1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._members = getattr(pl_module, "population", None) or 1
        name = "loss" if self._members == 1 else "mean loss"
        total = trainer.max_steps if trainer.max_steps > 0 else trainer.estimated_stepping_batches
        self._progress = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{name} {{task.fields[loss]}}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("train", total=float(total), loss="…")
        self._progress.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        if self._progress is None or (trainer.global_step % EVERY and trainer.global_step != trainer.max_steps):
            return
        loss = outputs["loss"] if isinstance(outputs, dict) else None
        shown = "…" if loss is None else f"{float(loss) / self._members:.4g}"
        self._progress.update(self._task, completed=trainer.global_step, loss=shown)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
