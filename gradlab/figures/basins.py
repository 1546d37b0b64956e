"""A map of where descents end: each pixel a start, its colour the minimizer, its shade the steps that it took."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from gradlab.figures import contour, style
from gradlab.studies.basin_map import GONE, NOWHERE
from gradlab.studies.landscape import heights

if TYPE_CHECKING:
    from gradlab.studies.basin_map import Basins, Map

# Black and white have other meanings here.
COLORS = (*style.COLORS[:-1], *style.MORE_COLORS)
NOWHERE_COLOR, GONE_COLOR = "#FFFFFF", "#000000"
BANDS = 6
SHADES = np.linspace(0.6, -0.4, BANDS)  # above 0 the share of white that is mixed in, below 0 that of black
LEVELS = 12
FINEST = 241  # points of the contour lines, along each axis


def figure(found: Basins) -> Figure:
    """A panel for each descent."""
    columns = min(2, len(found.maps))
    rows = -(-len(found.maps) // columns)
    picture, panels = style.canvas(6.6 * columns + 0.8, 6.9 * rows + 0.9, rows=rows, columns=columns)
    colors = colors_of(np.stack([one.place for one in found.minimizers]))
    for axes, one in zip(panels, found.maps, strict=False):
        _draw(axes, found, one, colors)
    for axes in panels[len(found.maps) :]:
        axes.set_visible(False)
    _explain_shades(picture, panels)
    handles = _legend(found, colors)
    picture.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return picture


def colors_of(places: np.ndarray) -> np.ndarray:
    """A colour for each minimizer: one of its own for the first nine; then each the one whose last use is farthest.

    Args:
        places: [k, 2].

    Returns:
        [k, 3], from 0 to 1.

    Example:
        >>> colors_of(np.arange(4.0).reshape(2, 2)).round(2).tolist()
        [[0.0, 0.45, 0.7], [0.84, 0.37, 0.0]]
    """
    chosen: list[int] = []
    for place in places:
        away = np.full(len(COLORS), math.inf)
        for used, other in zip(chosen, places, strict=False):
            away[used] = min(away[used], float(np.linalg.norm(place - other)))
        chosen.append(int(np.argmax(away)))
    return np.array([to_rgb(COLORS[number]) for number in chosen])


def pixels(one: Map, colors: np.ndarray) -> np.ndarray:
    """The colours of a map, [r, r, 3]: white at no minimizer, black where it diverged.

    The shade has `BANDS` steps: as many starts are in each, from the fastest of this map to the slowest.
    """
    base, shade = colors[np.maximum(one.reached, 0)], SHADES[bands(one.steps)][..., None]
    shaded = base + shade * np.where(shade > 0, 1 - base, base)
    shaded[one.reached == NOWHERE] = to_rgb(NOWHERE_COLOR)
    shaded[one.reached == GONE] = to_rgb(GONE_COLOR)
    return shaded


def bands(steps: np.ndarray) -> np.ndarray:
    """In which of `BANDS` groups of about the same size each number is; NaN is in the last.

    Example:
        >>> bands(np.arange(12.0)).tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    """
    known = steps[np.isfinite(steps)]
    inner = np.quantile(known, np.arange(1, BANDS) / BANDS) if len(known) else np.zeros(BANDS - 1)
    return np.searchsorted(inner, steps)


def _draw(axes: Axes, found: Basins, one: Map, colors: np.ndarray) -> None:
    (left, right), (below, above) = found.window
    half = (right - left) / (len(one.reached) - 1) / 2, (above - below) / (len(one.reached) - 1) / 2
    extent = (left - half[0], right + half[0], below - half[1], above + half[1])
    axes.imshow(pixels(one, colors), origin="lower", extent=extent, interpolation="nearest")
    _draw_lines(axes, found)
    outline = [withStroke(linewidth=3, foreground="white")]
    few = _has_names(found)
    for goal in found.minimizers:
        if not (left <= goal.place[0] <= right and below <= goal.place[1] <= above):
            continue
        marker, size = ("*", 17) if few else (".", 7)
        axes.plot(*goal.place, marker, color="white", markeredgecolor="black", markersize=size)
        if few:
            looks: dict[str, Any] = {"fontsize": 14, "fontweight": "bold", "path_effects": outline}
            axes.annotate(goal.name, tuple(goal.place), (8, 6), textcoords="offset points", **looks)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.grid(False)
    axes.set_aspect("equal" if 0.5 <= (right - left) / (above - below) <= 2 else "auto")
    style.dress(axes, one.name, _caption(found, one), *contour.AXES)


def _draw_lines(axes: Axes, found: Basins) -> None:
    """Faint contour lines, evenly spaced in the logarithm of the height above the lowest point in sight."""
    x, y = (np.linspace(low, high, FINEST) for low, high in found.window)
    z = heights(found.surface, np.stack(np.meshgrid(x, y), axis=-1))
    above = z - z.min()
    levels = np.geomspace(1e-3, 1, LEVELS + 1)[:-1] * above.max()
    axes.contour(x, y, above, levels, colors="white", linewidths=0.7, alpha=0.35)


def _caption(found: Basins, one: Map) -> str:
    """Where the starts end, and how soon."""
    ends = [f"{name} {one.share(n):.1%}" for n, name in ((NOWHERE, "none"), (GONE, "diverged")) if one.share(n) > 0]
    time = f"half of those that arrive do so within {one.median:.0f} steps"
    return ", ".join([*_reached(found, one), *ends]) + f"\n{'none arrives' if math.isnan(one.median) else time}"


def _reached(found: Basins, one: Map) -> list[str]:
    if _has_names(found):
        return [f"{goal.name} {one.share(number):.0%}" for number, goal in enumerate(found.minimizers)]
    count = sum(one.share(number) > 0 for number in range(len(found.minimizers)))
    return [f"to {count} of {len(found.minimizers)} minimizers"]


def _has_names(found: Basins) -> bool:
    """Whether each minimizer has a colour of its own, and room for its name."""
    return len(found.minimizers) <= len(COLORS)


def _explain_shades(picture: Figure, panels: list[Axes]) -> None:
    greys = ListedColormap([str(round(0.5 + shade / 2, 3)) for shade in SHADES])
    shown = ScalarMappable(Normalize(0, BANDS), greys)
    bar = picture.colorbar(shown, ax=panels, shrink=0.4, aspect=25, pad=0.02)
    bar.set_ticks([0.5, BANDS - 0.5], labels=["fastest\nsixth", "slowest\nsixth"])
    bar.ax.set_title("shade: steps\nuntil there", loc="left", fontsize=12, fontweight="normal")
    bar.minorticks_off()


def _legend(found: Basins, colors: np.ndarray) -> list[Patch]:
    handles = [Patch(color=color, label=str(goal)) for goal, color in zip(found.minimizers, colors, strict=True)]
    if not _has_names(found):
        handles = [Patch(color="none", label="a colour for each basin; dots: the minimizers; colours come again")]
    ends = (NOWHERE, NOWHERE_COLOR, "at no minimizer after the last step"), (GONE, GONE_COLOR, "diverged")
    for number, color, label in ends:
        if any(one.share(number) > 0 for one in found.maps):
            handles.append(Patch(facecolor=color, edgecolor=style.GREY, label=label))
    return handles
