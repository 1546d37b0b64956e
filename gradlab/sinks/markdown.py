"""A breakdown as a Markdown table, for readers who meet the chain rule for the first time.

TensorBoard breaks the words of a table with many columns, so the numbers of a term stand in one column, as the
product that they are, and the entries of small tensors in a second table.
"""

from collections.abc import Iterable, Sequence

from gradlab.records import Breakdown, Term

_READING = (
    "**The chain rule at step {step}: upstream × local derivative = downstream.** "
    "Read downwards, from the loss back to the parameters. The *upstream* gradient is the derivative of the loss "
    "with respect to what the operation puts out; multiplied by the operation's *local derivative* it becomes the "
    "*downstream* gradient, the derivative of the loss with respect to what goes in. ‖·‖ is the length (L2 norm) "
    "over all entries, and gain = ‖downstream‖ ÷ ‖upstream‖: below 1 the gradient shrinks, above 1 it grows."
)


def breakdown_table(breakdown: Breakdown) -> str:
    """Write a breakdown as a Markdown table: one line for each term, with a sentence on how to read it.

    Args:
        breakdown: the terms, from the loss back to the parameters.

    Returns:
        Markdown; a second table with the entries of small tensors follows if some term carries values.

    Example:
        >>> term = Term("1", "tanh", "y = tanh(x)", "1 − y²", (2,), 1.0, 0.5, 0.5)
        >>> print(breakdown_table(Breakdown("chain/table", 7, (term,))).splitlines()[-1])
        | `tanh` in `1` | `y = tanh(x)` | `1 − y²` | 2 | 1 × 0.5 = **0.5** |
    """
    headings = ("operation", "formula", "local derivative", "shape", "‖upstream‖ × gain = ‖downstream‖")
    parts = [_READING.format(step=breakdown.step), _table(headings, map(_norms, breakdown.terms))]
    small = [term for term in breakdown.terms if term.values]
    if small:
        parts.append("The numbers themselves, where a tensor is small enough to be read:")
        parts.append(_table(("operation", "gradient", "entries"), (row for term in small for row in _entries(term))))
    return "\n\n".join(parts)


def _norms(term: Term) -> Sequence[str]:
    product = f"{_number(term.upstream)} × {_number(term.gain)} = **{_number(term.downstream)}**"
    shape = " × ".join(map(str, term.shape)) or "scalar"
    return _place(term), _code(term.formula), _code(term.local), shape, product


def _entries(term: Term) -> Iterable[Sequence[str]]:
    for name, values in term.values.items():
        yield _place(term), _code(name), _code("[" + ", ".join(map(_number, values)) + "]")


def _place(term: Term) -> str:
    name = f"{term.operation} #{term.place}" if term.place else term.operation
    return _code(name) + (f" in {_code(term.module)}" if term.module else "")


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _code(text: str) -> str:
    # Inside backticks * and _ stay what they are. A bare | would end the cell in some renderers, and \| is printed
    # with its backslash by others: the sign "divides" looks the same and does neither.
    return "`" + text.replace("`", "'").replace("|", "∣") + "`" if text else ""


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))
