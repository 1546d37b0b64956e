"""Findings of one and the same cause, put together: the cause is told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradlab.checking.findings import FAILURES, Finding, Verdict

ORDER: tuple[Verdict, ...] = (
    "wrong",
    "nondeterministic",
    "precision",
    "kink",
    "not differentiable",
    "not reached",
    "agree",
)


@dataclass(frozen=True, slots=True)
class Group:
    """Findings that seem to have one cause.

    Attributes:
        first: is told in full.
        others: of which only the numbers are told.
    """

    first: Finding
    others: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        return self.first.ok


def rank(finding: Finding) -> int:
    """The worst verdict comes first."""
    return ORDER.index(finding.verdict)


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """The groups, the worst verdict first; within a verdict, in the order in which they were found.

    Example:
        >>> a, b, c = (Finding(n, "input", (3,), "float64", "wrong", blame=f"mul at {n in 'ab'}") for n in "abc")
        >>> [(group.first.name, [f.name for f in group.others]) for group in grouped([a, b, c])]
        [('a', ['b']), ('c', [])]
    """
    causes: dict[tuple[str, ...], list[Finding]] = {}
    for finding in sorted(findings, key=rank):
        causes.setdefault(_cause(finding), []).append(finding)
    return [Group(first, tuple(others)) for first, *others in causes.values()]


def _cause(finding: Finding) -> tuple[str, ...]:
    """What findings of one cause have in common.

    An operation that is blamed is the cause, whatever condition brings it to light. Else the hint is; or, where there
    is none, the note, which says why the verdict is what it is. A kink's note has the slopes of its own entry: there
    the verdict is all that there is to tell.
    """
    if finding.blame:
        return finding.verdict, finding.blame
    if finding.hint:
        return finding.verdict, finding.condition, finding.hint
    if finding.verdict not in FAILURES:
        return finding.verdict, finding.condition, "" if finding.verdict == "kink" else finding.note
    return finding.verdict, finding.condition, finding.note or finding.label
