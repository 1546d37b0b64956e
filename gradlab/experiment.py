"""One run, from a resolved config to a verdict: the main path, readable from top to bottom."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from gradlab.backprop import TapeError
from gradlab.build import Parts, build, make_trainer
from gradlab.callbacks import GradientLabCallback, StopAtNonFinite, StopWhenAllDiverged
from gradlab.data.table import checked_seed
from gradlab.descent import DescentModule
from gradlab.errors import BadInput
from gradlab.evaluate import evaluate
from gradlab.losses import Surface
from gradlab.nonfinite import NonFiniteError
from gradlab.probes import PathProbe
from gradlab.progress import StepBar
from gradlab.records import Hparams, Record
from gradlab.report import Summary, describe, objective, print_report
from gradlab.settings import settings_of
from gradlab.sinks import MemorySink
from gradlab.sinks.tensorboard import TensorBoardSink
from gradlab.surfaces import surface_records
from gradlab.sweeps.names import job_number
from gradlab.sweeps.objective import chosen_objective
from gradlab.sweeps.threads import threads_of
from gradlab.tally import Tally


def run(cfg: DictConfig) -> float | tuple[float, ...]:
    """Descends ``loss(model(x), y)`` as configured, compares two backward passes, and reports.

    Args:
        cfg: a config composed from ``configs/``. The run's folder is Hydra's output folder.

    Returns:
        The objective for sweepers: what ``objective`` in the config names, else the loss on test data, or at the point
        reached; NaN where there is none; a tuple where several are named.

    Raises:
        BadInput: something in the config cannot work. Everything else that ends a run is told by the ``status``
            in its ``summary.json``.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    summary = Summary(cfg.name, list(HydraConfig.get().overrides.task), job=job_number())
    try:
        torch.set_num_threads(threads_of(cfg.threads, HydraConfig.get().launcher))
        pl.seed_everything(_seed(cfg), verbose=False)
        found = _descend_or_study(cfg, folder, summary)
        summary.objective = chosen_objective(cfg.get("objective"), summary.metrics, summary.status, found)
        return tuple(summary.objective) if isinstance(summary.objective, list) else summary.objective
    except BadInput as error:
        summary.end("bad input", str(error))
        raise
    except KeyboardInterrupt:
        summary.end("interrupted", "interrupted before there was anything to keep")
        raise
    except BaseException as error:
        summary.end("error", f"{type(error).__name__}: {error}")
        raise
    finally:
        summary.save(folder)


def _descend_or_study(cfg: DictConfig, folder: Path, summary: Summary) -> float:
    if cfg.get("check") is not None or cfg.get("precision") is not None:
        from gradlab.close_looks import run_check, run_precision  # no descent needs the witnesses

        return (run_check if cfg.get("check") is not None else run_precision)(cfg, folder, summary)
    if cfg.get("study") is not None:
        from gradlab.study_run import run_study  # it knows how to run descents, and so this module

        return run_study(cfg, folder, summary)
    return Run(cfg, folder, build(cfg), summary).go()


class Run:
    """The pieces of one run, and what happens to them in order.

    Args:
        cfg: resolved.
        folder: for all that the run leaves.
        parts: made from the config.
        summary: how it ends.
        is_part: whether it is one of several runs of a study, which draws and prints for all of them.
        choices: the chosen options by group, where they are others than those of the job.
    """

    def __init__(
        self,
        cfg: DictConfig,
        folder: Path,
        parts: Parts,
        summary: Summary,
        is_part: bool = False,
        choices: Mapping[str, Any] | None = None,
    ) -> None:
        self.cfg = cfg
        self.folder = folder
        self.parts = parts
        self.summary = summary
        self.is_part = is_part
        self.choices = choices
        self.module = DescentModule(parts.model, parts.loss, parts.optimizer)
        self.memory = MemorySink(limit=2000)
        self.tensorboard = TensorBoardSink(folder)
        self.watching = GradientLabCallback(
            parts.probes, root="model", sinks=[self.tensorboard, self.memory], lines=cfg.lines, strict=True
        )
        single = self.module.population is None
        self.stopping: StopAtNonFinite | StopWhenAllDiverged = StopAtNonFinite() if single else StopWhenAllDiverged()

    def go(self) -> float:
        try:
            self._fit()
            self._finish()
        finally:
            self.tensorboard.close()
        if not self.is_part:
            print_report(self.summary, self._tally(), self.folder, Console(), self.memory.scalars())
        return objective(self.summary.metrics)

    def _fit(self) -> None:
        """Trains; how it ended goes into the summary."""
        trainer = make_trainer(self.cfg, self.folder, [self.watching, self.stopping, *progress_bar(self.cfg)])
        self.trainer = trainer
        if self.parts.probes and isinstance(self.parts.loss, Surface):  # to look at while the run goes on
            self.tensorboard.write(surface_records(self.parts.loss, self.memory))
        try:
            trainer.fit(self.module, datamodule=self.parts.data)
            self.summary.end(self._verdict())
        except NonFiniteError as error:
            self.summary.end("diverged as expected" if self.cfg.expect == "diverge" else "non-finite", str(error))
        except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into SystemExit(1)
            self.summary.end("interrupted", f"interrupted at step {trainer.global_step}; all before it is kept")
        except Exception as error:
            if trainer.global_step > 0 or isinstance(error, TapeError):
                raise
            raise BadInput(f"the first step failed with {type(error).__name__}: {error}") from error

    def _verdict(self) -> str:
        tally = self._tally()
        if tally is None or not tally.backwards:
            return "not compared"
        return "disagree" if tally.disagreements else "agree"

    def _tally(self) -> Tally | None:
        return self.watching.lab.tally if self.watching.has_lab else None

    def _finish(self) -> None:
        """Metrics, figures, parameters: whatever the run has come to."""
        summary, tally = self.summary, self._tally()
        if tally is not None and tally.first is not None:
            summary.disagreements = describe(tally.first)
        summary.metrics = self._metrics(tally)
        self._record_last_point()
        records: list[Record] = [
            Hparams(settings_of(self.cfg, self.choices), {k: float(v) for k, v in summary.metrics.items()})
        ]
        if self.parts.probes:
            if isinstance(self.parts.loss, Surface):
                records.extend(surface_records(self.parts.loss, self.memory))
            records.extend(self._figures(records))
        self.tensorboard.write(records)
        if summary.status not in ("interrupted", "non-finite"):
            torch.save(self.parts.model.state_dict(), self.folder / "final.pt")

    def _metrics(self, tally: Tally | None) -> dict[str, float]:
        losses = self.memory.scalars("loss/train").get("loss/train")
        metrics: dict[str, float] = {"loss": float(losses[1][-1]) if losses else math.nan}
        if self.summary.status != "interrupted":
            metrics |= evaluate(self.module, self.parts.data)
        metrics["parameters"] = sum(p.numel() for p in self.parts.model.parameters())
        metrics["steps"] = self.trainer.global_step
        if tally is not None and tally.backwards:
            metrics["steps_compared"] = tally.steps
            metrics["partials_compared"] = tally.partials
            metrics["worst_relative_error"] = tally.worst_error
        if isinstance(self.stopping, StopAtNonFinite) and self.stopping.skipped_steps:
            metrics["steps_skipped_by_the_scaler"] = self.stopping.skipped_steps
        return metrics

    def _record_last_point(self) -> None:
        """Probes look before each update; a path is complete with the point after the last one."""
        theta = next(self.parts.model.parameters())
        for probe in self.parts.probes.values():
            if isinstance(probe, PathProbe) and self.memory.tags("path/"):
                self.watching.lab.write(probe.records(theta, self.trainer.global_step))

    def _figures(self, records: list[Record]) -> list[Record]:
        self.memory.write(records)
        if self.is_part:
            return []
        from gradlab.figures.save import save_all  # matplotlib is slow to import, and not every run draws

        tally = self._tally()
        tolerance = tally.tolerance if tally is not None and tally.backwards else None
        loss = self.parts.loss
        name = loss.name if isinstance(loss, Surface) else type(loss).__name__
        return save_all(self.memory, self.folder, self.trainer.global_step, name, tolerance)


def progress_bar(cfg: DictConfig) -> list[pl.Callback]:
    """On the terminal where one job runs at a time, even in a sweep, where the rest of the output goes elsewhere."""
    if not cfg.trainer.get("enable_progress_bar", True):
        return []
    alone = str(HydraConfig.get().launcher._target_).endswith(".BasicLauncher")
    terminal = sys.__stdout__
    return [StepBar(Console(file=terminal) if alone and terminal is not None and terminal.isatty() else None)]


def _seed(cfg: DictConfig) -> int:
    try:
        return checked_seed(cfg.seed)
    except ValueError as error:
        raise BadInput(f"seed={cfg.seed}: {error}") from error
