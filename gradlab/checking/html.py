"""A report as a piece of HTML, for notebooks: light or dark, whatever the page is."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gradlab.checking.findings import Finding

if TYPE_CHECKING:
    from gradlab.checking.report import Report

STYLE = """
<style>
.gradlab-check {overflow-wrap: anywhere}
.gradlab-check .wide {overflow-x: auto}
.gradlab-check table {border-collapse: collapse; margin: .5em 0; font-size: 90%}
.gradlab-check th, .gradlab-check td {text-align: left; padding: .2em .8em; border-bottom: 1px solid #8886}
.gradlab-check th, .gradlab-check td {color: inherit; white-space: nowrap}
.gradlab-check td:nth-child(3) {white-space: normal}
.gradlab-check pre {margin: .5em 0; white-space: pre-wrap; overflow-wrap: anywhere; background: none; color: inherit}
.gradlab-check .small {font-size: 90%}
.gradlab-check .small > div {margin: .2em 0}
.gradlab-check .bad {color: #D55E00; font-weight: bold}
.gradlab-check .good {color: #009E73}
.gradlab-check .odd {color: #2688C8}
</style>
"""  # the colors are legible on white and on black alike
CLASSES = {"wrong": "bad", "nondeterministic": "bad", "agree": "good"}


def page(report: Report) -> str:
    """The headline, one row a finding, what is to be told in full, what the words mean, and the notes.

    Example:
        >>> from gradlab.checking.report import Report
        >>> "nothing to check" in page(Report("f", ()))
        True
    """
    from gradlab.checking.report import COLUMNS
    from gradlab.checking.wording import explain

    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    rows = "".join(_row(finding, cells) for finding, cells in report.rows())
    table = f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>' if rows else ""
    told = "".join(f"<pre>{escape(chr(10).join(explain(group)))}</pre>" for group in report.groups)
    words = "".join(f"<div>{_word(line)}</div>" for line in report.glossary)
    notes = "".join(f"<div>{escape(note)}</div>" for note in report.notes)
    verdict = "good" if report.ok else "bad"
    return (
        f'{STYLE}<div class="gradlab-check"><div class="{verdict}">{escape(report.headline)}</div>'
        f'{table}{told}<div class="small">{words}{notes}</div></div>'
    )


def _word(line: str) -> str:
    """A line of the glossary, with the word in bold."""
    word, _, meaning = line.partition(": ")
    return f"<strong>{escape(word)}</strong>: {escape(meaning)}"


def _row(finding: Finding, cells: list[str]) -> str:
    style = CLASSES.get(finding.verdict, "odd")
    marks = ["", "", f' class="{style}"', *[""] * len(cells)]
    return f"<tr>{''.join(f'<td{mark}>{escape(c)}</td>' for mark, c in zip(marks, cells, strict=False))}</tr>"
