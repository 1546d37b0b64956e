"""The report of a check: for a terminal, a notebook, a program, and for pytest."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradlab.checking.findings import Finding
from gradlab.checking.glossary import meanings
from gradlab.checking.grouping import ORDER, Group, grouped, rank
from gradlab.checking.texts import as_json
from gradlab.checking.wording import explain, left_out, short, titled

COLUMNS = ("tensor", "shape", "verdict", "worst error", "allowed", "entries compared")
MOST_NAMES = 8  # in the headline
WIDTH = 100  # of the lines that explain words
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
        """What is told below the table: what is wrong, what is right though the numbers differ, and what has a note."""
        return tuple(f for f in self.findings if f.note or not f.is_plain)

    @property
    def groups(self) -> list[Group]:
        """The same, those of one cause together."""
        return grouped(self.explained)

    @property
    def glossary(self) -> list[str]:
        """What the words mean that occur in this report."""
        told = [line for group in self.groups for line in explain(group)]
        return meanings(self.findings, [*told, *self.notes])

    def __getitem__(self, name: str) -> Finding:
        """The finding on a tensor, by its name; the worst one, where there are several."""
        found = [f for f in self.findings if f.name == name]
        if not found:
            known = ", ".join(dict.fromkeys(f.name for f in self.findings))
            raise KeyError(f"no tensor {name!r} was checked; there are {known}")
        return min(found, key=rank)

    def raise_for_failure(self) -> None:
        """Raises `GradientError` with everything that is wrong; does nothing where `ok`."""
        if not self.ok:
            details = [line for group in grouped(self.failures) for line in explain(group)]
            words = _wrapped(meanings(self.failures, details), WIDTH)
            raise GradientError("\n".join([self.headline, *details, *words]))

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        if not self.findings:
            return f"gradlab.check({self.target}): nothing to check, no floating tensor among inputs and parameters"
        called = f"gradlab.check({self.target})"
        if not self.ok:
            verdicts = ("wrong", "WRONG"), ("nondeterministic", "NONDETERMINISTIC")
            told = ((word, [f.name for f in self.failures if f.verdict == verdict]) for verdict, word in verdicts)
            return f"{called}: {'; '.join(f'{word} for {_listed(names)}' for word, names in told if names)}"
        counts = Counter(f.verdict for f in self.findings)
        counted = ", ".join(f"{counts[v]} {v}" for v in ORDER if counts[v])
        parts = left_out(self.findings, self.notes)
        return f"{called}: ok{' as far as looked at' if parts else ''} ({'; '.join([counted, *parts])})"

    def __str__(self) -> str:
        out = Console(file=io.StringIO(), width=10_000, force_terminal=False, color_system=None)
        self._print(out)
        return out.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]

    def __rich_console__(self, console: Console, options: Any) -> Any:
        yield Text(self.headline, "green" if self.ok else "red")
        if self.findings:
            yield self.table()
        for group in self.groups:
            yield from (Text(line) for line in explain(group))
        yield from (Text(line) for line in (*_wrapped(self.glossary, min(WIDTH, options.max_width)), *self.notes))

    def _print(self, console: Console) -> None:
        console.print(self, no_wrap=True, crop=False, overflow="ignore", soft_wrap=True)

    def rows(self) -> list[tuple[Finding, list[str]]]:
        """Each finding with its cells under `COLUMNS`, the worst first."""
        return [(f, _cells(f)) for f in sorted(self.findings, key=rank)]

    def table(self) -> Table:
        """One row for each finding, the worst first."""
        table = Table(*COLUMNS)
        for finding, cells in self.rows():
            style = STYLES.get(finding.verdict, "")
            table.add_row(*(Text(cell, style if column == 2 else "") for column, cell in enumerate(cells)))
        return table

    def to_json(self) -> str:
        """Everything as JSON.

        JSON has no numbers that are not finite, nor complex ones: they become text, such as ``"nan"`` and ``"(1+2j)"``.
        """
        content = {
            "target": self.target,
            "ok": self.ok,
            "counts": self.counts,
            "findings": [f.as_dict() for f in self.findings],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }
        return as_json(content)

    def _repr_html_(self) -> str:
        from gradlab.checking.html import page

        return page(self)


def _cells(finding: Finding) -> list[str]:
    is_measured = bool(finding.numbers or finding.compared)
    return [
        finding.label if finding.ok else finding.label_of_place,
        "×".join(map(str, finding.shape)) or "scalar",
        titled(finding),
        short(finding.error) if is_measured else "",
        f"{finding.tolerance:.1e}" if finding.tolerance else "",
        ", ".join(f"{name} {count:,}" for name, count in finding.compared.items()),
    ]


def _wrapped(glossary: list[str], width: int) -> list[str]:
    """Under a heading, in lines of a width that can be read: there is nothing in it that anybody would search for."""
    lines = [line for entry in glossary for line in wrap(entry, width, initial_indent="  ", subsequent_indent="    ")]
    return ["words:", *lines] if lines else []


def _listed(names: list[str]) -> str:
    own = list(dict.fromkeys(names))
    more = f" and {len(own) - MOST_NAMES} more" if len(own) > MOST_NAMES else ""
    return ", ".join(own[:MOST_NAMES]) + more
