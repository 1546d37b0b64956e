"""Reports as plain text and as JSON."""

from __future__ import annotations

import io
import json
import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gradlab.report import show


def number(value: float | None) -> str:
    """Three significant digits; nothing for None.

    Example:
        >>> number(0.0), number(1234.5), number(None)
        ('0', '1.23e+03', '')
    """
    return "" if value is None else f"{value:.3g}" if value else "0"


def as_text(*things: str | Table) -> str:
    """Lines and tables as plain text, in full."""
    console = Console(file=io.StringIO(), force_terminal=False, color_system=None, emoji=False)
    for thing in things:
        show(console, escape(thing) if isinstance(thing, str) else thing)
    return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]


def as_json(content: dict[str, Any]) -> str:
    """JSON, in which numbers that are not finite become text.

    Example:
        >>> print(as_json({"a": float("nan")}))
        {
          "a": "nan"
        }
    """
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
