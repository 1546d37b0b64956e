"""Which steps of a block TensorBoard's own tabs get.

They draw at most a thousand points of a curve and read them slowly, one message for each. Early steps, in which most
happens, are all shown, later ones ever more rarely; a step that stands out is shown wherever it lies, so that no
spike is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FACTOR = 3.0
SPIKES = "/norm_before_clipping"  # single parameters, above all small ones, jump about in any healthy run


def scalar_steps(step: int) -> bool:
    """The first 64 steps, then 32 in each doubling.

    Example:
        >>> [sum(map(scalar_steps, range(steps))) for steps in (60, 1_500, 1_000_000)]
        [60, 207, 510]
    """
    return _is_round(step, 64)


def histogram_steps(step: int) -> bool:
    """The first 8 steps, then 4 in each doubling.

    Example:
        >>> [step for step in range(60) if histogram_steps(step)]
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56]
    """
    return _is_round(step, 8)


def _is_round(step: int, dense: int) -> bool:
    """Whether a step is a multiple of the power of two that leaves ``dense / 2`` to ``dense`` multiples below it."""
    return step % (1 << max(0, step.bit_length() - dense.bit_length() + 1)) == 0


def outliers(tags: Sequence[str], values: np.ndarray) -> np.ndarray:
    """The rows in which the gradient's norm is more than three times as large as before and after, or not finite.

    Args:
        tags: k of them; the norm is the one that ends like `SPIKES`.
        values: [n, k], one row for each step.

    Returns:
        [n] of bool.

    Example:
        >>> outliers(["total/norm_before_clipping"], np.array([[1.0], [1.1], [9.0], [1.0]])).tolist()
        [False, False, True, False]
    """
    norm = values[:, [place for place, tag in enumerate(tags) if tag.endswith(SPIKES)]]
    neighbours = np.fmax(np.roll(norm, 1, axis=0), np.roll(norm, -1, axis=0))
    with np.errstate(invalid="ignore"):
        spikes = (norm > FACTOR * neighbours) if len(norm) > 2 else np.zeros(norm.shape, bool)
    return (spikes | ~np.isfinite(norm)).any(axis=1)
