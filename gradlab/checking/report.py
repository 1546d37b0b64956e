"""The report of a check: for a terminal, a notebook, a program, and for pytest."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradlab.checking.findings import Finding

COLUMNS = ("tensor", "shape", "verdict", "worst error", "allowed", "entries compared")
ORDER = ("wrong", "nondeterministic", "precision", "kink", "not differentiable", "not reached", "agree")
MEANING = {"kink": "the function has no single slope here; autograd's value lies between those on both sides"}
STYLES = {"wrong": "red", "nondeterministic": "red", "precision": "yellow", "kink": "cyan", "agree": "green"}


class GradientError(AssertionError):
    """A check found a derivative wrong; the message is the whole report of what is."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `gradlab.check` found out.

    Attributes:
        target: the name of what was checked.
        findings: one for each tensor, and one more for each condition under which a tensor's gradient is wrong.
        notes: what was tried besides, and what was not looked at.
        seconds: how long it took.
    """

    target: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """False where a tensor's verdict is *wrong* or *nondeterministic*."""
        return all(finding.ok for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """How many entries each witness compared with autograd's."""
        total: Counter[str] = Counter()
        for finding in self.findings:
            total.update(finding.compared)
        return dict(total)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if not f.ok)

    @property
    def explained(self) -> tuple[Finding, ...]:
        """What is told in full: what is wrong, and what is right though the numbers differ (a kink, a precision)."""
        return tuple(f for f in self.findings if f.verdict not in ("agree", "not reached"))

    def __getitem__(self, name: str) -> Finding:
        """The finding on a tensor, by its name; the worst one, where there are several."""
        found = [f for f in self.findings if f.name == name]
        if not found:
            known = ", ".join(dict.fromkeys(f.name for f in self.findings))
            raise KeyError(f"no tensor {name!r} was checked; there are {known}")
        return min(found, key=lambda f: ORDER.index(f.verdict))

    def raise_for_failure(self) -> None:
        """Raises `GradientError` with everything that is wrong; does nothing where `ok`."""
        if not self.ok:
            details = "\n".join(line for finding in self.failures for line in explain(finding))
            raise GradientError(f"{self.headline}\n{details}")

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        if not self.findings:
            return f"gradlab.check({self.target}): nothing to check, no floating tensor among inputs and parameters"
        verdicts: Counter[str] = Counter(f.verdict for f in self.findings)
        if not self.ok:
            names = ", ".join(dict.fromkeys(f.name for f in self.failures))
            return f"gradlab.check({self.target}): WRONG for {names}"
        counted = ", ".join(f"{verdicts[v]} {v}" for v in ORDER if verdicts[v])
        return f"gradlab.check({self.target}): ok ({counted})"

    def __str__(self) -> str:
        out = Console(file=io.StringIO(), width=10_000, force_terminal=False, color_system=None)
        self._print(out)
        return out.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]

    def __rich_console__(self, console: Console, options: Any) -> Any:
        yield Text(self.headline, "green" if self.ok else "red")
        if self.findings:
            yield self.table()
        for finding in self.explained:
            yield from (Text(line) for line in explain(finding))
        yield from (Text(note) for note in self.notes)

    def _print(self, console: Console) -> None:
        console.print(self, no_wrap=True, crop=False, overflow="ignore", soft_wrap=True)

    def rows(self) -> list[tuple[Finding, list[str]]]:
        """Each finding with its cells under `COLUMNS`, the worst first."""
        return [(f, _cells(f)) for f in sorted(self.findings, key=lambda f: ORDER.index(f.verdict))]

    def table(self) -> Table:
        """One row for each finding, the worst first."""
        table = Table(*COLUMNS)
        for finding, cells in self.rows():
            style = STYLES.get(finding.verdict, "")
            table.add_row(*(Text(cell, style if column == 2 else "") for column, cell in enumerate(cells)))
        return table

    def to_json(self) -> str:
        """Everything as JSON; numbers that are not finite become text."""
        content = {
            "target": self.target,
            "ok": self.ok,
            "counts": self.counts,
            "findings": [f.as_dict() for f in self.findings],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }
        return json.dumps(_plain(content), indent=2, ensure_ascii=False)

    def _repr_html_(self) -> str:
        from gradlab.checking.html import page

        return page(self)


def _cells(finding: Finding) -> list[str]:
    return [
        f"{finding.kind} {finding.name if finding.ok else finding.place}",
        "×".join(map(str, finding.shape)) or "scalar",
        finding.verdict + (f", {finding.condition}" if finding.condition else ""),
        _number(finding.error),
        f"{finding.tolerance:.1e}" if finding.tolerance else "",
        ", ".join(f"{name} {count:,}" for name, count in finding.compared.items()),
    ]


def explain(finding: Finding) -> list[str]:
    """A finding in full sentences, one thing a line."""
    condition = f", {finding.condition}" if finding.condition else ""
    lines = [f"{finding.kind} {finding.place}: {finding.verdict}{condition}"]
    if finding.numbers:
        width = max(map(len, finding.numbers))
        for name, number in finding.numbers.items():
            error = finding.errors.get(name)
            uncertain = f" ± {error:.1e}" if error is not None and math.isfinite(error) else ""
            alone = "   <- stands alone" if name == finding.alone else ""
            lines.append(f"  {name:{width}}  {_value(number)}{uncertain}{alone}")
        lines.append(f"  relative error {_number(finding.error)}, allowed {finding.tolerance:.1e}{_off(finding)}")
    labels = (
        ("to blame", finding.blame),
        ("hint", finding.hint),
        ("note", finding.note or MEANING.get(finding.verdict)),
    )
    return lines + [f"  {label}: {text}" for label, text in labels if text]


def _off(finding: Finding) -> str:
    return f"; {finding.off:,} of {finding.entries:,} entries are off" if finding.off else ""


def _number(value: float) -> str:
    return f"{value:.2g}" if value else "0"


def _value(number: float | complex | None) -> str:
    return "None (not reached)" if number is None else f"{number:.10g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
