"""Overrides in Hydra's grammar: ``key=value``."""

from __future__ import annotations


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
