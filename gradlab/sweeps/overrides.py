"""Overrides in Hydra's grammar: ``key=value``."""

from __future__ import annotations

import math
import re

Value = float | int | str


def key_of(override: str) -> str:
    """The key that an override sets.

    Example:
        >>> [key_of(override) for override in ["+model.width=3", "~probes.partials", "seed=1"]]
        ['model.width', 'probes.partials', 'seed']
    """
    return override.lstrip("+~").partition("=")[0]


def quoted(text: str) -> str:
    r"""A value that means this very text.

    Example:
        >>> print(quoted("it's"))
        'it\'s'
    """
    escaped = text.replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"


def value_of(text: str) -> Value:
    """What an override sets its key to: a number, or else a text as it is written.

    Quotes are left out, but where a text would be taken for a number, a truth value or null without them.

    Example:
        >>> value_of("1e-3"), value_of("[64,32]"), value_of('"a b"'), value_of("'7'")
        (0.001, '[64,32]', 'a b', "'7'")
    """
    if found := re.fullmatch(r"([\"'])((?:(?!\1)[^\\]|\\.)*)\1", text, re.DOTALL):
        inner = re.sub(r"\\([\"'\\])", r"\1", found[2])
        return text if inner.lower() in ("null", "true", "false") or _number(inner) is not None else inner
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else number
