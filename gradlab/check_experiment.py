"""``experiment=check``: from a resolved config to `gradlab.check` of its model, and a report in the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor, nn

from gradlab.build import check_parts
from gradlab.checking import Report, check
from gradlab.checking.targets import is_lightning
from gradlab.errors import BadInput
from gradlab.files import write_whole
from gradlab.report import Summary, show


def run_check(cfg: DictConfig, folder: Path, summary: Summary) -> float:
    """Checks the configured model on one batch of the configured data, prints the report and writes it.

    Args:
        cfg: has a part ``check`` with the settings of `gradlab.check`.
        folder: gets ``report.json`` and ``report.html``.
        summary: how it ended.

    Returns:
        How many tensors are wrong.
    """
    model, loss, data = check_parts(cfg)
    batch = next(iter(data.train_dataloader()))
    try:
        report = _check(model, loss, batch, cfg.check)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"the model's forward pass failed with {type(error).__name__}: {error}") from error
    summary.end("agree" if report.ok else "disagree")
    summary.metrics = {f"entries_{name}": count for name, count in report.counts.items()}
    summary.disagreements = [finding.as_dict() for finding in report.failures]
    write_whole(folder / "report.json", (report.to_json() + "\n").encode())
    write_whole(folder / "report.html", report._repr_html_().encode())
    console = Console()
    show(console, report)
    show(console, f"results: {folder}")
    return float(len(report.failures))


def _check(model: nn.Module, loss: nn.Module | None, batch: Any, settings: DictConfig) -> Report:
    options: dict[str, Any] = {str(key): value for key, value in settings.items()}
    options["witnesses"] = list(settings.witnesses)
    if is_lightning(model):
        return check(model, batch, **options)
    is_pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    x, y = batch if is_pair else (batch, None)
    inputs = () if x is None else (x,)
    with_target: Callable[[Any], Tensor] | None = None if loss is None else lambda output: loss(output, y)
    return check(model, *inputs, loss=with_target, **options)
