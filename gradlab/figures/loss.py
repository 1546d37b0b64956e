"""The loss at every step."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import style
from gradlab.sinks import MemorySink

TAG = "loss/train"
CAPTION = "how wrong the model is; training goes against the gradient, downhill"


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
    """Draw the loss, with its first and last value.

    Args:
        axes: where to draw.
        memory: holds ``loss/train``.
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
    steps, values = memory.scalars(TAG)[TAG]
    log = _positive(memory) if log is None else log
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
    style.dress(axes, "Loss", CAPTION, style.STEP, "loss (logarithmic)" if log else "loss")


def _positive(memory: MemorySink) -> bool:
    values = memory.scalars(TAG)[TAG][1]
    finite = values[np.isfinite(values)]
    return bool(len(finite) and np.all(finite > 0))
