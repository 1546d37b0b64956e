"""What a run can measure: the closed set of record types that probes return and sinks take.

A record is plain data (numbers, strings, NumPy arrays), so that a sink needs to know neither torch
nor Lightning, and a figure can be drawn from records alone. No logic lives here.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number at one step, such as ``gradient/0.weight/l2``."""

    tag: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class ScalarBlock:
    """Many scalars at many steps: row i holds one number for each tag at ``steps[i]``.

    ``steps`` [n] int64, ``values`` [n, number of tags] float64. The same scalars one by one would take ten times the
    time and the bytes.
    """

    tags: tuple[str, ...]
    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many entries fall between neighbouring edges: ``edges`` has one number more than ``counts``."""

    tag: str
    step: int
    edges: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, slots=True)
class HistogramBlock:
    """Many histograms at many steps, each with bars of equal width between its own lowest and highest edge.

    ``steps`` [n] int64; ``low`` and ``high`` [n, number of tags]; ``counts`` [n, number of tags, bars]. A histogram of
    nothing (no entry was finite) has edges NaN.
    """

    tags: tuple[str, ...]
    steps: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, slots=True)
class Array:
    """A small tensor kept as it is, such as the point on a surface at one step."""

    tag: str
    step: int
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Text:
    """A passage in Markdown."""

    tag: str
    step: int
    markdown: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture as the bytes of a PNG file."""

    tag: str
    step: int
    png: bytes


@dataclass(frozen=True, slots=True)
class Hparams:
    """The settings of a run and the metrics it ended with, written once at the end."""

    settings: dict[str, bool | float | str]
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Term:
    """One line of a chain rule: upstream × local derivative = downstream.

    The three numbers are L2 norms over all entries; ``gain`` is downstream ÷ upstream. ``values`` holds the
    entries themselves where the tensors are small enough to be read (keys: ``upstream`` and one per input; what
    another operation made is called after it and its ``place``, such as ``mul #3``).
    """

    module: str
    operation: str
    formula: str
    local: str
    shape: tuple[int, ...]
    upstream: float
    downstream: float
    gain: float
    values: dict[str, list[float]] = field(default_factory=dict)
    place: int = 0


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The chain rule of one step written out, from the loss back to the parameters."""

    tag: str
    step: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """How the operations of a backward pass hang together: what stays the same from step to step.

    Its numbers come as an `Array` under ``<tag>/values``, a vector for each step. ``structure`` is JSON: wherever a
    number belongs that changes with the step, it has the number's place in that vector.
    """

    tag: str
    step: int
    structure: str


Record: TypeAlias = (
    Scalar | ScalarBlock | Histogram | HistogramBlock | Array | Text | Figure | Hparams | Breakdown | Graph
)
