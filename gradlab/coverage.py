"""Which parameters have a gradient: nothing that is missing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from gradlab.records import Record, Text


class Coverage:
    """Follows which parameters have a gradient, and says so whenever that changes."""

    def __init__(self) -> None:
        self._missing: dict[str, tuple[str, ...]] = {}
        self.lines: dict[str, str] = {}  # the latest of each optimizer

    @property
    def missing(self) -> set[str]:
        """The parameters that had no gradient when last looked at."""
        return {name for names in self._missing.values() for name in names}

    def see(self, step: int, label: str, gradients: Mapping[str, Tensor | None], root: nn.Module) -> list[Record]:
        """The records of one step: a line of text, or nothing.

        Args:
            step: its number.
            label: the optimizer, such as ``optimizer1/``.
            gradients: of the parameters that it updates.
            root: the module that is watched.
        """
        missing = tuple([name for name, g in gradients.items() if g is None])
        if self._missing.get(label) == missing:
            return []
        self._missing[label] = missing
        frozen = [name for name, p in root.named_parameters() if not p.requires_grad]
        line = self.lines[label] = coverage(len(gradients), missing, frozen)
        return [Text(f"coverage/{label}parameters", step, line)]


def coverage(count: int, missing: Iterable[str], frozen: Iterable[str] = ()) -> str:
    """How many trained parameters have a gradient, and the names of those that have none, and of those not trained.

    Example:
        >>> coverage(3, ["head.bias"], frozen=["0.weight"])
        '2 of 3 parameters have a gradient; None: head.bias; frozen: 0.weight'
    """
    missing, frozen = list(missing), list(frozen)
    parts = [f"{count - len(missing)} of {count} parameters have a gradient"]
    parts += [f"None: {', '.join(missing)}"] if missing else []
    parts += [f"frozen: {', '.join(frozen)}"] if frozen else []
    return "; ".join(parts)
