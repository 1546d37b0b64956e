"""What each witness says about one entry, and which of them stands alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gradlab.witnesses import CannotSay, Witness

Number = float | complex | None


def numbers_at(variable: str, place: int, *groups: Mapping[str, Witness]) -> dict[str, Number]:
    """The numbers of those witnesses that have one."""
    found: dict[str, Number] = {}
    for name, witness in ((n, w) for group in groups for n, w in group.items()):
        try:
            found[name] = witness.slopes(variable, torch.tensor([place]))[0].item()
        except CannotSay:
            continue
    return found


def who_stands_alone(numbers: Mapping[str, Number], errors: Mapping[str, float], margin: float) -> str:
    """The one witness that differs from all others, which agree among themselves; empty where there is none.

    Args:
        numbers: of each witness; None, "not reached", counts as 0.
        errors: the estimated error of a number, where it has one.
        margin: the difference that rounding explains.

    Example:
        >>> who_stands_alone({"autograd": 2.0, "manual": 1.0, "numeric": 1.0}, {}, 1e-8)
        'autograd'
        >>> who_stands_alone({"autograd": 2.0, "numeric": 1.0}, {}, 1e-8)
        ''
    """
    values = {name: 0.0 if number is None else number for name, number in numbers.items()}

    def agree(a: str, b: str) -> bool:
        return abs(values[a] - values[b]) <= margin + errors.get(a, 0.0) + errors.get(b, 0.0)

    for name in values:
        rest = [other for other in values if other != name]
        is_alone = len(rest) >= 2 and not any(agree(name, other) for other in rest)
        if is_alone and all(agree(a, b) for a in rest for b in rest):
            return name
    return ""
