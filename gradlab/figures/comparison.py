"""Several runs in one picture: each figure takes their records by the name of the run."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import contour, gradient_depth, style, together
from gradlab.figures.loss import TAG as LOSS
from gradlab.sinks import MemorySink

Runs = Mapping[str, MemorySink]
MOST_PATHS = 4  # in one panel: more are a knot
ABOVE = 30  # times the largest loss of the runs that go on: there the picture ends
SETTINGS = "the same descent under different settings"
LEAVERS = "; ▲: a run that diverged, with its last finite loss"


def losses(runs: Runs) -> Figure:
    """The loss of every run at every step, on a logarithmic axis where all are positive.

    Runs that diverged, and whose losses would press all others flat, leave at the top, where they are named.
    """
    picture, (axes,) = style.canvas(10, 6.5)
    curves = {name: memory.scalars(LOSS)[LOSS] for name, memory in runs.items() if LOSS in memory.scalars(LOSS)}
    draw_curves(axes, curves)
    caption = SETTINGS + LEAVERS * cut_off(axes, curves)
    style.dress(axes, "Loss", caption, style.STEP, "loss")
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


def draw_curves(
    axes: Axes,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    log: bool | None = None,
    looks: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Named curves over the steps, told apart by colour and dashes.

    Args:
        axes: where to draw.
        curves: steps [n] and values [n] of each.
        log: whether the axis is logarithmic; None makes it so where every finite value is positive.
        looks: a colour and a dash pattern for each name; None takes those of `style.line_styles`.
    """
    looks = dict(zip(curves, style.line_styles(len(curves)), strict=True)) if looks is None else looks
    finite = [values[np.isfinite(values)] for _, values in curves.values()]
    positive = all(np.all(values > 0) for values in finite)
    axes.set_yscale("log" if (positive if log is None else log) else "linear")
    for name, (steps, values) in curves.items():
        color, dash = looks[name]
        dot = "o" if len(steps) == 1 else None  # a run that diverged at once leaves a single point, which is no line
        axes.plot(steps, values, dash, color=color, label=name, marker=dot)
    style.legend_below(axes)


def cut_off(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> bool:
    """End a logarithmic axis above the runs that went on to the end, and name those that leave it at the top.

    Args:
        axes: holds the curves, as `draw_curves` made them.
        curves: steps [n] and values [n] of each.

    Returns:
        Whether any leaves.
    """
    longest = max(len(values) for _, values in curves.values())
    whole = [values for _, values in curves.values() if len(values) == longest and np.isfinite(values).all()]
    if not whole or axes.get_yscale() != "log":
        return False
    top = ABOVE * max(values.max() for values in whole)
    known = {name: (steps, values, np.isfinite(values)) for name, (steps, values) in curves.items()}
    finite = {name: (steps[own], values[own]) for name, (steps, values, own) in known.items()}
    leavers = {name: curve for name, curve in finite.items() if curve[1].max(initial=0.0) > top}
    if not leavers:
        return False
    axes.set_ylim(0.5 * min(values.min() for values in whole), top)
    colors = {line.get_label(): line.get_color() for line in axes.lines}
    for row, (name, (steps, values)) in enumerate(leavers.items()):
        at, along = (steps[np.argmax(values > top)], 0.96 - 0.06 * row), axes.get_xaxis_transform()
        axes.plot(*at, "^", color=colors[name], markersize=11, transform=along, zorder=5)
        text = f"{name}: {values[-1]:.0e} at step {steps[-1]}"
        axes.annotate(text, at, (12, 0), xycoords=along, textcoords="offset points", va="center", fontsize=12)
    return True


def descents(runs: Runs) -> Figure:
    """The paths from above, a few in each panel, and in the last panel the losses of all."""
    paths, ground = together.paths_of(runs), together.ground_of(runs)
    names = list(runs)
    looks = dict(zip(names, style.many_styles(len(names)), strict=True))
    groups = [names[place : place + MOST_PATHS] for place in range(0, len(names), MOST_PATHS)]
    rows = -(-(len(groups) + 1) // 2)
    side = 8.5 if rows == 1 else 7.0
    picture, panels = style.canvas(2 * side, side * rows, rows=rows, columns=2)
    for axes, group in zip(panels, groups, strict=False):
        title = "All paths" if len(groups) == 1 else ", ".join(group)
        own = {name: paths[name] for name in group}
        solid = [(looks[name][0], "-") for name in group]
        together.draw(axes, own, ground, title, looks=solid, widen=1.3)
        style.legend_below(axes)
    right, *unused = panels[len(groups) :]
    for axes in unused:
        axes.set_visible(False)
    curves = {name: memory.scalars(LOSS)[LOSS] for name, memory in runs.items()}
    reaches = all(np.all(values[np.isfinite(values)] >= 0) for _, values in curves.values())
    draw_curves(right, curves, log=reaches, looks=looks)
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
