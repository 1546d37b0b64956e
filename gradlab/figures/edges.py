"""The lines between the boxes of a graph, and where their labels stand so that nothing covers anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.path import Path

from gradlab.figures.layers import Place

PORTS = 0.3  # inches between two lines at one box
INCHES_A_LETTER, INCHES_A_LINE = 0.103, 0.25
BESIDE = 0.1  # inches between a line and a text above or below it
SHARES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82)

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Wire:
    """A line from one box to another, to the right.

    Attributes:
        path: of matplotlib.
        points: along it.
    """

    path: Path
    points: np.ndarray

    def reversed(self, shorter: float = 0.0) -> Path:
        """The same line from right to left, ending so many inches before the box on the left."""
        vertices = np.array(self.path.vertices)[::-1]
        vertices[-1, 0] += shorter
        return Path(vertices, self.path.codes)


@dataclass(frozen=True, slots=True)
class Label:
    """A text and its middle."""

    text: str
    x: float
    y: float


def wires(
    places: Mapping[str, Place],
    routes: Sequence[Sequence[Place]],
    edges: Sequence[tuple[str, str]],
    widths: Mapping[float, float],
) -> list[Wire]:
    """Smooth lines, level where they leave, arrive or pass a column; those that share a box touch it side by side.

    Args:
        places: the middle of each box.
        routes: the places that each edge passes.
        edges: source and target of each.
        widths: of the boxes in the column at each horizontal place.
    """
    leaving = _ports(edges, 0, [route[1][1] for route in routes])
    arriving = _ports(edges, 1, [route[-2][1] for route in routes])
    found = []
    for i, (source, target) in enumerate(edges):
        start = places[source][0] + widths[places[source][0]] / 2, places[source][1] + leaving[i]
        end = places[target][0] - widths[places[target][0]] / 2, places[target][1] + arriving[i]
        between = [(x + side * widths[x] / 2, y) for x, y in routes[i][1:-1] for side in (-1, 1)]
        found.append(_wire([start, *between, end]))
    return found


def _ports(edges: Sequence[tuple[str, str]], side: int, towards: Sequence[float]) -> list[float]:
    """How far above the box's middle each edge touches it: the one that comes from above above the others."""
    offsets = [0.0] * len(edges)
    for name in {edge[side] for edge in edges}:
        own = sorted((i for i, edge in enumerate(edges) if edge[side] == name), key=lambda i: -towards[i])
        for rank, i in enumerate(own):
            offsets[i] = PORTS * ((len(own) - 1) / 2 - rank)
    return offsets


def _wire(corners: Sequence[Place]) -> Wire:
    vertices: list[Place] = [corners[0]]
    for (x0, y0), (x1, y1) in pairwise(corners):
        middle = (x0 + x1) / 2
        vertices += [(middle, y0), (middle, y1), (x1, y1)]
    path = Path(vertices, [Path.MOVETO, *[Path.CURVE4] * (len(vertices) - 1)])
    return Wire(path, np.concatenate([_bezier(np.array(vertices[i : i + 4])) for i in range(0, len(vertices) - 1, 3)]))


def _bezier(corners: np.ndarray, count: int = 50) -> np.ndarray:
    t = np.linspace(0, 1, count)[:, None]
    a, b, c, d = corners
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


def label_places(curves: Sequence[Wire], texts: Sequence[str], boxes: Sequence[Box]) -> list[Label]:
    """A place on or beside each line for its text, where it covers no box, no other text and little of the lines.

    Args:
        curves: the lines.
        texts: one for each.
        boxes: middle, width and height of what may not be covered.
    """
    taken = list(boxes)
    placed = []
    for i, (curve, text) in enumerate(zip(curves, texts, strict=True)):
        others = np.concatenate([np.empty((0, 2)), *(c.points for j, c in enumerate(curves) if j != i)])
        candidates = list(_candidates(curve, label_size(text)))
        costs = [
            100 * sum(_overlap(_wider(box), other) for other in taken)
            + _covered(_wider(box), others)
            + 0.3 * _covered(box, curve.points)
            for box in candidates
        ]
        best = candidates[int(np.argmin(costs))]
        taken.append(best)
        placed.append(Label(text, best[0], best[1]))
    return placed


def label_size(text: str) -> tuple[float, float]:
    """About the width and the height of a text, in inches."""
    lines = text.split("\n")
    return INCHES_A_LETTER * max(map(len, lines)), INCHES_A_LINE * len(lines)


def _candidates(curve: Wire, size: tuple[float, float]) -> Iterator[Box]:
    """From the middle outwards: above the line, below it, and on it."""
    for share in SHARES:
        x, y = _along(curve, share)
        near = curve.points[np.abs(curve.points[:, 0] - x) < size[0] / 2][:, 1]
        yield x, float(near.max()) + size[1] / 2 + BESIDE, *size
        yield x, float(near.min()) - size[1] / 2 - BESIDE, *size
        yield x, y, *size


def _along(curve: Wire, share: float) -> Place:
    """The point after that share of the line's length."""
    steps = np.hypot(*np.diff(curve.points, axis=0).T)
    lengths = np.concatenate([[0.0], np.cumsum(steps)])
    x, y = curve.points[int(np.searchsorted(lengths, share * lengths[-1]))]
    return float(x), float(y)


def _wider(box: Box) -> Box:
    """The box with a margin: a text that stands near another line seems to belong to that."""
    return box[0], box[1], box[2] + 2 * BESIDE, box[3] + 2 * BESIDE


def _overlap(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    across = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    up = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    return max(across, 0.0) * max(up, 0.0)


def _covered(box: Box, points: np.ndarray) -> int:
    """How many points lie in a box."""
    inside = (np.abs(points[:, 0] - box[0]) < box[2] / 2) & (np.abs(points[:, 1] - box[1]) < box[3] / 2)
    return int(inside.sum())
