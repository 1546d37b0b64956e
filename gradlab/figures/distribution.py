"""How the entries of a gradient are distributed, and how that changes over the steps.

A histogram stands on its side in every column: values upwards, and the more of the entries fall into a bar, the
darker it is. The value axis is linear around zero and logarithmic outside ("symlog"), since gradients shrink by
powers of ten while a network learns.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.scale import SymmetricalLogTransform
from matplotlib.ticker import MaxNLocator

from gradlab.diagnosis import depth_weights
from gradlab.figures import style
from gradlab.records import Histogram
from gradlab.sinks import MemorySink

PREFIX, SUFFIX = "gradient/", "/histogram"
MOST_PANELS = 3
PLACES = {
    1: ["how they are spread"],
    2: ["nearest to the input", "nearest to the loss (own scale)"],
    3: ["nearest to the input", "halfway (own scale)", "nearest to the loss (own scale)"],
}
SHORT = 11  # letters of a name that leaves room for the words before it
MOST_COLUMNS = 300
ROWS = 400
MOST_DECADES = 6
LEAST_SHARE = 1e-4

# From light to dark, without the lightest, which could not be told from the white of "no entry".
_COLORS = ListedColormap(colormaps["Blues"](np.linspace(0.2, 1, 256)), "entries")


@dataclass(frozen=True)
class Scale:
    """The value axis of a panel: linear up to ``linear``, logarithmic from there to ``top``."""

    linear: float
    top: float

    def rows(self) -> np.ndarray:
        """The edges of the rows of the picture, evenly spaced on the paper ([`ROWS` + 1]).

        Example:
            >>> edges = Scale(0.1, 10.0).rows()
            >>> edges[[0, ROWS // 2, -1]].round(6).tolist()
            [-10.0, 0.0, 10.0]
        """
        transform = SymmetricalLogTransform(10, self.linear, 1)
        end = transform.transform(np.array([self.top]))[0]
        return np.asarray(transform.inverted().transform(np.linspace(-end, end, ROWS + 1)))


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``gradient/<parameter>/histogram``.

    Example:
        >>> ready(MemorySink())
        False
    """
    return bool(_histograms(memory))


def figure(memory: MemorySink) -> Figure:
    """The distributions alone; they are also drawn below the gradient flow.

    Example:
        >>> memory = MemorySink()
        >>> memory.write([Histogram("gradient/0.weight/histogram", 0, np.linspace(-1, 1, 4), np.array([1, 2, 1]))])
        >>> figure(memory).axes[0].get_title(loc="left")
        'Entries of 0.weight'
    """
    count = panels(memory)
    picture, axes = style.canvas(5 * count + 3, 5.5, columns=count)
    draw(axes, memory)
    return picture


def panels(memory: MemorySink) -> int:
    """How many panels there are to draw: one for each chosen parameter, at most three.

    Example:
        >>> panels(MemorySink())
        0
    """
    return len(_chosen(memory))


def draw(panels: list[Axes], memory: MemorySink) -> None:
    """Draw the first, the middle, and the last weight, each on an axis of its own: the heatmap compares them.

    A row of the picture shows the bar of the histogram that lies there, so nothing is smoothed. Where there are
    more histograms than columns, a column shows the widest of its histograms, so that a spike stays.

    Args:
        panels: where to draw, as many as `panels` counts.
        memory: holds ``gradient/<parameter>/histogram``, first the parameter nearest to the input.

    Example:
        >>> memory = MemorySink()
        >>> memory.write([Histogram("gradient/theta/histogram", 0, np.full(4, np.nan), np.zeros(3))])
        >>> _, axes = style.canvas(4, 3)
        >>> draw(axes, memory)
        >>> axes[0].get_legend().get_texts()[0].get_text()
        'NaN or infinite, all entries'
    """
    chosen = _chosen(memory)
    for axes, (name, own), place in zip(panels, chosen.items(), PLACES[len(chosen)], strict=True):
        mesh = _draw_panel(axes, _thin(own), _scale(own))
        ylabel = "value of an entry of the gradient" if axes is panels[0] else ""
        title = f"Entries of {name}" if len(name) <= SHORT else style.in_lines(name, 16)
        style.dress(axes, title, place, style.STEP, ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0].figure.colorbar(mesh, ax=panels, label="share of the entries in a bar", pad=0.02, extend="min")


def _histograms(memory: MemorySink) -> dict[str, list[Histogram]]:
    """The histograms by parameter, in the order in which the parameters first came."""
    found: dict[str, list[Histogram]] = {}
    for histogram in memory.records(Histogram, PREFIX):
        if histogram.tag.endswith(SUFFIX):
            found.setdefault(histogram.tag[len(PREFIX) : -len(SUFFIX)], []).append(histogram)
    return found


def _chosen(memory: MemorySink) -> dict[str, list[Histogram]]:
    found = _histograms(memory)
    names = depth_weights(found) or list(found)
    places = np.unique(np.linspace(0, len(names) - 1, MOST_PANELS).astype(int)) if names else ()
    return {names[place]: found[names[place]] for place in places}


def _reach(histogram: Histogram) -> float:
    """The largest magnitude in sight; NaN where nothing was finite."""
    return float(np.abs(histogram.edges[[0, -1]]).max())


def _scale(histograms: list[Histogram]) -> Scale:
    reaches = np.array([_reach(histogram) for histogram in histograms])
    reaches = reaches[np.isfinite(reaches) & (reaches > 0)]
    top = float(np.clip(reaches.max(), style.SMALLEST, style.LARGEST)) if len(reaches) else 1.0
    # The smallest histogram reaches out of the linear part, unless it is so small that it counts as zero.
    small = float(reaches[reaches > top * 10.0**-MOST_DECADES].min(initial=top))
    return Scale(10 ** np.floor(np.log10(small / 3)), top * 1.1)


def _thin(histograms: list[Histogram]) -> list[Histogram]:
    groups = np.array_split(np.arange(len(histograms)), min(MOST_COLUMNS, len(histograms)))
    return [
        max((histograms[i] for i in group), key=lambda one: np.nan_to_num(_reach(one), nan=np.inf)) for group in groups
    ]


def _draw_panel(axes: Axes, histograms: list[Histogram], scale: Scale) -> QuadMesh:
    rows = scale.rows()
    shares = np.stack([_column(histogram, rows) for histogram in histograms], axis=1)
    columns = style.column_edges(np.array([histogram.step for histogram in histograms]))
    norm = LogNorm(LEAST_SHARE, 1)
    broken = np.array([not np.isfinite(_reach(histogram)) for histogram in histograms])
    mesh = axes.pcolormesh(columns, rows, np.ma.masked_equal(shares, 0), cmap=_COLORS, norm=norm, rasterized=True)
    axes.set_yscale("symlog", linthresh=scale.linear)
    axes.set_ylim(-scale.top, scale.top)
    axes.set_yticks(style.symlog_ticks(scale.linear, scale.top, 4))
    axes.minorticks_off()
    for left, right in zip(columns[:-1][broken], columns[1:][broken], strict=True):
        axes.axvspan(left, right, color=style.VERMILLION, linewidth=0)
    if broken.any():
        style.legend_below(axes, [Patch(color=style.VERMILLION, label="NaN or infinite, all entries")])
    return mesh


def _column(histogram: Histogram, rows: np.ndarray) -> np.ndarray:
    """The share of the bar that lies at each row; 0 where there is none."""
    edges, counts, count = histogram.edges, histogram.counts, histogram.counts.sum()
    share = np.zeros(len(rows) - 1)
    if not np.isfinite(edges).all() or not count:
        return share
    middles = (rows[1:] + rows[:-1]) / 2
    inside = (edges[0] <= middles) & (middles < edges[-1])
    share[inside] = counts[np.searchsorted(edges, middles[inside], side="right") - 1] / count
    # A bar that is narrower than a row has its place, too.
    places = np.clip(np.searchsorted(rows, (edges[1:] + edges[:-1]) / 2, side="right") - 1, 0, len(share) - 1)
    np.maximum.at(share, places, counts / count)
    return share
