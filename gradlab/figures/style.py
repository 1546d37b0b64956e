"""One look for all figures: white, colour-blind safe, readable from the back of a room.

Colours are those of Okabe and Ito, *Color Universal Design* (2002), without their yellow, which is too pale for
lines on white. Nothing here touches pyplot, and the user's own settings of matplotlib are neither used nor
changed.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice, product, takewhile

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, Transform

INK = "#222222"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
GREY = "#999999"
COLORS = (BLUE, VERMILLION, GREEN, PINK, "#E69F00", "#56B4E9", "#000000")
MORE_COLORS = ("#882255", "#999933", "#332288")  # wine, olive, indigo of P. Tol, *Colour Schemes* (2021), "muted"
DASHES = ("-", "--", ":", "-.")
SEQUENCE = "viridis"
STEP = "step"
# Beyond these, matplotlib's own sums over- or underflow when it looks for ticks.
SMALLEST, LARGEST = 1e-200, 1e200

_LOOK = {
    "font.size": 14,
    "axes.titlesize": 17,
    "axes.titleweight": "bold",
    "axes.labelsize": 14,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 1.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in gradlab's look; afterwards every setting is as it was.

    Example:
        >>> import matplotlib
        >>> before = matplotlib.rcParams["font.size"]
        >>> with look():
        ...     matplotlib.rcParams["font.size"]
        14.0
        >>> matplotlib.rcParams["font.size"] == before
        True
    """
    with style.context(["default", _LOOK]):
        yield


def canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure with a grid of axes.

    Args:
        width, height: of the whole figure, in inches.
        rows, columns: of the grid.

    Returns:
        The figure, and its axes row by row.

    Example:
        >>> figure, axes = canvas(9, 6, columns=2)
        >>> len(axes)
        2
    """
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15))
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def canvas_below(width: float, height: float, below: float, columns: int) -> tuple[Figure, list[Axes]]:
    """Make a figure with one wide panel, and a row of smaller ones below it.

    Args:
        width: of the whole figure, in inches.
        height: of the wide panel with its titles, in inches.
        below: of the row below it.
        columns: how many panels the row has.

    Returns:
        The figure, and its axes: the wide one, then the row from left to right.

    Example:
        >>> figure, axes = canvas_below(9, 6, 3, 2)
        >>> len(axes)
        3
    """
    figure = Figure(figsize=(width, height + below), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15))
    grid = figure.add_gridspec(2, columns, height_ratios=[height, below])
    return figure, [figure.add_subplot(grid[0, :]), *(figure.add_subplot(grid[1, i]) for i in range(columns))]


def column_edges(steps: np.ndarray) -> np.ndarray:
    """Where the columns of a picture begin and end whose middles are about at the steps.

    Example:
        >>> column_edges(np.array([0, 10, 20])).tolist()
        [-5.0, 5.0, 15.0, 25.0]
    """
    middles = (steps[1:] + steps[:-1]) / 2
    first, last = (middles[0], middles[-1]) if len(middles) else (steps[0] - 0.5, steps[0] + 0.5)
    return np.unique([2 * steps[0] - first, first, *middles, last, 2 * steps[-1] - last])


def symlog_ticks(linear: float, top: float, most: int) -> list[float]:
    """Powers of ten between ``linear`` and ``top``, at most so many, with their negatives and 0.

    Example:
        >>> symlog_ticks(0.1, 20.0, 2)
        [-10.0, -0.1, 0.0, 0.1, 10.0]
    """
    low, high = round(np.log10(linear)), int(np.floor(np.log10(top)))
    every = max(1, -(-(high - low + 1) // most))
    powers = [10.0**power for power in range(high, low - 1, -every)]
    return [*(-power for power in powers), 0.0, *powers[::-1]]


def dress(axes: Axes, title: str, caption: str, x: str, y: str) -> None:
    """Give axes a title, a caption that says how to read the picture, and names for both directions.

    Example:
        >>> _, (axes,) = canvas(4, 3)
        >>> dress(axes, "Loss", "how wrong the model is", "step", "loss")
        >>> axes.get_xlabel()
        'step'
    """
    axes.set_title(title, loc="left", pad=32 + 17 * caption.count("\n"))
    axes.text(0, 1, caption, transform=_shifted(axes, points=6), va="bottom", fontsize=12, color="#555555")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if x == STEP:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes.dataLim.width == 0:  # a single step
            axes.set_xticks([axes.dataLim.x0])


def legend_below(axes: Axes, handles: Sequence[Artist] | None = None, markerscale: float = 1) -> None:
    """Put the legend under the horizontal axis, in as many columns as the names leave room for.

    Args:
        axes: where to draw.
        handles: what to explain; None takes everything that has a label.
        markerscale: how much larger than in the picture its markers are.

    Example:
        >>> _, (axes,) = canvas(4, 3)
        >>> lines = axes.plot([0, 1], label="a")
        >>> legend_below(axes)
        >>> len(axes.get_legend().get_texts())
        1
    """
    handles = axes.get_legend_handles_labels()[0] if handles is None else handles
    longest = max(len(str(handle.get_label())) for handle in handles)
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=_shifted(axes, points=-48),
        borderaxespad=0,
        ncols=max(1, min(4, int(size(axes)[0] / (0.08 * longest + 0.5)))),
        markerscale=markerscale,
        handlelength=1.4,
        columnspacing=1.2,
        labelspacing=0.7,
    )


def _shifted(axes: Axes, points: float) -> Transform:
    """Coordinates in which (0, 0) and (1, 1) are the corners of the axes, moved upwards."""
    return axes.transAxes + ScaledTranslation(0, points / 72, axes.figure.dpi_scale_trans)


def line_styles(count: int) -> list[tuple[str, str]]:
    """A colour and a dash pattern for each of several lines; the first 28 differ.

    Example:
        >>> line_styles(1)
        [('#0072B2', '-')]
    """
    pairs = ((color, dash) for dash, color in cycle(product(DASHES, COLORS)))
    return list(islice(pairs, count))


def many_styles(count: int) -> list[tuple[str, str]]:
    """As `line_styles`, with a colour of its own for each of the first ten: where colours have to do without dashes.

    Example:
        >>> len({color for color, _ in many_styles(10)}), many_styles(7) == line_styles(7)
        (10, True)
    """
    usual = line_styles(max(count, len(COLORS)))
    more = [(color, "--") for color in MORE_COLORS]
    return [*usual[: len(COLORS)], *more, *usual[len(COLORS) :]][:count]


def shorten(name: str, length: int = 30) -> str:
    """A long name with only the initials of its first modules; where that is not enough, its middle is cut out.

    Example:
        >>> shorten("encoder.layers.11.self_attn.in_proj_weight", 34)
        'e.l.11.self_attn.in_proj_weight'
    """
    *path, last = name.split(".")
    for place, part in enumerate(path):
        if len(name) <= length:
            return name
        path[place] = part if part.isdigit() else part[:1] + part[len(part.rstrip("0123456789")) :]
        name = ".".join([*path, last])
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[head - length + 1 :]}"


def in_lines(name: str, width: int) -> str:
    """A long name on two lines: the module, and below it the parameter.

    Example:
        >>> in_lines("encoder.layers.11.attention.in_proj_weight", 18).splitlines()
        ['e.l.11.attention', '.in_proj_weight']
    """
    path, dot, last = name.rpartition(".")
    if len(name) <= width or not path:
        return shorten(name, width)
    return f"{shorten(path, width)}\n{shorten(dot + last, width)}"


def shorten_all(names: Sequence[str], length: int = 34) -> list[str]:
    """Shorten names that stand beside each other: first by the modules that all of them share.

    Example:
        >>> shorten_all(["encoder.layers.0.weight", "encoder.layers.11.weight"])
        ['…0.weight', '…11.weight']
    """
    paths = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    prefix = "".join(f"{parts[0]}." for parts in shared)
    if len(prefix) > 6 and len(set(names)) > 1:
        names = ["…" + name[len(prefix) :] for name in names]
    return [shorten(name, length) for name in names]


def size(axes: Axes) -> tuple[float, float]:
    """The width and the height of axes in inches, roughly: before the layout has made room for what is around.

    Example:
        >>> width, height = size(canvas(10, 5)[1][0])
        >>> bool(7 < width < 10 and 3 < height < 5)
        True
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    share, (width, height) = axes.get_position(), figure.get_size_inches()
    return share.width * width, share.height * height


def number(value: float) -> str:
    """Three significant digits, with a real minus sign.

    Example:
        >>> number(-0.01234)
        '−0.0123'
    """
    return f"{value:.3g}".replace("-", "−")


def mark_nonfinite(axes: Axes, curves: Iterable[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Mark the steps at which any curve is not a finite number, and name the first in the legend.

    Args:
        axes: where to draw.
        curves: steps and values of each.

    Returns:
        Whether there was anything to mark.

    Example:
        >>> _, (axes,) = canvas(4, 3)
        >>> mark_nonfinite(axes, [(np.arange(3), np.array([1.0, np.nan, 2.0]))])
        True
        >>> axes.get_legend_handles_labels()[1]
        ['NaN or infinite, first at step 1']
    """
    broken = np.unique(np.concatenate([steps[~np.isfinite(values)] for steps, values in curves]))
    if len(broken):
        label = f"NaN or infinite, first at step {broken[0]}"
        top = np.full(len(broken), 0.97)
        along = axes.get_xaxis_transform()
        axes.plot(broken, top, "x", transform=along, color=VERMILLION, label=label, markersize=5, zorder=6)
    return len(broken) > 0


def png(figure: Figure, dpi: int = 120) -> bytes:
    """The figure as the bytes of a PNG file.

    Args:
        figure: any figure.
        dpi: pixels per inch.

    Example:
        >>> png(canvas(1, 1)[0])[:4]
        b'\\x89PNG'
    """
    file = io.BytesIO()
    with look():
        # The layout engine may leave the title of axes with equal scales partly outside: tight keeps all of it.
        figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.15)
    return file.getvalue()
