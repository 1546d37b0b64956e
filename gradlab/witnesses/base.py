"""What every witness of single entries has in common."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor


class CannotSay(Exception):
    """A witness cannot give this derivative; the message says why."""


class Witness(Protocol):
    """An independent way to the derivative of L by single entries of a variable.

    Attributes:
        name: as in reports, such as ``forward``.
    """

    name: ClassVar[str]

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        """∂L by some entries.

        Args:
            variable: the variable's name in the problem.
            places: of the entries in the flat variable, int64, shape [k].

        Returns:
            float64 of shape [k]; complex128, ∂L/∂Re + i·∂L/∂Im, for a complex variable.

        Raises:
            CannotSay: with the reason.
        """
        ...
