"""A surface from above, with the way that the descent took across it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from gradlab.errors import BadInput
from gradlab.figures import style
from gradlab.sinks import MemorySink

PATH = "path/point"
SURFACE = ("surface/x", "surface/y", "surface/z")
MINIMIZERS = "surface/minimizers"  # no record where there is none
AXES = ("x", "y")  # as the surfaces' formulas call the two coordinates
CAPTION = "the surface from above"
TRUE_ANGLES = "; the negative gradient is at right angles to the contour lines"
LEVELS = 24
MOST_DOTS = 150


@dataclass(frozen=True)
class View:
    """The rectangle that is shown, by its lower left and its upper right corner ([2] each)."""

    low: np.ndarray
    high: np.ndarray

    def holds(self, point: np.ndarray) -> bool:
        """Whether a point ([2]) lies in it.

        Example:
            >>> View(np.zeros(2), np.ones(2)).holds(np.array([0.5, 2.0]))
            False
        """
        return bool(np.all((self.low <= point) & (point <= self.high)))


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``surface/...`` and a ``path/point`` in the plane.

    Example:
        >>> ready(MemorySink())
        False
    """
    came = all(tag in memory.tags("surface/") for tag in SURFACE) and PATH in memory.tags(PATH)
    return came and memory.arrays(PATH)[1].shape[1:] == (2,)


def figure(memory: MemorySink, name: str = "loss") -> Figure:
    """The contour picture; the arguments are those of `draw`."""
    picture, (axes,) = style.canvas(10.5, 10)
    draw(axes, memory, name)
    return picture


def draw(axes: Axes, memory: MemorySink, name: str = "loss") -> None:
    """Draw the surface as filled contours, the path over it, and the known minimizers as stars.

    The contours are spaced evenly in the logarithm of the height above the minimum, since near a minimum a
    surface is so flat that evenly spaced ones would show nothing; a surface without a minimum has evenly spaced
    ones.

    Args:
        axes: where to draw.
        memory: holds ``surface/x`` [m], ``surface/y`` [n], ``surface/z`` [n, m], ``surface/minimizers`` [k, 2],
            and a ``path/point`` [2] for each step, the last of them after the last update.
        name: of the loss, for the title.
    """
    steps, path = memory.arrays(PATH)
    finite = np.isfinite(path[:, 0]) & np.isfinite(path[:, 1])
    view, caption = draw_ground(axes, memory, path[finite])
    if finite.any():
        _draw_path(axes, steps[finite], path[finite], view)
    draw_minimizers(axes, memory, view)
    if axes.get_legend_handles_labels()[0]:
        style.legend_below(axes)
    style.dress(axes, _title(name, steps, path, _minimizers(memory)), caption, *AXES)


def draw_ground(axes: Axes, memory: MemorySink, points: np.ndarray, bar: bool = True) -> tuple[View, str]:
    """Draw the surface alone.

    Args:
        axes: where to draw.
        memory: as in `draw`; no path is needed.
        points: [n, 2], finite; the view holds them where the surface's records do.
        bar: whether a bar beside the axes says which colour is which height.

    Returns:
        What is in view, and a caption.
    """
    x, y, z = landscape(memory)
    minimizers = _minimizers(memory)
    view = _view(x, y, np.vstack([points, minimizers]))
    _draw_surface(axes, x, y, z, view, logarithmic=len(minimizers) > 0, bar=bar)
    axes.set_xlim(view.low[0], view.high[0])
    axes.set_ylim(view.low[1], view.high[1])
    axes.grid(False)
    width, height = view.high - view.low
    if not 0.5 <= width / height <= 2:
        return view, CAPTION
    axes.set_aspect("equal")
    return view, CAPTION + TRUE_ANGLES


def landscape(memory: MemorySink) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The surface's records, the last ones: x [m], y [n] and the heights [n, m].

    Raises:
        BadInput: there are none.
    """
    if any(tag not in memory.tags("surface/") for tag in SURFACE):
        raise BadInput("a picture from above needs a surface over the plane, such as loss=rosenbrock loss.dimension=2")
    x, y, z = (memory.arrays(tag)[1][-1] for tag in SURFACE)
    return x, y, z


def draw_minimizers(axes: Axes, memory: MemorySink, view: View) -> None:
    """Draw a star at each known minimizer in view."""
    shown = [point for point in _minimizers(memory) if view.holds(point)]
    if shown:
        star: dict[str, Any] = {"marker": "*", "markersize": 16, "markerfacecolor": "white", "markeredgecolor": "black"}
        axes.plot(*np.transpose(shown), linestyle="", label="known minimizer", zorder=5, **star)


def _minimizers(memory: MemorySink) -> np.ndarray:
    """The known minimizers, [k, 2]."""
    known = MINIMIZERS in memory.tags(MINIMIZERS)
    return memory.arrays(MINIMIZERS)[1][-1].reshape(-1, 2) if known else np.empty((0, 2))


def _view(x: np.ndarray, y: np.ndarray, points: np.ndarray) -> View:
    """The part of the grid in which the points lie, with a margin, and at least a third of the grid."""
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    if not len(points):
        return View(low, high)
    inside = np.clip(points, low, high)
    near, far = inside.min(axis=0), inside.max(axis=0)
    # The same for both directions where the grid allows it, since only then are right angles seen as such.
    half = max(*(far - near) * 0.65, *(high - low) / 6)
    middle = (near + far) / 2
    return View(np.maximum(low, middle - half), np.minimum(high, middle + half))


def _draw_surface(
    axes: Axes, x: np.ndarray, y: np.ndarray, z: np.ndarray, view: View, *, logarithmic: bool, bar: bool
) -> None:
    z = np.ma.masked_invalid(z)
    seen = z[np.ix_((view.low[1] <= y) & (y <= view.high[1]), (view.low[0] <= x) & (x <= view.high[0]))]
    if not seen.count():
        return
    lowest = float(seen.min())
    # For logarithms, a loss that becomes negative is measured from the lowest value in sight.
    floor = min(0.0, lowest) if logarithmic else 0.0
    low, high = lowest - floor, float(seen.max()) - floor
    if low == high:  # a plain: one colour, and a scale that begins at its height
        high, logarithmic = low + max(1.0, abs(low)), False
    if logarithmic:
        low = max(low, 1e-4 * high)
    levels = np.geomspace(low, high, LEVELS) if logarithmic else np.linspace(low, high, LEVELS)
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    height = np.maximum(z - floor, low)
    filled = axes.contourf(x, y, height, levels, cmap=style.SEQUENCE, norm=norm, extend="max")
    # The lowest level has no line: heights end there at a plateau, whose rim would show the steps of the grid.
    axes.contour(x, y, height, levels[1:], colors="white", linewidths=0.4, alpha=0.5)
    if not bar:
        return
    label = "loss" if floor == 0 else f"loss above {style.number(floor)}, the lowest shown"
    ticks = LogLocator(numticks=8) if logarithmic else MaxNLocator(8)
    beside = axes.inset_axes((1.03, 0, 0.04, 1))
    axes.figure.colorbar(filled, cax=beside, label=label, ticks=ticks)


def _draw_path(axes: Axes, steps: np.ndarray, path: np.ndarray, view: View) -> None:
    outline = [withStroke(linewidth=3.6, foreground="black")]
    axes.plot(*path.T, color="white", linewidth=2, path_effects=outline, zorder=3)
    every = -(-len(path) // MOST_DOTS)
    outside = sum(not view.holds(point) for point in path)
    gap = int(steps[every] - steps[0]) if len(steps) > every else 1
    label = "a dot at each step" if gap == 1 else f"a dot at every {_ordinal(gap)} step"
    label += f" ({outside} of {len(path)} points outside)" if outside else ""
    x, y = path[::every].T
    axes.scatter(x, y, s=22, color="white", edgecolor="black", linewidth=0.7, zorder=4, label=label)
    filled = {"marker": "o", "markersize": 12, "markeredgecolor": "black"}
    hollow = {"marker": "o", "markersize": 18, "markerfacecolor": "none", "markeredgewidth": 3}
    _draw_end(axes, path[0], view, f"start, step {steps[0]}", **filled)
    _draw_end(axes, path[-1], view, f"end, step {steps[-1]}", **hollow)


def _draw_end(axes: Axes, point: np.ndarray, view: View, label: str, **looks: Any) -> None:
    """Mark a point; one that lies outside the view is marked at the edge, and its place is said."""
    if not view.holds(point):
        label += f", outside at ({style.number(point[0])}, {style.number(point[1])})"
    margin = 0.03 * (view.high - view.low)
    at = point if view.holds(point) else np.clip(point, view.low + margin, view.high - margin)
    axes.plot(*at, linestyle="", color=style.VERMILLION, label=label, zorder=6, **looks)


def _ordinal(count: int) -> str:
    ending = "th" if count // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"


def _title(name: str, steps: np.ndarray, path: np.ndarray, minimizers: np.ndarray) -> str:
    count = steps[-1] - steps[0]
    text = f"{name}: {count} {'step' if count == 1 else 'steps'}"
    broken = ~np.isfinite(path).all(axis=1)
    if broken.any():
        return f"{text}, NaN or infinite from step {steps[broken][0]} on"
    if not len(minimizers):
        return text
    distance = np.linalg.norm(minimizers - path[-1], axis=1).min()
    return f"{text}, ending {style.number(distance)} from a minimizer"
