"""A report as a piece of HTML, for notebooks: light or dark, whatever the page is."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gradlab.checking.findings import Finding

if TYPE_CHECKING:
    from gradlab.checking.report import Report

STYLE = """
<style>
.gradlab-check table {border-collapse: collapse; margin: .5em 0; font-size: 90%}
.gradlab-check th, .gradlab-check td {text-align: left; padding: .2em .8em; border-bottom: 1px solid #8886}
.gradlab-check th, .gradlab-check td {color: inherit}
.gradlab-check pre {margin: .3em 0; white-space: pre; overflow-x: auto; background: none; color: inherit}
.gradlab-check .bad {color: #D55E00; font-weight: bold}
.gradlab-check .good {color: #009E73}
.gradlab-check .odd {color: #0072B2}
</style>
"""
CLASSES = {"wrong": "bad", "nondeterministic": "bad", "agree": "good"}


def page(report: Report) -> str:
    """The headline, one row a finding, the failures in full, and the notes.

    Example:
        >>> from gradlab.checking.report import Report
        >>> "nothing to check" in page(Report("f", ()))
        True
    """
    from gradlab.checking.report import COLUMNS, explain

    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    rows = "".join(_row(finding, cells) for finding, cells in report.rows())
    failures = "".join(f"<pre>{escape(chr(10).join(explain(f)))}</pre>" for f in report.explained)
    notes = "".join(f"<div>{escape(note)}</div>" for note in report.notes)
    verdict = "good" if report.ok else "bad"
    return (
        f'{STYLE}<div class="gradlab-check"><div class="{verdict}">{escape(report.headline)}</div>'
        f"<table><tr>{head}</tr>{rows}</table>{failures}{notes}</div>"
    )


def _row(finding: Finding, cells: list[str]) -> str:
    style = CLASSES.get(finding.verdict, "odd")
    marks = ["", "", f' class="{style}"', *[""] * len(cells)]
    return f"<tr>{''.join(f'<td{mark}>{escape(c)}</td>' for mark, c in zip(marks, cells, strict=False))}</tr>"
