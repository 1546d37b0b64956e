"""What a run says at its end: ``summary.json`` for programs, a table for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table

from gradlab.errors import EXIT_CODES
from gradlab.files import write_whole
from gradlab.links import GRADLAB_TAB, command, deep_link
from gradlab.tally import Disagreement, Tally


@dataclass(slots=True)
class Summary:
    """How a run ended. Field for field the contents of ``summary.json``.

    ``job`` is Hydra's number of the job in a sweep, and None outside of one. ``objective`` is what the sweep
    minimises: a number, or a list of several.
    """

    experiment: str
    overrides: list[str]
    status: str = "error"
    exit_code: int = 1
    reason: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    job: int | None = None
    objective: float | list[float] | None = None

    def end(self, status: str, reason: str = "") -> None:
        self.status, self.exit_code, self.reason = status, EXIT_CODES[status], reason

    def save(self, folder: Path) -> None:
        """Writes the file in one go, so that no half-written one is ever found."""
        text = json.dumps(_without_nan(asdict(self)), indent=2, ensure_ascii=False)
        write_whole(folder / "summary.json", (text + "\n").encode())


def read_summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def objective(metrics: dict[str, Any]) -> float:
    """What a sweep minimises: the loss on test data, else at the point reached; NaN where there is neither."""
    return float(metrics.get("test_loss", metrics.get("loss", math.nan)))


def describe(disagreement: Disagreement) -> list[dict[str, Any]]:
    """One entry for each parameter that differs in a backward pass, the worst first."""
    reconciliation = disagreement.reconciliation
    culprit = reconciliation.culprit
    wrong = sorted((a for a in reconciliation.agreements.values() if not a.ok), key=lambda a: -a.error)
    return [
        {
            "parameter": a.name,
            "step": disagreement.step,
            "index": list(a.index or ()),
            "manual": a.manual,
            "autograd": a.autograd,
            "error": a.error,
            "tolerance": a.tolerance,
            "culprit": str(culprit) if culprit else "",
            "operations": list(culprit.operations) if culprit else [],
            "function": culprit.function if culprit else "",
            "module": culprit.module if culprit else "",
            "source": culprit.source if culprit else "",
            "line": culprit.line if culprit else "",
            "hint": culprit.hint if culprit else reconciliation.note,
        }
        for a in wrong
    ]


def sentence(found: dict[str, Any]) -> str:
    """A disagreement in one line."""
    index = f"[{','.join(map(str, found['index']))}]" if found["index"] else ""
    return (
        f"{found['parameter']}{index} at step {found['step']}: handwritten {found['manual']}, "
        f"autograd {found['autograd']}, relative error {found['error']:.3g} (allowed {found['tolerance']:.2g})"
    )


def show(console: Console, thing: RenderableType) -> None:
    """Prints a table or a line in full: nothing is cut or wrapped, also where the output goes into a pipe."""
    options = console.options.update(max_width=10_000)
    console.width = max(console.width, Measurement.get(console, options, thing).maximum)
    console.print(thing, no_wrap=True, crop=False, overflow="ignore", soft_wrap=isinstance(thing, str))


def print_report(
    summary: Summary, tally: Tally | None, folder: Path, console: Console, tags: Iterable[str] = ()
) -> None:
    """The table at the end of a run, what disagreed, and how to look at it in TensorBoard.

    Args:
        summary: how the run ended.
        tally: what was compared.
        folder: where everything lies.
        console: where it is printed.
        tags: the scalars that the run has, for the address that pins some of them.
    """
    table = Table(title=f"gradlab: {summary.experiment}", title_justify="left", show_header=False)
    table.add_column("quantity", style="bold", no_wrap=True)
    table.add_column("value", no_wrap=True)
    for name, value in summary.metrics.items():
        if name not in ("worst_relative_error", "best_member"):  # below and above, with the place where it was
            table.add_row(_label(name, summary.metrics), _number(value))
    if tally is not None and tally.backwards:
        worst = f"{tally.worst_error:.3g} at {tally.worst_place}, step {tally.worst_step}"
        table.add_row("worst relative disagreement", f"{worst} (allowed: {tally.tolerance:.2g})")
    table.add_row("verdict", _verdict(summary, tally))
    show(console, table)
    for found in summary.disagreements:
        show(console, sentence(found))
    if summary.disagreements:
        first = summary.disagreements[0]
        show(console, f"to blame: {first['culprit'] or first['hint']}")
        if first["culprit"] and first["hint"]:
            show(console, f"hint: {first['hint']}")
    if summary.reason:
        show(console, summary.reason)
    show(console, f"results: {folder}")
    show(console, command(folder))
    show(console, deep_link(tags))
    show(console, f"step by step, in its tab Gradlab: {GRADLAB_TAB}")


def _verdict(summary: Summary, tally: Tally | None) -> str:
    if summary.status == "agree":
        return "[green]the handwritten sweep and autograd agree[/green]"
    if summary.status == "disagree" and tally is not None:
        return f"[red]they DISAGREE in {tally.disagreements} of {tally.backwards} backward passes[/red]"
    if summary.status == "not compared":
        return "nothing was compared (no probe asked for it)"
    return summary.status


MEDIANS = ("loss", "test_loss", "accuracy", "distance")


def _label(name: str, metrics: dict[str, Any]) -> str:
    """A metric in words; of a population, whose number it is.

    Example:
        >>> _label("loss", {}), _label("best_loss", {"members": 3, "best_member": 2})
        ('final loss', 'best loss (member 2)')
    """
    words = "final loss" if name == "loss" else name.replace("_", " ")
    if "members" not in metrics:
        return words
    if name in MEDIANS:
        return f"{words} (median of members)"
    if name == "parameters":
        return f"{words} (all members)"
    best = name.startswith("best_") and "best_member" in metrics
    return f"{words} (member {metrics['best_member']})" if best else words


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become the strings "nan", "inf", "-inf"."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    if isinstance(value, complex):
        return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
