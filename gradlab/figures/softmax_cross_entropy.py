"""One sample's logits, its probabilities beside the target, and the gradient; and softmax and log apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.studies.softmax_apart import Apart
    from gradlab.studies.softmax_cross_entropy import Sample

LOGITS = "what the network says:\nany numbers, larger for likelier classes"
CHANCES = "p = softmax(z): positive, and 1 in all;\ny: the target"
GRADIENT = "gradient descent goes the other way:\nit raises the logit where the bar points down"
LOSSES = "the farther the label's logit falls behind, the larger the loss;\na cross: from there on not finite"
SLOPES = "∂L/∂z of the label ought to come to −1, the pull upwards;\na cross: from there on not finite"
WIDTH = 0.38


def figure(sample: Sample) -> Figure:
    """Three panels over the classes: z, then p and y, then the gradient."""
    picture, (left, middle, right) = style.canvas(17, 6.5, columns=3)
    classes = np.arange(len(sample.logits))
    _draw_bars(left, classes, sample.logits, style.GREY)
    style.dress(left, "Logits z", LOGITS, "class", "z")
    _draw_bars(middle, classes - WIDTH / 2, sample.p, style.BLUE, "p, what the network believes", WIDTH)
    _draw_bars(middle, classes + WIDTH / 2, sample.y, style.GREEN, "y, what is true", WIDTH)
    middle.set_ylim(0, 1.15)
    style.legend_below(middle)
    style.dress(middle, "Probabilities", CHANCES, "class", "probability")
    _draw_bars(right, classes, sample.gradient, style.VERMILLION, "∂L/∂z, by autograd", gap=11)
    scale = "" if sample.count == 1 else f", divided by the batch of {sample.count}"
    closed = (sample.p - sample.y) / sample.count
    right.plot(classes, closed, "D", color=style.INK, markersize=7, label=f"p − y{scale}")
    style.legend_below(right)
    style.dress(right, "Gradient: p − y", GRADIENT, "class", "∂L/∂z")
    for axes in (left, middle, right):
        axes.set_xticks(classes)
    return picture


def apart(found: Apart) -> Figure:
    """The loss on the left and its derivative on the right, over the lead, by every way to compute them."""
    picture, (left, right) = style.canvas(16, 7.5, columns=2)
    _draw_ways(left, found, "losses")
    style.dress(left, "Loss in float32", LOSSES, "lead of the wrong class: z[0] − z[1]", "loss")
    _draw_ways(right, found, "gradients")
    right.set_ylim(-1.15, 0.15)
    style.dress(right, "Gradient in float32", SLOPES, "lead of the wrong class: z[0] − z[1]", "∂L/∂z of the label")
    return picture


def _draw_bars(
    axes: Axes, at: np.ndarray, values: np.ndarray, color: str, label: str = "", width: float = 0.7, gap: int = 5
) -> None:
    axes.bar(at, values, width, color=color, label=label)
    axes.axhline(0, color=style.INK, linewidth=1)
    halo: list[AbstractPathEffect] = [withStroke(linewidth=3, foreground="white")]
    for x, value in zip(at, values, strict=True):
        above = value >= 0
        offset, side = (0, gap if above else -gap), "bottom" if above else "top"
        text = axes.annotate(style.number(value), (x, value), offset, textcoords="offset points", ha="center", va=side)
        text.set(fontsize=12, path_effects=halo)
    axes.margins(y=0.15)


def _draw_ways(axes: Axes, found: Apart, what: str) -> None:
    axes.plot(found.leads, getattr(found, what), color="#CCCCCC", linewidth=9, label="true (float64)")
    looks = ((style.VERMILLION, "-", 17), (style.BLUE, "--", 10), (style.PINK, "-", 10), (style.INK, ":", 10))
    for way, (color, dash, cross) in zip(found.ways, looks, strict=True):
        values = getattr(way, what)
        finite = np.isfinite(values)
        note = "" if finite.all() else f": {_broken(values)} from {found.leads[~finite][0]:g} on"
        axes.plot(
            found.leads, np.where(finite, values, np.nan), dash, color=color, linewidth=2.5, label=way.name + note
        )
        if not finite.all() and finite.any():
            last = int(np.flatnonzero(~finite)[0]) - 1
            axes.plot(found.leads[last], values[last], "X", color=color, markersize=cross)
    style.legend_below(axes)


def _broken(values: np.ndarray) -> str:
    return "NaN" if np.isnan(values).any() else "infinite"
