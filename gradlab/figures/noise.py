"""The noise of mini-batch gradients over the size of the batch, and the angle to the gradient of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.noise import Noise

NOISE = (
    "dots: measured, no row twice in a batch; rings: rows may repeat; lines: theory\n"
    "below 1 a batch is more signal than noise; the line 1/√B crosses 1 at the noise scale"
)
COSINE = "1: the batch points the way that all rows point;\n0: at a right angle to it"
SIZE = "rows in a mini-batch, B (logarithmic)"


def figure(found: Mapping[str, Noise]) -> Figure:
    """On the left the noise in units of ‖G‖ for each B; on the right the cosine of the angle to G.

    Args:
        found: by the name of the weights, such as ``at the start``.
    """
    picture, (left, right) = style.canvas(17, 8, columns=2)
    left.axhline(1, color=style.GREY, linewidth=1.2)
    for (when, noise), (color, _) in zip(found.items(), style.line_styles(len(found)), strict=False):
        _draw_noise(left, noise, color, when)
        _draw_cosines(right, noise, color, when)
    style.legend_below(left)
    style.dress(left, "How noisy is a mini-batch?", NOISE, SIZE, "noise ÷ length of the gradient of all rows")
    right.set_ylim(0, 1.05)
    style.legend_below(right)
    style.dress(right, "Does it point the right way?", COSINE, SIZE, "cosine to the gradient of all rows")
    return picture


def _draw_noise(axes: Axes, noise: Noise, color: str, when: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    own = noise.sizes < noise.rows  # of all rows there is no noise, and 0 has no logarithm
    axes.plot(noise.sizes[own], noise.apart[own] / noise.length, "o", color=color, label=f"{when}: measured")
    axes.plot(noise.sizes, noise.replaced / noise.length, "o", color=color, markersize=11, markerfacecolor="none")
    sizes = _fine(noise, 0.999)
    axes.plot(sizes, noise.predicted(sizes) / noise.length, color=color, label="theory, no row twice")
    far = np.geomspace(1, max(noise.rows, noise.scale), 200)
    axes.plot(far, noise.predicted(far, replaced=True) / noise.length, "--", color=color, linewidth=1.2)
    label = f"noise scale {style.number(noise.scale)} rows"
    axes.plot(noise.scale, 1, "*", color=color, markersize=17, markeredgecolor="white", label=label, zorder=5)


def _draw_cosines(axes: Axes, noise: Noise, color: str, when: str) -> None:
    sizes = _fine(noise, 1)
    axes.set_xscale("log")
    axes.plot(noise.sizes, noise.cosines, "o", color=color, label=f"{when}: measured")
    axes.plot(sizes, noise.predicted_cosines(sizes), color=color, label="theory: 1/√(1 + noise²)")


def _fine(noise: Noise, share: float) -> np.ndarray:
    """Many sizes from 1 to this share of all rows."""
    return np.geomspace(1, share * noise.rows, 400)
