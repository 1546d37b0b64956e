"""Agreement: how far the handwritten gradients are from autograd's, for every parameter at every step."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style
from gradlab.sinks import MemorySink

PREFIX, SUFFIX = "agreement/", "/log10_error"
CAPTION = "each gradient is computed twice, by autograd and by handwritten rules: how far apart?"
MOST_NAMES = 8

_Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``agreement/<parameter>/log10_error``.

    Example:
        >>> ready(MemorySink())
        False
    """
    return any(tag.endswith(SUFFIX) for tag in memory.tags(PREFIX))


def figure(memory: MemorySink, tolerance: float | None = None, exact: float = -17.0) -> Figure:
    """The agreement of all parameters; the arguments are those of `draw`.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("agreement/theta/log10_error", 0, -17.0)])
        >>> len(figure(memory).axes)
        1
    """
    picture, (axes,) = style.canvas(11, 6.5)
    draw(axes, memory, tolerance, exact)
    return picture


def draw(axes: Axes, memory: MemorySink, tolerance: float | None = None, exact: float = -17.0) -> None:
    """Draw log₁₀ of the relative error as dots, the tolerance as a line, and equality as a band at the bottom.

    Args:
        axes: where to draw.
        memory: holds ``agreement/<parameter>/log10_error``.
        tolerance: the largest relative error that counts as agreement; None draws no line.
        exact: the number recorded where both gradients are equal to the last bit.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write(Scalar("agreement/theta/log10_error", step, -17.0) for step in range(3))
        >>> _, (axes,) = style.canvas(4, 3)
        >>> draw(axes, memory, tolerance=1e-9)
        >>> axes.texts[0].get_text()
        'equal to the last bit: 3 of 3 comparisons'
    """
    curves = _curves(memory)
    values = np.concatenate([values for _, values in curves.values()])
    limit = np.log10(tolerance) if tolerance else exact
    # Room is left below and above the dots for the two sentences.
    axes.set_ylim(exact - 2, max([*values[np.isfinite(values)], exact + 2, limit]) + 2)
    _draw_dots(axes, curves)
    _draw_exact(axes, exact, f"{np.sum(values <= exact):,} of {len(values):,}")
    if tolerance:
        _draw_tolerance(axes, tolerance)
    style.mark_nonfinite(axes, curves.values())
    style.legend_below(axes, markerscale=2)
    style.dress(axes, "Agreement", CAPTION, style.STEP, "log₁₀ of the relative error\n(−7: seven digits agree)")


def _curves(memory: MemorySink) -> _Curves:
    """Steps and values of each parameter, the one with the largest error first."""
    curves = {tag: curve for tag, curve in memory.scalars(PREFIX).items() if tag.endswith(SUFFIX)}

    def worst(tag: str) -> tuple[float, float]:
        values = curves[tag][1]
        finite = values[np.isfinite(values)]
        return -np.max(np.nan_to_num(values, nan=np.inf)), -np.max(finite, initial=-np.inf)

    return {tag[len(PREFIX) : -len(SUFFIX)]: curves[tag] for tag in sorted(curves, key=worst)}


def _draw_dots(axes: Axes, curves: _Curves) -> None:
    others = len(curves) - MOST_NAMES
    looks = [(color, 4, 3) for color, _ in style.line_styles(MOST_NAMES)]
    looks += [(style.GREY, 3, 2)] * others
    labels = style.shorten_all(list(curves))[:MOST_NAMES]
    labels += [f"{others} more, with smaller errors", *[""] * others][: max(others, 0)]
    for curve, (color, size, zorder), label in zip(curves.values(), looks, labels, strict=False):
        axes.plot(*curve, ".", color=color, markersize=size, label=label or None, zorder=zorder)


def _draw_exact(axes: Axes, exact: float, share: str) -> None:
    bottom = axes.get_ylim()[0]
    axes.axhspan(bottom, exact + 0.5, color=style.GREEN, alpha=0.12, linewidth=0)
    _write(axes, f"equal to the last bit: {share} comparisons", bottom + 0.25, style.GREEN, va="bottom")


def _draw_tolerance(axes: Axes, tolerance: float) -> None:
    height, top = np.log10(tolerance), axes.get_ylim()[1]
    axes.axhline(height, color=style.VERMILLION, linestyle="--", linewidth=1.5)
    axes.axhspan(height, top, color=style.VERMILLION, alpha=0.08, linewidth=0)
    text = f"tolerance {style.number(tolerance)} (dashed): above it the two disagree"
    _write(axes, text, top - 0.25, style.VERMILLION, va="top")


def _write(axes: Axes, text: str, height: float, color: str, va: str) -> None:
    axes.text(0.01, height, text, transform=axes.get_yaxis_transform(), color=color, va=va, zorder=5)
