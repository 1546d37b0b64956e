"""The V-curve: the error of a difference quotient over its step h, and the two lines that make the V."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style

if TYPE_CHECKING:
    from gradlab.checking.difference_curve import Curve, VCurve

FORMULAS = {"forward": "(L(x+h) − L(x)) / h", "central": "(L(x+h) − L(x−h)) / 2h"}
COLORS = {"forward": style.BLUE, "central": style.VERMILLION}
MARKERS = {"forward": "o", "central": "s"}
POWERS = {1: "h", 2: "h²"}
CAPTION = (
    "How wrong is a difference with step h? To the right, h is too coarse (truncation); to the left, the two values "
    "of L are so near that their difference is mostly rounding. The star is the best h (an error below the "
    "dotted line is luck)."
)


def figure(curve: VCurve) -> Figure:
    """One panel for each dtype.

    Args:
        curve: what `gradlab.checking.precision.v_curve` gave.

    Example:
        >>> import torch
        >>> from gradlab.checking.difference_curve import v_curve
        >>> picture = figure(v_curve(torch.sin, torch.tensor(1.0)))
        >>> [axes.get_title(loc="left") for axes in picture.axes]
        ['V-curve in float64', 'V-curve in float32']
    """
    dtypes = list(dict.fromkeys(c.dtype for c in curve.curves))
    with style.look():
        picture, every = style.canvas(max(9, 8 * len(dtypes)), 9.5, columns=max(1, len(dtypes)))
        for axes, dtype in zip(every, dtypes, strict=False):
            draw(axes, curve, dtype)
        limits = [axes.get_ylim() for axes in every]  # one height for all: so that they can be compared
        for axes in every:
            axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    return picture


def draw(axes: Axes, curve: VCurve, dtype: str) -> None:
    """Draw the errors in one dtype, the slopes of truncation and rounding, and the best h.

    Errors are relative to the derivative, so that 1e-8 means eight digits right; absolute where that is 0.

    Args:
        axes: where to draw.
        curve: what `gradlab.checking.precision.v_curve` gave.
        dtype: in which L was computed.

    Example:
        >>> import torch
        >>> from gradlab.checking.difference_curve import v_curve
        >>> _, (axes,) = style.canvas(8, 6)
        >>> draw(axes, v_curve(torch.sin, torch.tensor(1.0)), "float32")
        >>> axes.get_xlabel()
        'step h, in units of x (logarithmic)'
    """
    curves = [c for c in curve.curves if c.dtype == dtype]
    scale = curve.scale
    axes.set_xscale("log")
    axes.set_yscale("log")
    for c in curves:
        _draw_errors(axes, c, scale)
    _limit(axes, curves, scale)
    for c in curves:
        _draw_truncation(axes, c, scale)
        _draw_best(axes, c, scale)
    _draw_rounding(axes, curves[0], scale)
    _draw_exact(axes, curves)
    _draw_lost(axes, curves)
    style.legend_below(axes)
    lines = [line for part in _caption(curve, curves) for line in textwrap.wrap(part, int(style.size(axes)[0] * 14))]
    unit = "relative error\n(1e-8: eight digits right)" if curve.gradient else "absolute error"
    style.dress(axes, f"V-curve in {dtype}", "\n".join(lines), "step h, in units of x (logarithmic)", unit)


def _caption(curve: VCurve, curves: list[Curve]) -> Iterator[str]:
    where = f"{style.shorten(curve.place)} = {style.number(curve.value)}"
    yield f"{style.shorten(curve.target)} at {where}, where the derivative is {style.number(curve.gradient)}."
    yield CAPTION
    if straight := " and ".join(c.formula for c in curves if not c.truncation):
        yield f"No truncation shows for {straight}: L hardly bends there (a straight line, a parabola) or has a kink."


def _draw_errors(axes: Axes, curve: Curve, scale: float) -> None:
    errors = np.array(curve.errors) / scale
    errors[~(np.isfinite(errors) & (errors > 0))] = np.nan
    label = f"{curve.formula}: {FORMULAS[curve.formula]}"
    color, marker = COLORS[curve.formula], MARKERS[curve.formula]
    axes.plot(curve.steps, errors, color=color, marker=marker, label=label, markersize=4, linewidth=1, zorder=3)


def _limit(axes: Axes, curves: list[Curve], scale: float) -> None:
    """All errors and a little room; the lines may leave the picture."""
    errors = np.array([error for c in curves for error in c.errors]) / scale
    errors = errors[np.isfinite(errors) & (errors > 0)]
    low, high = (errors.min(), errors.max()) if len(errors) else (1e-16, 1.0)
    axes.set_ylim(max(low / 10, style.SMALLEST), min(max(high, 1.0) * 10, style.LARGEST))
    axes.set_xlim(min(curves[0].steps) / 2, max(curves[0].steps) * 2)


def _draw_truncation(axes: Axes, curve: Curve, scale: float) -> None:
    if curve.truncation:
        steps = np.array(curve.steps)
        label = f"truncation of {curve.formula}, slope {curve.order}: ∝ {POWERS[curve.order]}"
        heights = curve.truncation * steps**curve.order / scale
        axes.plot(steps, heights, "--", color=COLORS[curve.formula], label=label, linewidth=1.4)


def _draw_rounding(axes: Axes, curve: Curve, scale: float) -> None:
    steps = np.array(curve.steps)
    if not curve.rounding:
        return
    label = "rounding, slope −1: about ε·|L| / h"
    axes.plot(steps, curve.rounding / steps / scale, ":", color=style.INK, label=label, linewidth=1.8)


def _draw_best(axes: Axes, curve: Curve, scale: float) -> None:
    if curve.best is None:
        return
    h, error = curve.best[0], curve.best[1] / scale
    label = f"best h of {curve.formula}: {h:.1e}, error about {error:.0e}"
    color, height = COLORS[curve.formula], max(error, axes.get_ylim()[0])
    axes.plot([h], [height], "*", color=color, label=label, markersize=17, markeredgecolor="white", zorder=5)


def _draw_exact(axes: Axes, curves: list[Curve]) -> None:
    """Errors of exactly 0 have no place on a logarithmic axis: they stand on its lower edge."""
    steps = [h for c in curves for h, error in zip(c.steps, c.errors, strict=True) if error == 0]
    if steps:
        along = axes.get_xaxis_transform()
        axes.plot(steps, np.full(len(steps), 0.012), "v", transform=along, color=style.GREY, label="error exactly 0")


def _draw_lost(axes: Axes, curves: list[Curve]) -> None:
    """Where x + h is x for every formula, there is no difference."""
    lost = [h for n, h in enumerate(curves[0].steps) if all(math.isnan(c.errors[n]) for c in curves)]
    small = [h for h in lost if h <= 1e-3]
    if small:
        label = "h is lost in rounding: x + h is x"
        axes.axvspan(axes.get_xlim()[0], max(small), color=style.GREY, alpha=0.2, linewidth=0, label=label)
