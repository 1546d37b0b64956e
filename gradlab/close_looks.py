"""``experiment=check`` and ``experiment=precision``: what looks at one gradient closely, from a resolved config."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text
from torch import Tensor, nn

from gradlab.build import check_parts
from gradlab.checking import check, precision, v_curve
from gradlab.checking.difference_curve import VCurve
from gradlab.checking.precision_report import PrecisionReport
from gradlab.checking.targets import is_lightning
from gradlab.errors import BadInput
from gradlab.files import write_whole
from gradlab.population import check_single
from gradlab.report import Summary, show

HEAD = "<!doctype html>\n<meta charset=utf-8>\n<meta name=color-scheme content='light dark'>\n"


def run_check(cfg: DictConfig, folder: Path, summary: Summary) -> float:
    """Checks the configured model on one batch of the configured data, prints the report and writes it.

    Args:
        cfg: has a part ``check`` with the settings of `gradlab.check`.
        folder: gets ``report.json`` and ``report.html``.
        summary: how it ended.

    Returns:
        How many tensors are wrong.
    """
    settings: dict[str, Any] = {str(key): value for key, value in cfg.check.items()}
    settings["witnesses"] = list(cfg.check.witnesses)
    report = _Call.of(cfg).run(check, **settings)
    summary.end("agree" if report.ok else "disagree")
    summary.metrics = {f"entries_{name}": count for name, count in report.counts.items()}
    summary.disagreements = [finding.as_dict() for finding in report.failures]
    write_whole(folder / "report.json", (report.to_json() + "\n").encode())
    write_whole(folder / "report.html", (HEAD + report._repr_html_()).encode())
    _print(report, folder)
    return float(len(report.failures))


def run_precision(cfg: DictConfig, folder: Path, summary: Summary) -> float:
    """The same gradient in several dtypes, and the V-curve of differences, for one batch of the configured data.

    Args:
        cfg: has a part ``precision``.
        folder: gets ``precision.json`` and ``precision.png``, ``v_curve.json`` and ``v_curve.png``.
        summary: how it ended.

    Returns:
        The largest relative error in float32; NaN without float32.
    """
    from gradlab.figures import png  # matplotlib is slow to import

    call, settings = _Call.of(cfg), cfg.precision
    report = call.run(precision, dtypes=[_dtype(name) for name in settings.dtypes])
    index = settings.index if settings.index is None or isinstance(settings.index, int) else list(settings.index)
    curve = call.run(v_curve, variable=settings.variable, index=index)
    for name, result in (("precision", report), ("v_curve", curve)):
        write_whole(folder / f"{name}.json", (result.to_json() + "\n").encode())
        write_whole(folder / f"{name}.png", png(result.figure()))
        show(Console(), Text(str(result)))
    _print(None, folder)
    summary.end(_verdict_on(report))
    summary.metrics = {**_worst_errors(report), **_best_steps(curve)}
    return summary.metrics.get("worst_relative_error_in_float32", math.nan)


@dataclass(frozen=True, slots=True)
class _Call:
    """The configured model with one batch, as arguments of `check` and its like."""

    model: nn.Module
    inputs: tuple[Any, ...]
    loss: Callable[[Any], Tensor] | None

    @classmethod
    def of(cls, cfg: DictConfig) -> _Call:
        model, loss, data = check_parts(cfg)
        check_single(model)
        batch = next(iter(data.train_dataloader()))
        if is_lightning(model):
            return cls(model, (batch,), None)
        x, y = batch if isinstance(batch, (tuple, list)) and len(batch) == 2 else (batch, None)
        return cls(model, () if x is None else (x,), None if loss is None else lambda output: loss(output, y))

    def run(self, function: Callable[..., Any], **options: Any) -> Any:
        try:
            return function(self.model, *self.inputs, loss=self.loss, **options)
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(f"the model's forward pass failed with {type(error).__name__}: {error}") from error


def _verdict_on(report: PrecisionReport) -> str:
    """Whether autograd and the handwritten sweep agree in float64, by which every other dtype is measured."""
    if any("disputed in float64" in row.marks for row in report.rows):
        return "disagree"
    return "agree" if any(row.manual_error is not None for row in report.rows) else "not compared"


def _worst_errors(report: PrecisionReport) -> dict[str, float]:
    """The largest relative error of autograd in each dtype; in float64, that of the handwritten sweep against it."""
    errors: dict[str, list[float]] = {}
    for row in report.rows:
        error = row.manual_error if row.dtype == "float64" else row.error
        errors.setdefault(row.dtype, []).extend([] if error is None else [error])
    return {f"worst_relative_error_in_{dtype}": max(each, default=math.nan) for dtype, each in errors.items()}


def _best_steps(curve: VCurve) -> dict[str, float]:
    """The best step of each difference in each dtype, and the relative error there."""
    best = {f"{c.formula}_in_{c.dtype}": c.best for c in curve.curves if c.best is not None}
    steps = {f"best_step_{name}": step for name, (step, _) in best.items()}
    return steps | {f"error_at_the_best_step_{name}": error / curve.scale for name, (_, error) in best.items()}


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise BadInput(f"precision.dtypes: there is no dtype {name!r}: choose from float16, bfloat16, float32, float64")
    return dtype


def _print(report: Any, folder: Path) -> None:
    console = Console()
    if report is not None:
        show(console, report)
    show(console, f"results: {folder}")
