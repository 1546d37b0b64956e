"""The witness `numeric`: central differences of single entries."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gradlab.witnesses.moves import Moves
from gradlab.witnesses.numeric import central_differences, rounding_errors


class Numeric:
    """One central difference for each entry, see `gradlab.witnesses.numeric`."""

    name: ClassVar[str] = "numeric"

    def __init__(self, moves: Moves) -> None:
        self._moves = moves

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        return central_differences(self._moves, variable, places)

    def errors(self, variable: str, places: Tensor) -> Tensor:
        """The rounding error to expect of each slope, float64, shape [k]."""
        return rounding_errors(self._moves, variable, places)
