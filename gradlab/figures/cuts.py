"""A surface with its cuts along the axes through a point, and each cut as a curve with its tangent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.landscape import Landscape
    from gradlab.studies.partials import Cut

COLORS = (style.BLUE, style.VERMILLION)
CAPTION = (
    "height and colour are f(x, y), bright is high; the piece\n"
    "in front is taken away: two cuts through the point lie open"
)
REACH = 0.6  # of a tangent in the picture of the surface, as a share of the cut's half
STRIDE = 5  # points of the grid to an edge of a facet


def figure(land: Landscape, cuts: Sequence[Cut]) -> Figure:
    """The surface on the left, beside it the cut along x and the cut along y, on one scale.

    Args:
        land: the surface around the point.
        cuts: along x, and along y.
    """
    picture, (solid, *flat) = style.canvas(17.5, 7, columns=3)
    place = solid.get_subplotspec()
    assert place is not None
    place.get_gridspec().set_width_ratios((1.35, 1, 1))
    solid.remove()
    _draw_surface(picture.add_subplot(place, projection="3d"), land, cuts)
    together = np.concatenate([cut.heights for cut in cuts])
    margin = 0.08 * float(np.ptp(together)) or 1.0
    for axes, cut, color in zip(flat, cuts, COLORS, strict=True):
        _draw_cut(axes, cut, color)
        axes.set_ylim(together.min() - margin, together.max() + margin)
    return picture


def _draw_surface(axes: Any, land: Landscape, cuts: Sequence[Cut]) -> None:
    axes.computed_zorder = False  # the cuts lie on the surface: they are drawn over it
    x, y = np.meshgrid(land.x, land.y)
    seen = np.where((x > land.at[0]) & (y < land.at[1]), np.nan, land.z)
    axes.plot_surface(x, y, seen, cmap=style.SEQUENCE, linewidth=0, antialiased=False, rstride=STRIDE, cstride=STRIDE)
    floor = land.z.min() - 0.1 * np.ptp(land.z)
    for axis, (cut, color) in enumerate(zip(cuts, COLORS, strict=True)):
        _draw_face(axes, axis, cut, color, floor)
        near = np.abs(cut.along - cut.at) <= REACH * np.ptp(cut.along) / 2
        tangent = cut.value + cut.slope * (cut.along - cut.at)
        axes.plot(*_placed(axis, cut, cut.along), cut.heights, color=color, linewidth=3.5, zorder=4)
        line = (*_placed(axis, cut, cut.along[near]), tangent[near])
        axes.plot(*line, color="white", linewidth=5, zorder=5)
        axes.plot(*line, "--", color=color, linewidth=2.5, zorder=5)
    axes.plot(*([number] for number in land.at), [cuts[0].value], "o", color=style.INK, markersize=9, zorder=6)
    axes.view_init(elev=30, azim=-50)
    axes.set_box_aspect((1, 1, 0.8), zoom=1.14)
    axes.set_zlim(floor, land.z.max())
    axes.set_title(f"{land.name}, cut along x and along y", loc="left", pad=32 + 17)
    axes.text2D(0, 1.02, CAPTION, transform=axes.transAxes, va="bottom", fontsize=12, color="#555555")
    axes.set(xlabel="x", ylabel="y")


def _draw_face(axes: Any, axis: int, cut: Cut, color: str, floor: float) -> None:
    """The open side under a cut: under larger x, and under smaller y."""
    open_part = cut.along >= cut.at if axis == 0 else cut.along <= cut.at
    x, y = _placed(axis, cut, cut.along[open_part])
    top = np.stack([x, y, cut.heights[open_part]], axis=1)
    bottom = np.stack([x, y, np.full_like(x, floor)], axis=1)[::-1]
    axes.add_collection3d(Poly3DCollection([np.concatenate([top, bottom])], facecolor=color, alpha=0.3, zorder=3))


def _placed(axis: int, cut: Cut, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y along a cut."""
    held = np.full_like(along, cut.held_at)
    return (along, held) if axis == 0 else (held, along)


def _draw_cut(axes: Axes, cut: Cut, color: str) -> None:
    held = style.number(cut.held_at)
    axes.plot(cut.along, cut.heights, color=color, linewidth=3.5, label=f"f along {cut.moving}, {cut.held} = {held}")
    label = f"tangent: slope {style.number(cut.slope)}"
    axes.plot(cut.along, cut.value + cut.slope * (cut.along - cut.at), "--", color=color, linewidth=2.5, label=label)
    axes.plot(cut.at, cut.value, "o", color=style.INK, markersize=9, zorder=5)
    style.legend_below(axes)
    caption = (
        f"{cut.held} is held at {held}: what remains is\na curve in {cut.moving} alone; its slope is ∂f/∂{cut.moving}"
    )
    style.dress(axes, f"Along {cut.moving}", caption, cut.moving, f"f, with {cut.held} = {held}")
