"""By what factor a step changes the distance from the bottom, over learning rate and curvature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from gradlab.figures import maps, style

if TYPE_CHECKING:
    from gradlab.studies.stability import Map

COLORS = "RdBu_r"  # blue shrinks, red grows, white is in between
TICKS = (0.1, 0.5, 0.9, 0.99, 1, 1.01, 1.1, 2, 10)
LARGEST, EVEN = 10.0, 0.01  # the colours end there; they are even for changes below 1 in 100
CAPTION = "blue: the distance from the bottom shrinks at every step; red: it grows"


def figure(found: Sequence[Map]) -> Figure:
    """A panel for each method, all with the same colours."""
    picture, panels = style.canvas(8.5 * len(found) + 1.5, 8.3, columns=len(found))
    meshes = [_draw(axes, own, found[0]) for axes, own in zip(panels, found, strict=True)]
    bar = picture.colorbar(meshes[0], ax=panels, pad=0.02)
    bar.set_ticks([float(np.log(tick)) for tick in TICKS], labels=[style.number(tick) for tick in TICKS])
    bar.set_label("factor per step")
    return picture


def _draw(axes: Axes, own: Map, plain: Map) -> QuadMesh:
    end = np.log(LARGEST)
    with np.errstate(divide="ignore"):  # the logarithm of a factor of 0 has the last colour
        values = np.clip(np.log(own.factors), -end, end)
    norm = SymLogNorm(EVEN, vmin=-end, vmax=end)
    mesh = maps.draw(axes, own.rates, own.curvatures, values, COLORS, norm, log=(True, True))
    _line(axes, own, own.edge, "-", f"theory's edge: lr · λ = {style.number(own.edge)}")
    if own is plain:
        _line(axes, own, 1.0, ":", "lr · λ = 1: there in one step")
    else:
        _line(axes, own, plain.edge, "--", f"without momentum: lr · λ = {style.number(plain.edge)}")
    style.legend_below(axes)
    title = own.method.capitalize() + (f", momentum {style.number(own.momentum)}" if own.momentum else "")
    style.dress(axes, title, CAPTION, "learning rate lr (logarithmic)", "curvature λ (logarithmic)")
    return mesh


def _line(axes: Axes, own: Map, product: float, dash: str, label: str) -> None:
    axes.plot(own.rates, product / own.rates, dash, color="black", linewidth=2, label=label)
