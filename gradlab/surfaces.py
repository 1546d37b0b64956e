"""The landscape under a descent, as records: what the contour picture is drawn from."""

from __future__ import annotations

import numpy as np
import torch

from gradlab.losses import Surface
from gradlab.records import Array
from gradlab.sinks import MemorySink

RESOLUTION = 241  # points along each axis


def surface_records(surface: Surface, memory: MemorySink) -> list[Array]:
    """A surface's values on a grid that holds its usual window and the path, and its known minimizers.

    Args:
        surface: of dimension 2; for any other there is no picture, and the result is empty.
        memory: holds the path as ``path/point``, or those of a population as ``path/points``.

    Returns:
        Arrays ``surface/x`` [m], ``surface/y`` [n], ``surface/z`` [n, m] and ``surface/minimizers`` [k, 2].
    """
    if surface.dimension != 2:
        return []
    paths = [memory.arrays(tag)[1].reshape(-1, 2) for tag in memory.tags("path/")]
    path = np.concatenate([np.empty((0, 2)), *paths])
    x, y = (_axis(window, path[:, i]) for i, window in enumerate(surface.bounds))
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), axis=-1))
    with torch.no_grad():
        z = surface(grid).numpy()
    records = [Array("surface/x", 0, x), Array("surface/y", 0, y), Array("surface/z", 0, z)]
    if surface.minimizers:
        records.append(Array("surface/minimizers", 0, np.array(surface.minimizers)))
    return records


def _axis(window: tuple[float, float], path: np.ndarray) -> np.ndarray:
    """The usual window, made wider for a path that leaves it, up to three times its width."""
    low, high = window
    width = high - low
    finite = path[np.isfinite(path)]
    if finite.size:
        low = max(min(low, float(finite.min()) - 0.05 * width), low - width)
        high = min(max(high, float(finite.max()) + 0.05 * width), high + width)
    return np.linspace(low, high, RESOLUTION)
