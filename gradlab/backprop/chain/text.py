"""A breakdown as plain text for a terminal: aligned, never cut, never wrapped."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gradlab.backprop.chain.graph import words_of
from gradlab.backprop.chain.numbers import Numbers

if TYPE_CHECKING:
    from gradlab.backprop.breakdown import (
        Breakdown,
        BreakdownTerm,
        Content,
        Contribution,
        GradientContent,
        PathSum,
        TermInput,
    )

TITLE = "The chain rule, from the loss down: upstream × local derivative = downstream"
NORMS = "‖·‖ is the length (L2 norm) of a tensor; the factor is then the gain, ‖downstream‖ ÷ ‖upstream‖."
UNDONE = "What was reshaped, transposed or broadcast on the way up is undone on the way down; repeats are summed."
UPSTREAM = "In a local derivative, G or g is the upstream gradient."
SUMS = "Gradients: a value used several times gets the sum over its uses (the path sum)"
HEADINGS = ("#", "operation", "module", "output", "upstream", "×", "local", "=", "downstream", "goes to", "as", "line")
LAST = "formula; local derivative"
INLINE = 4  # so many entries are shown in a line
Row = Sequence[str]


def table(breakdown: Breakdown, numbers: bool = False) -> str:
    """The terms, one line for each use of a value; the path sums; the entries of small tensors if wanted."""
    if not breakdown.terms:
        return "No operation passed a gradient."
    rows = [row for term in breakdown.terms for row in _rows(term)]
    sums = _sums(breakdown.path_sums.values())
    text = "\n".join("".join(row) for row in [*rows, *sums])
    words = words_of(" ".join(term.local for term in breakdown.terms))
    signs = {
        NORMS: "‖" in text,
        UNDONE: any(i.how for t in breakdown.terms for i in t.inputs),
        UPSTREAM: words & {"g", "G"},
    }
    notes = [note for note, is_met in signs.items() if is_met]
    parts = ["\n".join([TITLE, *notes]), _aligned([(*HEADINGS, LAST), *rows], right=(0, 4, 6, 8))]
    parts.append(SUMS + "\n" + _aligned(sums, right=(2,)))
    if numbers:
        parts += [block for term in breakdown.terms for block in _block(term)]
    return "\n\n".join(parts)


# --- the terms ----------------------------------------------------------------------------------------------


def _rows(term: BreakdownTerm) -> Iterator[Row]:
    head = (str(term.place), term.operation, term.module, ", ".join(_outputs(term)))
    formula = _formula(term)
    for each in term.inputs:
        yield (*head, *_product(term, each), _input(each), each.symbol, term.line if head[0] else "", formula)
        head, formula = ("",) * 4, ""


def _outputs(term: BreakdownTerm) -> Iterator[str]:
    for output in term.outputs:
        if output.upstream is not None:
            yield _named(output.name, output.content) if output.is_named else _value(output.content)


def _product(term: BreakdownTerm, each: TermInput) -> Row:
    """upstream × local = downstream: in numbers where all three fit into a line, else their norms and the gain."""
    if each.downstream is None or each.gain is None:
        return ("", "", "", "", "no gradient")
    upstream = [output.upstream for output in term.outputs if output.upstream is not None]
    shown = [_inline(g.numbers) for g in upstream] + [
        _inline_local(each, upstream[0]),
        _inline(each.downstream.numbers),
    ]
    if len(upstream) == 1 and all(shown):
        return (shown[0], "×", shown[1], "=", shown[2])
    return (_norm(term.upstream), "×", f"{each.gain:.4g}", "=", _norm(each.downstream.l2))


def _inline_local(each: TermInput, upstream: GradientContent) -> str:
    """A Jacobian has a row for each entry of the output, and a column for each of the input."""
    if each.local is None or not each.is_jacobian:
        return _inline(each.local)
    entries = _flat(each.local)
    columns = len(entries) // max(math.prod(upstream.shape), 1)
    rows: Any = [entries[i : i + columns] for i in range(0, len(entries), columns)]
    return _inline(rows[0] if len(rows) == 1 else rows)


def _input(each: TermInput) -> str:
    return _named(" ".join((each.name, *each.how)), each.content)


def _formula(term: BreakdownTerm) -> str:
    if not term.formula:
        return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in Counter(term.operations).items())
    settings = "".join(f", {name} = {_number(value)}" for name, value in term.settings.items())
    return f"{term.formula}{settings};  {term.local}"


# --- the path sums ------------------------------------------------------------------------------------------


def _sums(path_sums: Iterable[PathSum]) -> list[Row]:
    shown = [each for each in path_sums if each.made_by is None or len(each.contributions) > 1]
    return [
        (_named(each.name, each.content), "gets", _gradient(each.gradient), *_sum(each))
        for each in sorted(shown, key=lambda each: each.made_by is None)
    ]


def _sum(each: PathSum) -> Row:
    parts = [each.gradient, *(c.gradient for c in each.contributions)]
    is_sum = len(each.contributions) > 1 and all(_inline(part.numbers) for part in parts)
    if len(each.contributions) == 1:
        return ("from", _by(each.contributions[0]))
    return ("=" if is_sum else "from", (" + " if is_sum else ", ").join(map(_contribution, each.contributions)))


def _contribution(each: Contribution) -> str:
    return f"{_gradient(each.gradient)} {'from ' if _inline(each.gradient.numbers) else ''}{_by(each)}"


def _by(each: Contribution) -> str:
    return each.by if each.place is not None else "the start of the backward pass"


# --- the entries of small tensors ---------------------------------------------------------------------------


def _block(term: BreakdownTerm) -> Iterator[str]:
    """All tensors of a term that are small enough to be read, if some do not fit into a line."""
    rows = [(label, matrix) for label, matrix in _matrices(term) if matrix]
    if any(sum(map(len, matrix)) > INLINE for _, matrix in rows):
        yield "\n".join([f"{term.operation} #{term.place}" + (f" in {term.module}" * bool(term.module)), *_lines(rows)])


def _matrices(term: BreakdownTerm) -> Iterator[tuple[str, list[list[str]]]]:
    size = 1
    for output in term.outputs:
        if output.upstream is not None:
            size = math.prod(output.upstream.shape)
            yield output.name, _matrix(output.content.numbers)
            yield "  upstream", _matrix(output.upstream.numbers)
    for each in term.inputs:
        name = " ".join((each.name, *each.how))
        yield f"{each.symbol}: {name}" if each.symbol else name, _matrix(each.content.numbers)
        if each.is_jacobian:
            yield "  local (a row for each entry of the output)", _matrix(each.local, rows=size)
        else:
            yield "  local", _matrix(each.local)
        if each.downstream is not None:
            yield "  downstream", _matrix(each.downstream.numbers)


def _matrix(numbers: Numbers | None, rows: int = 0) -> list[list[str]]:
    """Entries as text in rows: the last dimension lies along the rows, unless their number is given."""
    if numbers is None:
        return []
    inner: Any = numbers
    while isinstance(inner, list) and inner and isinstance(inner[0], list):
        inner = inner[0]
    entries = [_number(entry) for entry in _flat(numbers)]
    width = len(entries) // rows if rows else len(inner) if isinstance(inner, list) else 1
    return [entries[i : i + width] for i in range(0, len(entries), max(width, 1))]


def _lines(rows: list[tuple[str, list[list[str]]]]) -> Iterator[str]:
    indent = max(_width(label) for label, _ in rows)
    for label, matrix in rows:
        width = max(len(entry) for line in matrix for entry in line)
        for i, line in enumerate(matrix):
            yield f"  {_padded(label if i == 0 else '', indent)}  {'  '.join(e.rjust(width) for e in line)}"


# --- cells --------------------------------------------------------------------------------------------------


def _named(name: str, content: Content) -> str:
    return f"{name} = {_inline(content.numbers)}" if _inline(content.numbers) else f"{name} {_value(content)}"


def _value(content: Content) -> str:
    return _inline(content.numbers) or (str(content.shape) if content.shape else "(one number)")


def _gradient(gradient: GradientContent) -> str:
    return _inline(gradient.numbers) or _norm(gradient.l2)


def _norm(length: float) -> str:
    return f"‖{length:.4g}‖"


def _inline(numbers: Numbers | None) -> str:
    """A few entries as they stand in a line; empty where there are too many. A single one needs no brackets."""
    entries = [] if numbers is None else _flat(numbers)
    if len(entries) == 1:
        return _number(entries[0])
    return _listed(numbers) if 0 < len(entries) <= INLINE else ""


def _listed(numbers: Any) -> str:
    return f"[{', '.join(map(_listed, numbers))}]" if isinstance(numbers, list) else _number(numbers)


def _number(number: Any) -> str:
    return str(number) if isinstance(number, bool) else f"{number + 0:.6g}"  # −0 is 0


def _flat(numbers: Any) -> list[Any]:
    return [entry for each in numbers for entry in _flat(each)] if isinstance(numbers, list) else [numbers]


def _aligned(rows: Sequence[Row], right: Sequence[int]) -> str:
    """Columns of equal width; columns without content are left out."""
    columns = list(zip(*rows, strict=True))
    filled = [(i, c) for i, c in enumerate(columns) if any(c[1:]) or c[0] and len(rows) == 1]
    widths = {i: max(map(_width, c)) for i, c in filled}
    lines = ["  ".join(_padded(row[i], widths[i], i in right) for i, _ in filled) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _padded(text: str, width: int, is_right: bool = False) -> str:
    gap = " " * (width - _width(text))
    return gap + text if is_right else text + gap


def _width(text: str) -> int:
    """How many places a text takes up in a terminal."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text if not unicodedata.combining(c))
