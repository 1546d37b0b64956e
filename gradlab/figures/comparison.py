"""Several runs in one picture: each figure takes their records by the name of the run."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import contour, gradient_depth, style, together
from gradlab.figures.loss import TAG as LOSS
from gradlab.sinks import MemorySink

Runs = Mapping[str, MemorySink]


def losses(runs: Runs) -> Figure:
    """The loss of every run at every step, on a logarithmic axis where all are positive."""
    picture, (axes,) = style.canvas(10, 6.5)
    curves = {name: memory.scalars(LOSS)[LOSS] for name, memory in runs.items() if LOSS in memory.scalars(LOSS)}
    draw_curves(axes, curves)
    style.dress(axes, "Loss", "the same descent under different settings", style.STEP, "loss")
    return picture


def paths(runs: Runs) -> Figure:
    """The path of every run across the surface from above, one panel each."""
    columns = min(3, len(runs))
    rows = -(-len(runs) // columns)
    picture, panels = style.canvas(8.5 * columns, 8.5 * rows, rows=rows, columns=columns)
    for axes, (name, memory) in zip(panels, runs.items(), strict=False):
        contour.draw(axes, memory, name)
    for axes in panels[len(runs) :]:
        axes.set_visible(False)
    return picture


def draw_curves(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], log: bool | None = None) -> None:
    """Named curves over the steps, told apart by colour and dashes.

    Args:
        axes: where to draw.
        curves: steps [n] and values [n] of each.
        log: whether the axis is logarithmic; None makes it so where every finite value is positive.
    """
    finite = [values[np.isfinite(values)] for _, values in curves.values()]
    positive = all(np.all(values > 0) for values in finite)
    axes.set_yscale("log" if (positive if log is None else log) else "linear")
    for (name, (steps, values)), (color, dash) in zip(curves.items(), style.line_styles(len(curves)), strict=False):
        dot = "o" if len(steps) == 1 else None  # a run that diverged at once leaves a single point, which is no line
        axes.plot(steps, values, dash, color=color, label=name, marker=dot)
    style.legend_below(axes)


def descents(runs: Runs) -> Figure:
    """All paths in one picture from above, and beside it the losses."""
    picture, (left, right) = style.canvas(17, 8.5, columns=2)
    together.draw(left, together.paths_of(runs), together.ground_of(runs))
    curves = {name: memory.scalars(LOSS)[LOSS] for name, memory in runs.items()}
    draw_curves(right, curves)
    style.legend_below(left)
    is_log = right.get_yscale() == "log"
    if is_log:  # one that has arrived to all digits leaves room for the others
        right.set_ylim(bottom=max(right.get_ylim()[0], 1e-8 * right.get_ylim()[1]))
    name = "loss (logarithmic)" if is_log else "loss"
    style.dress(right, "Loss", "the lower the better; what one step costs differs", style.STEP, name)
    return picture


FIGURES: dict[str, Callable[[Runs], Figure]] = {
    "losses": losses,
    "paths": paths,
    "descents": descents,
    "gradient_depth": gradient_depth.weights,
}
ANIMATIONS: dict[str, Callable[[Runs], bytes]] = {"downhill": together.animation}
