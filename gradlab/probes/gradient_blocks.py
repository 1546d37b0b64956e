"""From numbers to records: the tags of everything that is measured of gradients at every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradlab.probes.series import NUMBERS
from gradlab.probes.statistics import FIELDS
from gradlab.records import HistogramBlock, Record, ScalarBlock

L2, COSINE = FIELDS.index("l2"), len(FIELDS)
TOTAL = ("norm_before_clipping", "norm_after_clipping", "clip_coefficient", "cosine")


class Blocks:
    """Makes the records of one series.

    Args:
        names: the parameters.
        label: which optimizer's they are, such as ``optimizer1/``; empty where there is one only.
    """

    def __init__(self, names: Sequence[str], label: str = "") -> None:
        self._tags = [f"total/{label}{field}" for field in TOTAL]
        for name in names:
            self._tags += [f"gradient/{name}/{field}" for field in (*FIELDS, "cosine")]
            self._tags.append(f"update/{name}/ratio")
        self._histograms = tuple(f"gradient/{name}/histogram" for name in names)
        self._is_cosine = np.array([tag.endswith("/cosine") for tag in self._tags])
        self._is_ratio = np.array([tag.endswith("/ratio") for tag in self._tags])
        self._norms = np.full(len(names), np.nan)  # at the last step

    def of(
        self, steps: np.ndarray, numbers: np.ndarray, after: Sequence[float], follows: bool, is_updated: bool
    ) -> Iterator[Record]:
        """The records of n steps.

        Args:
            steps: [n].
            numbers: [n, parameters, …] from `Series.drain`.
            after: the norm after clipping at each step; NaN where nothing was clipped.
            follows: whether the first step comes right after the last one of the call before: else it has no cosine.
            is_updated: whether the last step's update was made: else it has no update ratio.
        """
        norms = np.concatenate([self._norms[None], numbers[:, :, L2]])
        self._norms = norms[-1]
        total = _total(norms, numbers[:, :, COSINE], np.asarray(after))
        values = np.concatenate([total, numbers[:, :, :NUMBERS].reshape(len(steps), -1)], axis=1)
        has_cosine = np.arange(len(steps)) >= (0 if follows else 1)
        has_ratio = np.arange(len(steps)) < (len(steps) if is_updated else len(steps) - 1)
        for kind in sorted({(bool(a), bool(b)) for a, b in zip(has_cosine, has_ratio, strict=True)}):
            rows = (has_cosine == kind[0]) & (has_ratio == kind[1])
            columns = np.flatnonzero((kind[0] | ~self._is_cosine) & (kind[1] | ~self._is_ratio))
            yield ScalarBlock(tuple(self._tags[c] for c in columns), steps[rows], values[rows][:, columns])
        edges, counts = numbers[:, :, NUMBERS : NUMBERS + 2], numbers[:, :, NUMBERS + 2 :]
        yield HistogramBlock(self._histograms, steps, edges[..., 0], edges[..., 1], counts)


def _total(norms: np.ndarray, cosines: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The columns of `TOTAL` [n, 4] from the parameters' norms [n + 1, p] (one step earlier first) and cosines [n, p].

    The gradient of all parameters is the concatenation of theirs: squares of norms and inner products add up.
    """
    products = norms[1:] * norms[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        inner = np.where(products == 0, 0.0, cosines * products).sum(axis=1)
        whole = np.linalg.norm(norms, axis=1)
        before = whole[1:]
        after = np.where(np.isnan(after), before, after)
        coefficient = np.where(before == after, 1.0, after / before)
        return np.stack([before, after, coefficient, inner / before / whole[:-1]], axis=1)
