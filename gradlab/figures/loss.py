"""The loss at every step; of a population, that of each member and the median."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style
from gradlab.sinks import MemorySink

TAG = "loss/train"
MEDIAN = "loss/median"
MEMBERS = "loss/member/"
SMALLEST = 1e-250  # what is below counts as 0: a logarithmic axis needs room beneath the last number
CAPTION = "how wrong the model is; training goes against the gradient, downhill"
CAPTION_OF_MANY = "the median of the population (thick) and its members (thin)"


def ready(memory: MemorySink) -> bool:
    """Whether the records that this figure needs have come: ``loss/train``.

    Example:
        >>> ready(MemorySink())
        False
    """
    return TAG in memory.scalars(TAG)


def figure(memory: MemorySink) -> Figure:
    """The loss on a linear axis, and beside it on a logarithmic one if it is positive throughout.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("loss/train", 0, 2.0), Scalar("loss/train", 1, 1.0)])
        >>> [axes.get_yscale() for axes in figure(memory).axes]
        ['linear', 'log']
    """
    scales = [False, True] if _positive(memory) else [False]
    picture, panels = style.canvas(8 * len(scales), 5.5, columns=len(scales))
    for axes, log in zip(panels, scales, strict=True):
        draw(axes, memory, log=log)
    return picture


def draw(axes: Axes, memory: MemorySink, *, log: bool | None = None) -> None:
    """Draw the loss, with its first and last value; in the place of a population's sum, its median and its members.

    Args:
        axes: where to draw.
        memory: holds ``loss/train``, or ``loss/median`` too.
        log: whether the axis is logarithmic; None makes it so if the loss is positive throughout.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write([Scalar("loss/train", 0, -2.0), Scalar("loss/train", 1, -3.0)])
        >>> _, (axes,) = style.canvas(4, 3)
        >>> draw(axes, memory)
        >>> axes.get_yscale()
        'linear'
    """
    tag = _tag(memory)
    steps, values = _curve(memory.scalars(tag)[tag])
    log = _positive(memory) if log is None else log
    for member in memory.scalars(MEMBERS).values():
        axes.plot(*_curve(member), color=style.GREY, linewidth=0.7, alpha=0.7)
    axes.plot(steps, values, color=style.BLUE)
    axes.set_yscale("log" if log else "linear")
    axes.margins(y=0.15)
    finite = np.flatnonzero(np.isfinite(values))
    for index, offset in zip(np.unique(finite[[0, -1]]) if len(finite) else (), [(5, 7), (9, -5)], strict=False):
        point = steps[index], values[index]
        axes.plot(*point, "o", color=style.BLUE)
        axes.annotate(style.number(float(point[1])), point, xytext=offset, textcoords="offset points")
    if style.mark_nonfinite(axes, [(steps, values)]):
        style.legend_below(axes)
    caption = CAPTION if tag == TAG else CAPTION_OF_MANY
    style.dress(axes, "Loss", caption, style.STEP, "loss (logarithmic)" if log else "loss")


def _tag(memory: MemorySink) -> str:
    return MEDIAN if MEDIAN in memory.scalars(MEDIAN) else TAG


def _curve(series: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    steps, values = series
    return steps, np.where(np.abs(values) < SMALLEST, 0.0, values)


def _positive(memory: MemorySink) -> bool:
    tag = _tag(memory)
    values = _curve(memory.scalars(tag)[tag])[1]
    finite = values[np.isfinite(values)]
    return bool(len(finite) and np.all(finite > 0))
