"""``study=…``: one question in a resolved config, from its runs and numbers to a table and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from gradlab.build import build, check_parts, explained
from gradlab.errors import BadInput
from gradlab.experiment import Run
from gradlab.figures import png
from gradlab.figures.style import look
from gradlab.files import write_whole
from gradlab.links import command
from gradlab.losses import Surface
from gradlab.records import Figure, Hparams, Record, Scalar
from gradlab.report import Summary, show
from gradlab.settings import settings_of
from gradlab.sinks.memory import MissingRecordError
from gradlab.sinks.tensorboard import TensorBoardSink
from gradlab.studies.base import Findings, Finished

WORST_FIRST = ("error", "interrupted", "non-finite", "disagree", "agree", "diverged as expected", "not compared")


def run_study(cfg: DictConfig, folder: Path, summary: Summary) -> float:
    """Answers the configured question; the table goes to the terminal, everything else into the folder.

    Args:
        cfg: has a part ``study``.
        folder: gets a PNG for each figure, further files, an event file, and a folder for each run.
        summary: gets the numbers.

    Returns:
        The largest relative error between two witnesses, where there are two; else NaN.

    Raises:
        BadInput: the study cannot be made with these settings.
    """
    study = explained("study", cfg, lambda: instantiate(cfg.study, _convert_="all"))
    if OmegaConf.select(cfg, "model.population") is not None and not getattr(study, "takes_population", False):
        raise BadInput(
            f"model.population={cfg.model.population}: {type(study).__name__} looks at single runs, or makes "
            "populations of its own: leave it out"
        )
    try:
        with look():
            found: Findings = study(ConfiguredSetting(cfg, folder))
    except MissingRecordError as error:
        raise BadInput(
            f"probes: this study looks at what its own probes record, and one is missing ({error.args[0]}): "
            "leave probes= out, or add one with '+probes@probes=graph'"
        ) from error
    with look():
        pictures = {name: png(figure) for name, figure in found.figures.items()}
    for name, content in {**{f"{name}.png": picture for name, picture in pictures.items()}, **found.files}.items():
        write_whole(folder / name, content)
    summary.metrics = dict(found.numbers)
    _judge(found, summary)
    _write_events(cfg, folder, found, pictures)
    _print(found, folder, summary)
    return max(found.errors.values(), default=math.nan)


class ConfiguredSetting:
    """What a study may use of its config; see `gradlab.studies.base.Setting`."""

    def __init__(self, cfg: DictConfig, folder: Path) -> None:
        self._cfg = cfg
        self._folder = folder

    @property
    def surface(self) -> Surface:
        loss = check_parts(self._cfg)[1]
        if not isinstance(loss, Surface):
            raise BadInput("this study looks at a surface: choose one with loss=, such as loss=rosenbrock")
        return loss

    def parts(self) -> tuple[nn.Module, nn.Module | None, Any]:
        return check_parts(self._cfg)

    def run(self, variants: Mapping[str, Sequence[str]]) -> list[Finished]:
        return [self._run(name, overrides) for name, overrides in variants.items()]

    def _run(self, name: str, overrides: Sequence[str]) -> Finished:
        cfg, choices = _composed(overrides)
        folder = self._folder / re.sub(r"[^\w.=,+-]+", "_", name)
        folder.mkdir(parents=True)
        summary = Summary(f"{cfg.name}: {name}", [*HydraConfig.get().overrides.task, *overrides])
        try:
            pl.seed_everything(cfg.seed, verbose=False)
            run = Run(cfg, folder, build(cfg), summary, is_part=True, choices=choices)
            run.go()
        except BaseException as error:
            summary.end("bad input" if isinstance(error, BadInput) else "error", str(error))
            raise
        finally:
            summary.save(folder)
        model, loss = run.module.model, run.module.loss
        return Finished(name, summary.status, summary.metrics, run.memory, model, loss, folder)


def _composed(overrides: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
    """The config of this job with further overrides and without its study, and the chosen options by group."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    task = [*HydraConfig.get().overrides.task, *overrides]
    cfg = hydra.compose_config("config", task, run_mode=RunMode.RUN, with_log_configuration=False)
    choices = dict(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg["hydra"]
        cfg.study = None
        cfg.trainer.enable_progress_bar = False  # many short runs, one table
    OmegaConf.resolve(cfg)
    return cfg, choices


def _judge(found: Findings, summary: Summary) -> None:
    """The study has the worst status of its runs; witnesses that differ are a disagreement."""
    wrong = {name: error for name, error in found.errors.items() if not error <= found.tolerance}
    statuses = [*found.statuses.values(), *(["disagree"] if wrong else ["agree"] if found.errors else [])]
    status = min(statuses, key=WORST_FIRST.index, default="not compared")
    parts = [f"{name} differs from autograd by {error:.2g}" for name, error in wrong.items()]
    parts += [f"{name} ended as {s}" for name, s in found.statuses.items() if s == status and status != "agree"]
    bad = status not in ("agree", "not compared", "diverged as expected")
    summary.end(status, "; ".join(parts) if bad else "")


def _write_events(cfg: DictConfig, folder: Path, found: Findings, pictures: Mapping[str, bytes]) -> None:
    numbers = {f"study/{name}": float(value) for name, value in found.numbers.items()}
    records: list[Record] = [Figure(f"figure/{name}", 0, picture) for name, picture in pictures.items()]
    records += [Scalar(tag, 0, value) for tag, value in numbers.items()]
    records += [*found.records, Hparams(settings_of(cfg), numbers)]
    with closing(TensorBoardSink(folder)) as sink:
        sink.write(records)


def _print(found: Findings, folder: Path, summary: Summary) -> None:
    console = Console()
    if found.rows:
        heading, *rows = found.rows
        table = Table(*heading, title=found.title or f"gradlab: {summary.experiment}", title_justify="left")
        for row in rows:
            table.add_row(*row)
        show(console, table)
    if found.text:
        show(console, Text(found.text))
    for name, error in found.errors.items():
        show(console, f"autograd and {name}: relative error {error:.2g} (allowed {found.tolerance:.0e})")
    if summary.reason:
        show(console, summary.reason)
    show(console, f"results: {folder}")
    show(console, command(folder))
