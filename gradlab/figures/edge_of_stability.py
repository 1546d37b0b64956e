"""The sharpness of a network in training against the limit of each learning rate, and the losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from gradlab.figures import style
from gradlab.figures.comparison import draw_curves
from gradlab.figures.loss import TAG as LOSS

if TYPE_CHECKING:
    from gradlab.studies.edge_of_stability import Training

SHARPNESS = "the largest curvature of the loss, where the network stands; dashed: the limit 2/lr"
LOSSES = "bumps: the sharpness was beyond the limit; yet in the long run it falls"


def figure(trainings: Sequence[Training]) -> Figure:
    """The sharpness over the steps on the left, with the limits; the losses on the right."""
    picture, (left, right) = style.canvas(17, 7.5, columns=2)
    for training, color in zip(trainings, style.COLORS, strict=False):
        label = f"lr = {style.number(training.rate)}, limit {style.number(training.limit)}"
        left.plot(training.steps, training.sharpness, color=color, label=label)
        left.axhline(training.limit, color=color, linestyle="--")
    left.set_ylim(bottom=0)
    style.legend_below(left)
    style.dress(left, "Sharpness", SHARPNESS, style.STEP, "largest eigenvalue of the Hessian")
    draw_curves(right, {f"lr = {style.number(t.rate)}": t.memory.scalars(LOSS)[LOSS] for t in trainings})
    style.dress(right, "Loss", LOSSES, style.STEP, "loss (logarithmic)")
    return picture
