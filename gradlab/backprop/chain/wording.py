"""An operation's formula and local derivative as a person would write them for the arguments at hand."""

from __future__ import annotations

import re

from gradlab.backprop.chain.graph import parameters_of, symbol_of, words_of
from gradlab.backprop.rules.table import Rule
from gradlab.backprop.sweep import Term
from gradlab.backprop.values import Entry

UNSEEN_WRITE = "y: a write that autograd did not see (no_grad, .data, detach)"
PASSES_BY = "the gradient passes by it, to the value before"

# The letters that formulas have for arguments with longer names.
LETTERS = {"alpha": "α", "beta": "β", "lambd": "λ", "eps": "ε", "value": "α"}
OPEN_END = 1 << 62  # the schema's "up to the end"


def worded(term: Term) -> tuple[str, str, dict[str, float]]:
    """Formula, local derivative, and the numbers in them that are arguments of the operation.

    Factors α and β that are 1 are left out: ``y = a + α·b`` reads ``y = a + b``.
    """
    if term.rule is None:
        return UNSEEN_WRITE, PASSES_BY, {}
    formula, local, settings = term.rule.formula, term.rule.local, _settings(term.entry, term.rule)
    for letter in ("α", "β"):
        if settings.get(letter) == 1 and _is_factor(letter, formula) and _is_factor(letter, local):
            del settings[letter]
            formula, local = _without(letter, formula), _without(letter, local)
    return formula, local, settings


def _settings(entry: Entry, rule: Rule) -> dict[str, float]:
    words = words_of(rule.formula) | words_of(rule.local)
    found: dict[str, float] = {}
    schema = entry.op._schema.arguments
    for position, parameter in enumerate(parameters_of(rule)[: len(schema)]):
        number = entry.argument(position, schema[position].name)
        if number is None:
            number = parameter.default
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number >= OPEN_END:
            continue
        name = symbol_of(rule, position, schema[position].name)
        name = name if name in words else LETTERS.get(name, name)
        if name in words:
            found[name] = number
    return found


def _is_factor(letter: str, text: str) -> bool:
    """Whether every occurrence is a factor, or stands alone as a local derivative."""
    return len(re.findall(letter, text)) == len(re.findall(f"{letter}·|{letter}(?=,|;|$)", text))


def _without(letter: str, text: str) -> str:
    """The text where the letter is 1.

    Example:
        >>> _without("α", "∂y/∂a = 1, ∂y/∂b = −α"), _without("α", "y = a + α·b")
        ('∂y/∂a = 1, ∂y/∂b = −1', 'y = a + b')
    """
    return text.replace(f"{letter}·", "").replace(letter, "1")
