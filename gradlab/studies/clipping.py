"""What clipping does to a gradient: to its length, to its direction, and to the descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.losses import Surface
from gradlab.studies.base import Findings, Finished, Setting, checked_variants

POINT, BEFORE, AFTER = "path/point", "total/norm_before_clipping", "total/norm_after_clipping"


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one run, as long as everything about them is finite.

    Attributes:
        before, after: the gradient's norm before and after clipping, as recorded [n].
        turned: the angle between the gradient, in closed form, and the step that was made against it, in degrees [n].
        error: the largest relative error of ``before`` against the norm in closed form.
    """

    before: np.ndarray
    after: np.ndarray
    turned: np.ndarray
    error: float

    @property
    def clipped(self) -> np.ndarray:
        """Which steps were clipped [n]."""
        return self.after < self.before * (1 - 1e-9)


class Clipping:
    """Runs variants of a descent on a surface, and measures what clipping made of each gradient.

    The gradient is known in closed form at every point of the path, and plain gradient descent shows what was used: it
    moves by −lr times that. So length and direction are measured from outside, without a look at how a trainer clips.

    Args:
        variants: a name for each, and what is set otherwise: ``["trainer.gradient_clip_val=1"]``.

    The runs need ``optimizer=sgd`` and the probes ``path`` and ``gradients`` at every step.
    """

    def __init__(self, variants: Mapping[str, Sequence[str]]) -> None:
        self._variants = checked_variants(variants)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import clipping as picture  # matplotlib is slow to import

        runs = setting.run(self._variants)
        surface = setting.surface  # made anew each time it is asked for
        found = {run.name: steps_of(run, surface) for run in runs}
        return Findings(
            numbers={
                **{f"largest norm {name}": float(steps.before.max()) for name, steps in found.items()},
                **{f"largest norm used {name}": float(steps.after.max()) for name, steps in found.items()},
                **{f"smallest coefficient {n}": float((s.after / s.before).min()) for n, s in found.items()},
                **{f"degrees turned {name}": _most(steps.turned[steps.clipped]) for name, steps in found.items()},
                **{f"steps {run.name}": float(run.metrics["steps"]) for run in runs},
                **{f"distance {run.name}": run.metrics["distance"] for run in runs if "distance" in run.metrics},
            },
            rows=[
                ("variant", "largest norm", "largest used", "turned by at most", "steps", "distance", "status"),
                *(_row(run, found[run.name]) for run in runs),
            ],
            figures={
                "clipping": picture.figure(found),
                "cliff": picture.map_of({run.name: run.memory for run in runs}),
            },
            errors={f"the closed form, {name}": steps.error for name, steps in found.items()},
            statuses={run.name: run.status for run in runs},
        )


def steps_of(run: Finished, surface: Surface) -> Steps:
    """The steps of a run, from its records ``path/point`` and ``total/norm_…``.

    Raises:
        BadInput: a record is missing.
    """
    found = run.memory.scalars("total/")
    if BEFORE not in found or POINT not in run.memory.tags(POINT):
        raise BadInput(f"{run.name}: its steps were not recorded: choose 'probes=[path,gradients]' and optimizer=sgd")
    points = run.memory.arrays(POINT)[1]
    before, after = found[BEFORE][1], found[AFTER][1]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        gradients = np.array([surface.gradient_at(point) for point in points[: len(before)]])
        moves = points[:-1] - points[1:]
        closed = np.linalg.norm(gradients, axis=1)
        good = np.isfinite(closed[: len(moves)]) & np.isfinite(moves).all(axis=1)
        count = int(np.argmin(good)) if not good.all() else len(good)
        error = np.abs(before - closed)[:count] / np.maximum(closed[:count], 1.0)
    return Steps(before[:count], after[:count], angles(gradients[:count], moves[:count]), float(error.max()))


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The angles between vectors [n, 2] and [n, 2] in the plane, in degrees [n].

    Example:
        >>> angles(np.array([[1.0, 0.0], [2.0, 2.0]]), np.array([[0.0, 3.0], [1.0, 1.0]])).tolist()
        [90.0, 0.0]
    """
    turn = np.arctan2(
        a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(axis=1)
    )  # exact for small angles, unlike arccos
    return np.degrees(np.abs(turn))


def _most(values: np.ndarray) -> float:
    return float(values.max(initial=0.0))


def _row(run: Finished, steps: Steps) -> tuple[str, ...]:
    turned = _most(steps.turned[steps.clipped])
    numbers = (steps.before.max(), steps.after.max(), turned, run.metrics["steps"], run.metrics.get("distance", np.nan))
    return (run.name, *(f"{number:.4g}" for number in numbers), run.status)
