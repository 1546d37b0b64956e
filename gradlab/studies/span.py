"""A setting that takes several values at once, an axis of a map whose cells are the members of a population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab import grids

SCALES = {"linear": grids.linear, "log": grids.log}


@dataclass(frozen=True, slots=True)
class Span:
    """Values from ``low`` to ``high``, both included.

    Args:
        low, high: the ends, low < high; above 0 where the scale is ``log``.
        count: how many values, at least 2.
        scale: ``linear``: at equal distances; ``log``: at equal ratios.

    Raises:
        ValueError: the ends, the count or the scale cannot be.

    Example:
        >>> span = Span(0.01, 1.0, 3)
        >>> span.values.round(9).tolist()
        [0.01, 0.1, 1.0]
        >>> span.override("optimizer.lr", shape=(3, 2), axis=0)
        'optimizer.lr={_target_:gradlab.grids.log,low:0.01,high:1.0,shape:[3,2],axis:0}'
    """

    low: float
    high: float
    count: int
    scale: str = "log"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"scale={self.scale}: a span is one of {', '.join(SCALES)}")
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ValueError(
                f"a span goes from low to a larger high (both above 0 at equal ratios), got {self.low} and {self.high}"
            )
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 2:
            raise ValueError(f"count={self.count}: a span has a whole number of values, 2 or more")

    @property
    def values(self) -> np.ndarray:
        """[count], ascending."""
        return SCALES[self.scale](self.low, self.high, [self.count]).numpy()

    def override(self, key: str, shape: Sequence[int], axis: int) -> str:
        """The setting ``key`` of a population that fills a grid of this shape, as on the command line."""
        sizes = ",".join(map(str, shape))
        return (
            f"{key}={{_target_:gradlab.grids.{self.scale},low:{float(self.low)!r},high:{float(self.high)!r},"
            f"shape:[{sizes}],axis:{axis}}}"
        )
