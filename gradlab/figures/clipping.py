"""The gradient's norm before and after clipping, by how much clipping turned it, and where the descents went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import contour, style, together
from gradlab.sinks import MemorySink

if TYPE_CHECKING:
    from gradlab.studies.clipping import Steps

NORMS = "dashed: before clipping, solid: after it"
LEAVES = "; a diverging run leaves at the top"
TURNS = "0° means: straight downhill, however short the step"
MAP = "the surface from above; a ring at the end of each path;\na path that leaves the map does not come back"


def figure(found: Mapping[str, Steps]) -> Figure:
    """On the left the norms of each run over its steps, on the right the angles between gradients and steps.

    Shown are the steps until nothing is clipped any more, and as many again.
    """
    picture, (left, right) = style.canvas(17, 8, columns=2)
    for (name, steps), (color, _) in zip(found.items(), style.line_styles(len(found)), strict=True):
        index = np.arange(len(steps.before))
        left.plot(index, steps.before, "--", color=color)
        left.plot(index, steps.after, "-", color=color, label=name)
        right.plot(index, steps.turned, "-", color=color, label=name)
    shown = _shown(found)
    left.set_xlim(-0.02 * shown, shown)
    right.set_xlim(-0.02 * shown, shown)
    _finish(left, found, shown)
    style.legend_below(right)
    style.dress(right, "By how much the step turns away", TURNS, style.STEP, "angle to the gradient in degrees")
    return picture


def map_of(runs: Mapping[str, MemorySink]) -> Figure:
    """All paths over the smallest window that was recorded, each until it has left it."""
    ground = min(runs.values(), key=together.width_of)
    x, y = (ground.arrays(tag)[1][-1] for tag in contour.SURFACE[:2])
    view = contour.View(np.array([x.min(), y.min()]), np.array([x.max(), y.max()]))
    paths = {name: path[: _leaving(path, view) + 1] for name, path in together.paths_of(runs).items()}
    picture, (axes,) = style.canvas(10.5, 10)
    together.draw(axes, paths, ground, "At the cliff", MAP, bar=True)
    style.legend_below(axes)
    return picture


def _leaving(path: np.ndarray, view: contour.View) -> int:
    """The index of the first point [2] of a path [n, 2] that is not in view; n where all are."""
    return next((place for place, point in enumerate(path) if not view.holds(point)), len(path))


def _shown(found: Mapping[str, Steps]) -> int:
    """How many steps are shown."""
    last = [int(np.flatnonzero(steps.clipped)[-1]) for steps in found.values() if steps.clipped.any()]
    return max(1, 2 * max(last) if last else max(len(steps.before) for steps in found.values()))


def _finish(axes: Axes, found: Mapping[str, Steps], shown: int) -> None:
    axes.set_yscale("log")
    clipped = [steps for steps in found.values() if steps.clipped.any()] or list(found.values())
    top = 30 * max(steps.before.max() for steps in clipped)
    used = np.concatenate([steps.after[:shown] for steps in found.values()])
    low = used[used > 0].min(initial=1.0)
    axes.set_ylim(low / 3, min(top, style.LARGEST))
    leaves = any(steps.before.max() > top for steps in found.values())
    style.legend_below(axes)
    style.dress(axes, "The gradient's norm", NORMS + LEAVES * leaves, style.STEP, "norm (logarithmic)")
