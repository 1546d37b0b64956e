"""A block of histograms as the single histograms that it stands for."""

from __future__ import annotations

import numpy as np

from gradlab.records import Histogram, HistogramBlock


def unfold(block: HistogramBlock) -> list[list[Histogram]]:
    """For each tag its histograms, one a step.

    Example:
        >>> block = HistogramBlock(("a",), np.array([3]), np.zeros((1, 1)), np.ones((1, 1)), np.array([[[5, 7]]]))
        >>> unfold(block)[0][0].edges.tolist()
        [0.0, 0.5, 1.0]
    """
    edges = edges_of(block)
    steps = block.steps.tolist()
    return [
        [Histogram(tag, step, edges[row, place], block.counts[row, place]) for row, step in enumerate(steps)]
        for place, tag in enumerate(block.tags)
    ]


def edges_of(block: HistogramBlock) -> np.ndarray:
    """The edges of the bars, [n, tags, bars + 1]: equally spaced from the lowest to the highest."""
    low, high = block.low.astype(np.float64), block.high.astype(np.float64)
    with np.errstate(invalid="ignore"):  # edges too large for float32 come back from a file infinite
        return np.linspace(low, high, block.counts.shape[-1] + 1, axis=-1)
