"""Whole gradients as pictures: each cell is the partial derivative for one entry of a weight, step after step."""

from collections import Counter

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from gradlab.figures import style
from gradlab.records import Array
from gradlab.sinks import MemorySink

PREFIX = "partial/"
TITLE = "Gradient matrices: which way, and how strongly, the loss pulls at each entry"
MOST_PARAMETERS = 6
MOST_STEPS = 6
MOST_CELLS = 64  # the probe makes larger matrices smaller, so one of this size may stand for a larger one
MOST_DECADES = 5

# Red and blue are told apart by everybody; NaN in black is neither.
_COLORS = colormaps["RdBu_r"].with_extremes(bad=style.INK)
_BROKEN = "NaN or infinite"


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: arrays ``partial/<parameter>`` of large parameters.

    Of small ones every entry has a curve of its own, in the figure of the partials.

    Example:
        >>> ready(MemorySink())
        False
    """
    return bool(_tags(memory))


def figure(memory: MemorySink) -> Figure:
    """A row of pictures for each of at most six parameters: at most six steps with one scale of colours.

    Example:
        >>> memory = MemorySink()
        >>> memory.write(Array("partial/0.weight", step, np.full((2, 3), 0.5)) for step in (0, 10))
        >>> [axes.get_title(loc="left") for axes in figure(memory).axes[:2]]
        ['0.weight: step 0', 'step 10']
    """
    tags = _tags(memory)
    shown = [tags[place] for place in _evenly(len(tags), MOST_PARAMETERS)]
    series = {tag[len(PREFIX) :]: memory.arrays(tag) for tag in shown}
    columns = min(MOST_STEPS, max(len(steps) for steps, _ in series.values()))
    picture, axes = style.canvas(max(9.5, 3.1 * columns + 2.5), 1.5 + 3.5 * len(series), len(series), columns)
    labels = style.shorten_all(list(series), 18)
    for row, (label, (steps, values)) in enumerate(zip(labels, series.values(), strict=True)):
        draw(axes[row * columns : (row + 1) * columns], label, steps, values)
    picture.suptitle(TITLE, fontsize=18, x=0.01, ha="left")
    picture.supxlabel(_notes(len(tags), list(series.values())), fontsize=12, x=0.01, ha="left", color="#555555")
    return picture


def draw(panels: list[Axes], parameter: str, steps: np.ndarray, values: np.ndarray) -> None:
    """Draw the gradient of one parameter at some steps, evenly chosen, with one scale of colours for all.

    The scale is symmetric around 0, linear near it and logarithmic outside ("symlog"), so that late gradients,
    which are small, can be seen beside early ones.

    Args:
        panels: where to draw; the steps are chosen to fill them, and panels that are left over are removed.
        parameter: its name.
        steps: [n], at which the gradient was recorded.
        values: [n, rows, columns] of ∂L/∂θ.

    Example:
        >>> _, axes = style.canvas(9, 3, columns=2)
        >>> draw(axes, "w", np.array([0, 1, 2]), np.zeros((3, 2, 2)))
        >>> [panel.get_title(loc="left") for panel in axes]
        ['w: step 0', 'step 2']
    """
    chosen = _evenly(len(steps), len(panels))
    norm = _norm(values[chosen])
    for axes, place in zip(panels, chosen, strict=False):
        mesh = _draw_matrix(axes, values[place], norm)
        name = f"{parameter}: " if axes is panels[0] else ""
        first = axes is panels[0]
        style.dress(axes, f"{name}step {steps[place]}", _largest(values[place]), "column", "row" if first else "")
        axes.title.set_fontsize(14)
        _ticks(axes, values.shape[1:])
        axes.tick_params(labelleft=first)
    for axes in panels[len(chosen) :]:
        axes.remove()
    bar = panels[0].figure.colorbar(mesh, ax=panels[: len(chosen)], label="∂L/∂θ of an entry θ", pad=0.02)
    bar.set_ticks(style.symlog_ticks(norm.linthresh, norm.vmax or 1.0, 3))
    bar.minorticks_off()
    if not np.isfinite(values[chosen]).all():
        style.legend_below(panels[0], [Patch(color=style.INK, label=_BROKEN)])


def _tags(memory: MemorySink) -> list[str]:
    """Of the parameters that have more entries than curves."""
    entries = {record.tag: record.values.size for record in memory.records(Array, PREFIX)}
    curves = Counter(tag.rpartition("[")[0] for tag in memory.tags(PREFIX))
    return [tag for tag, count in entries.items() if curves[tag] < count]


def _evenly(count: int, most: int) -> np.ndarray:
    """Places out of 0 … count − 1, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _norm(values: np.ndarray) -> SymLogNorm:
    magnitudes = np.abs(np.where(np.isfinite(values), values, 0)).max(axis=(1, 2))
    top = float(magnitudes.max()) or 1.0
    # A tenth of the smallest picture's largest entry is where colours become logarithmic: it still has its colours.
    small = float(magnitudes[magnitudes > 0].min(initial=top))
    linear = 10 ** np.floor(np.log10(max(small / 10, top * 10.0**-MOST_DECADES)))
    return SymLogNorm(linear, vmin=-top, vmax=top, base=10)


def _draw_matrix(axes: Axes, matrix: np.ndarray, norm: SymLogNorm) -> QuadMesh:
    cells = np.ma.masked_invalid(matrix)
    edges = [np.arange(count + 1) - 0.5 for count in matrix.shape[::-1]]
    mesh = axes.pcolormesh(*edges, cells, cmap=_COLORS, norm=norm, rasterized=True)
    axes.invert_yaxis()  # the first row on top, as a matrix is written
    axes.grid(False)
    return mesh


def _largest(matrix: np.ndarray) -> str:
    finite = matrix[np.isfinite(matrix)]
    if not len(finite):
        return "no finite entry"
    largest = float(np.abs(finite).max())
    return f"largest: {style.number(largest)}" if largest else "all exactly zero"


def _ticks(axes: Axes, shape: tuple[int, ...]) -> None:
    for axis, count, name in ((axes.yaxis, shape[0], axes.get_ylabel()), (axes.xaxis, shape[1], axes.get_xlabel())):
        axis.set_major_locator(MaxNLocator(4, integer=True))
        if count == MOST_CELLS:  # cells, and not indices, if the matrix was larger
            axis.set_ticks([])
            axis.set_label_text(name and f"{name}s →")


def _notes(tags: int, series: list[tuple[np.ndarray, np.ndarray]]) -> str:
    notes = ["red: the loss grows as the entry grows; blue: it falls"]
    if any(MOST_CELLS in values.shape[1:] for _, values in series):
        notes.append("of a matrix beyond 64 × 64, each cell shows the entry of largest magnitude in it")
    if tags > len(series):
        notes.append(f"{tags - len(series)} of {tags} parameters are not shown")
    steps = max(len(own) for own, _ in series)
    if steps > MOST_STEPS:
        notes.append(f"{steps - MOST_STEPS} of {steps} recorded steps are not shown")
    return "\n".join(notes)
