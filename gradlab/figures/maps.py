"""Maps: a coloured cell for each pair of two settings."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, Normalize

from gradlab.figures import style


def draw(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    cmap: str | Colormap,
    norm: Normalize,
    log: tuple[bool, bool] = (False, False),
) -> QuadMesh:
    """Draws a cell around each pair, and lets the axes end where the cells do.

    Args:
        axes: where to draw.
        x, y: the middles of the cells, [m] and [n], ascending.
        values: [m, n]: ``values[i, j]`` is at (xᵢ, yⱼ); NaN is left white.
        cmap, norm: of the colours.
        log: whether x and y are logarithmic; the middles are then geometric ones.

    Returns:
        What a colour bar needs.

    Example:
        >>> _, (axes,) = style.canvas(4, 3)
        >>> x, y, values = np.array([1.0, 10.0]), np.arange(3.0), np.ones((2, 3))
        >>> cells = draw(axes, x, y, values, "viridis", Normalize(), log=(True, False))
        >>> axes.get_xscale(), [float(end) for end in axes.get_ylim()]
        ('log', [-0.5, 2.5])
    """
    edges = [_edges(values, own) for values, own in zip((x, y), log, strict=True)]
    mesh = axes.pcolormesh(*edges, values.T, cmap=cmap, norm=norm, rasterized=True)
    axes.set_xscale("log" if log[0] else "linear")
    axes.set_yscale("log" if log[1] else "linear")
    axes.set_xlim(edges[0][0], edges[0][-1])
    axes.set_ylim(edges[1][0], edges[1][-1])
    axes.grid(False)
    return mesh


def _edges(middles: np.ndarray, log: bool) -> np.ndarray:
    return np.asarray(np.exp(style.column_edges(np.log(middles)))) if log else style.column_edges(middles)
