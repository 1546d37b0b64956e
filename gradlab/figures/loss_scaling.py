"""The entries of a gradient beside what float16 can hold, and what is lost for each factor on the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.loss_scaling import Scaled

SMALLEST, NORMAL, LARGEST = -24, -14, 16  # float16's, as powers of two; 65,504 is just below 2¹⁶
ORANGE, YELLOW = "#E69F00", "#F0E442"  # of Okabe and Ito
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ENTRIES = (
    "each bar counts the entries of about that size; a factor on the loss moves all of them to the right\n"
    "between the shaded zones float16 keeps all of its 11 binary digits"
)
LOST = "lines: how many entries are too small or too large to be stored in float16;\ndots: what float16 makes of them"


def figure(entries: np.ndarray, scaled: Scaled, shown: int, first: str) -> Figure:
    """On the left the sizes of the entries, with and without a factor; on the right the shares that are lost.

    Args:
        entries: sizes of the entries in float64, above 0.
        scaled: what became of them in float16.
        shown: the k of the factor 2ᵏ that is drawn on the left.
        first: name of the first parameter.
    """
    picture, (left, right) = style.canvas(17, 8, columns=2)
    _draw_entries(left, np.log2(entries), shown)
    _draw_lost(right, scaled, first)
    return picture


def _draw_entries(axes: Axes, sizes: np.ndarray, shown: int) -> None:
    low = min(np.floor(sizes.min()), SMALLEST) - 2
    high = max(np.ceil(sizes.max()) + shown, LARGEST) + 4
    bars = np.arange(low, high + 1).tolist()
    zones = (
        (low, SMALLEST - 1, ORANGE, "becomes 0 (up to half of 2⁻²⁴)"),
        (SMALLEST - 1, NORMAL, YELLOW, "keeps fewer digits"),
        (LARGEST, high, style.PINK, "becomes inf"),
    )
    for left, right, color, label in zones:
        axes.axvspan(left, right, color=color, alpha=0.35, linewidth=0, label=label)
    axes.hist(sizes, bars, color=style.BLUE, alpha=0.75, label="the gradient's entries")
    label = f"the same, loss × 2{str(shown).translate(RAISED)}"
    axes.hist(sizes + shown, bars, histtype="step", color=style.INK, linewidth=2, label=label)
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
    for place, text, side in ((SMALLEST, "2⁻²⁴: smallest", "left"), (LARGEST, "65,504: largest", "right")):
        axes.axvline(place, color=style.INK, linestyle=":", linewidth=1.5)
        axes.annotate(text, (place, 0.98), (4 if side == "left" else -4, 0), xycoords=axes.get_xaxis_transform(),
                      textcoords="offset points", ha=side, va="top", fontsize=12)  # fmt: skip
    style.legend_below(axes)
    style.dress(axes, "What can float16 hold?", ENTRIES, "log₂ |entry|: −10 means about 1/1,000", "entries")


def _draw_lost(axes: Axes, scaled: Scaled, first: str) -> None:
    axes.plot(scaled.exponents, 100 * scaled.predicted_zeros, color=style.BLUE, label="too small to be stored")
    axes.plot(scaled.exponents, 100 * scaled.zeros, "o", color=style.BLUE, markersize=9, label="became 0")
    label = f"became 0 in {style.shorten(first)} (first layer)"
    axes.plot(scaled.exponents, 100 * scaled.first_zeros, "s", color=style.GREEN, markersize=9, label=label)
    large = "too large to be stored"
    axes.plot(scaled.exponents, 100 * scaled.predicted_nonfinite, "--", color=style.VERMILLION, label=large)
    axes.plot(scaled.exponents, 100 * scaled.nonfinite, "^", color=style.VERMILLION, markersize=9, label="inf or NaN")
    axes.set_xticks(scaled.exponents)
    style.legend_below(axes)
    style.dress(axes, "What is lost in float16?", LOST, "k, where the loss is multiplied by 2ᵏ", "entries, in %")
