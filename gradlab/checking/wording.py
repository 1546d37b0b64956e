"""Findings in sentences, for people who have never seen a report."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradlab.checking.findings import Finding
from gradlab.checking.grouping import Group

FEWEST, MOST = 10, 17  # digits; 17 tell any two numbers of double precision apart
ALONE = "   <- stands alone"
SEES_MORE = "   <- sees a dependence that autograd does not"
UPSTREAM = (
    "the gradient that arrives at an output from above: double backward differentiates by it too, and this is its part"
)


# --- a finding, and a group of them ---------------------------------------------------------------------------


def explain(group: Group) -> list[str]:
    """The first finding of a group in full, one thing a line; the others with their numbers; and what they share.

    Example:
        >>> finding = Finding("x", "input", (3,), "float64", "wrong", numbers={"autograd": 1.0, "numeric": 2.0})
        >>> print(*explain(Group(finding)), sep=chr(10))
        input x: wrong
          autograd  1
          numeric   2
          relative error 0, allowed 0.0e+00
    """
    first = group.first
    lines = [f"{_label(first)}: {titled(first)}", *_numbers(first)]
    lines += _others(group)
    return lines + [f"  {label}: {text}" for label, text in _reasons(first)]


def _label(finding: Finding) -> str:
    return finding.label if finding.is_plain else finding.label_of_place


def titled(finding: Finding) -> str:
    """The verdict, with the condition under which it holds."""
    return finding.verdict + (f", {finding.condition}" if finding.condition else "")


def _numbers(finding: Finding) -> list[str]:
    if finding.is_plain or not finding.numbers:
        return []
    width, digits = max(map(len, finding.numbers)), _digits(finding)
    lines = []
    for name, number in finding.numbers.items():
        error = finding.errors.get(name)
        uncertain = f" ± {error:.1e}" if error is not None and math.isfinite(error) else ""
        lines.append(f"  {name:{width}}  {_value(finding, name, number, digits)}{uncertain}{_mark(finding, name)}")
    return [*lines, f"  {_size(finding)}"]


def _mark(finding: Finding, name: str) -> str:
    """Numeric that stands alone is not the one to doubt: it looks at values, the others at the recorded operations."""
    if name == "numeric" and finding.verdict == "wrong":
        return SEES_MORE if name == finding.alone or finding.is_missing_a_dependence else ""
    return ALONE if name == finding.alone else ""


def _value(finding: Finding, name: str, number: float | complex | None, digits: int) -> str:
    if number is not None:
        return f"{number:.{digits}g}"
    returned = name == "autograd" and finding.is_of_a_backward_that_returned_none
    return "None (not reached)" + (": backward returned None" if returned else "")


def _digits(finding: Finding) -> int:
    """As many as show that two numbers differ, where that is the point."""
    known = [number for number in finding.numbers.values() if number is not None]
    if finding.verdict != "nondeterministic":
        return FEWEST
    differing = (d for d in range(FEWEST, MOST) if len({f"{number:.{d}g}" for number in known}) == len(set(known)))
    return min(next(differing, MOST) + 1, MOST)


def _size(finding: Finding) -> str:
    """How large the difference is; beside a limit, where there is one."""
    first, *rest = (0.0 if number is None else number for number in finding.numbers.values())
    if finding.verdict == "nondeterministic" and not finding.tolerance and rest:
        return f"they differ by {abs(first - rest[0]):.1e}"
    return f"relative error {short(finding.error)}, allowed {finding.tolerance:.1e}{_off(finding)}"


def _off(finding: Finding) -> str:
    return f"; {finding.off:,} of {finding.entries:,} entries are off" if finding.off else ""


def short(value: float) -> str:
    """Two significant digits."""
    return f"{value:.2g}" if value else "0"


def _reasons(finding: Finding) -> list[tuple[str, str]]:
    note = finding.note or (UPSTREAM if finding.kind == "output" else "")
    reasons = (("to blame", finding.blame), ("hint", finding.hint), ("note", note))
    return [(label, text) for label, text in reasons if text]


def _others(group: Group) -> list[str]:
    if not group.others:
        return []
    is_a_cause = bool(group.first.blame or group.first.hint)
    what = "possibly the same cause" if is_a_cause else f"also {titled(group.first)}"
    many = "1 more" if len(group.others) == 1 else f"{len(group.others)} more"
    width = max(len(_label(f)) for f in group.others)
    lines = [f"    {_label(f):{width}}  {_briefly(f, group.first)}".rstrip() for f in group.others]
    return [f"  {what}, {many}:", *lines]


def _briefly(finding: Finding, first: Finding) -> str:
    """In one line: autograd's number beside another, and what is not as it is of the first."""
    parts = [titled(finding)] if finding.condition != first.condition else []
    if finding.numbers and not finding.is_plain:
        own, *others = finding.numbers
        pair = (own, "numeric" if "numeric" in others else others[0]) if others else (own,)
        digits = _digits(finding)
        parts.append(", ".join(f"{name} {_value(finding, name, finding.numbers[name], digits)}" for name in pair))
        parts.append(f"relative error {short(finding.error)}{_off(finding)}")
    parts += [f"hint: {finding.hint}"] if finding.hint and finding.hint != first.hint else []
    parts += [finding.note] if finding.note and finding.note != first.note else []
    return "; ".join(parts)


# --- how far a check went -------------------------------------------------------------------------------------


def left_out(findings: Iterable[Finding], notes: Iterable[str]) -> list[str]:
    """What was not looked at, as parts of a sentence; empty where everything that was asked for was.

    Args:
        findings: those of the report.
        notes: its notes, of which some say that a whole part of the check was left out.
    """
    own = [f for f in findings if f.compared or not f.condition]
    total = sum(f.entries for f in own)
    asked = dict.fromkeys(name for f in own for name in f.compared if name != "directions")
    counts = {name: sum(f.compared.get(name, 0) for f in own) for name in asked}
    parts = [f"{name} compared {count:,} of {total:,} entries" for name, count in counts.items() if count < total]
    compared = [f for f in own if any(f.compared.get(name) for name in asked) or f.verdict == "not differentiable"]
    alone = total - sum(f.entries for f in compared)
    if alone:
        parts.append(f"no witness compared {alone:,} of {total:,} entries")
    return parts + [note.partition(" (")[0] for note in notes if note.startswith("not looked at: ")]
