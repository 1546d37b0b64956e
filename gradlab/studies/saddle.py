"""A saddle point: who starts on its ridge stays, and who starts a little beside it leaves at a rate that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.figures.contour import PATH
from gradlab.losses import Surface
from gradlab.sinks import MemorySink
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.law import Law, has_constant_curvature


@dataclass(frozen=True, slots=True)
class SaddlePoint:
    """Where the gradient is zero, and the surface falls in one direction and rises in the other.

    Attributes:
        place: [2].
        falling, rising: the curvatures: the negative and the positive eigenvalue of the Hessian.
        downwards, upwards: the directions that belong to them, [2] each.
        is_even: whether the curvatures are the same everywhere, so that theory holds at any distance.
    """

    place: np.ndarray
    falling: float
    rising: float
    downwards: np.ndarray
    upwards: np.ndarray
    is_even: bool


@dataclass(frozen=True, slots=True)
class Leaving:
    """One descent from beside a saddle.

    Attributes:
        name: of the variant.
        path: [n, 2].
        aside: the distance from the ridge at each step, [n].
        law: what theory says; None for an optimizer without such a law.
        needed: the steps until the study's distance is reached, infinite where it is not.
        memory: what was recorded.
    """

    name: str
    path: np.ndarray
    aside: np.ndarray
    law: Law | None
    needed: float
    memory: MemorySink


class Saddle:
    """Descents that start beside a saddle point of a surface over the plane, and how many steps each needs to leave.

    Args:
        aside: for each descent, by name, how far beside the ridge it starts.
        overrides: for each descent what is set otherwise, as on the command line.
        near: a point near the saddle, [2]; Newton's method finds the saddle itself.
        along: how far from the saddle each descent starts along the ridge.
        away: the distance from the ridge that counts as having left.
    """

    def __init__(
        self,
        aside: Mapping[str, float],
        overrides: Mapping[str, Sequence[str]],
        near: Sequence[float] = (0.0, 0.0),
        along: float = 1.5,
        away: float = 1.0,
    ) -> None:
        if not aside or set(overrides) - set(aside):
            raise BadInput("study.aside: say for every descent how far beside the ridge it starts")
        self._aside = {name: float(distance) for name, distance in aside.items()}
        self._overrides = {name: list(overrides.get(name, ())) for name in aside}
        self._near, self._along, self._away = tuple(map(float, near)), float(along), float(away)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import saddle as picture  # matplotlib is slow to import

        saddle = saddle_near(setting.surface, self._near)
        ridge = saddle.place + self._along * saddle.upwards
        starts = {name: (ridge + distance * saddle.downwards).tolist() for name, distance in self._aside.items()}
        runs = setting.run({name: [*self._overrides[name], f"loss.start={starts[name]}"] for name in starts})
        descents = [self._leaving(run, saddle) for run in runs]
        laws = {d.name: d.law for d in descents if d.law is not None}
        predicted = {name: law.steps_until(self._aside[name], self._away) for name, law in laws.items()}
        return Findings(
            numbers={
                "curvature down": saddle.falling,
                **{f"factor, {name}": law.factor for name, law in laws.items()},
                **{f"predicted steps, {name}": steps for name, steps in predicted.items()},
                **{f"steps, {d.name}": d.needed for d in descents},
                **{f"end, {d.name}": float(np.linalg.norm(d.path[-1] - saddle.place)) for d in descents},
            },
            title=f"saddle at {saddle.place.round(4).tolist()}, curvatures {saddle.falling:.4g}, {saddle.rising:.4g}",
            rows=[
                ("descent", "starts aside by", "factor per step", f"steps until {self._away:g}", "predicted"),
                *((d.name, f"{self._aside[d.name]:g}", *_cells(d, predicted.get(d.name))) for d in descents),
            ],
            figures={"saddle": picture.figure(descents, self._away)},
            errors={f"the law of growth, {d.name}": _error(d, d.law) for d in descents if d.law and saddle.is_even},
            statuses={run.name: run.status for run in runs},
        )

    def _leaving(self, run: Finished, saddle: SaddlePoint) -> Leaving:
        path = run.memory.arrays(PATH)[1]
        aside = np.abs((path - saddle.place) @ saddle.downwards)
        gone = np.flatnonzero(aside >= self._away)
        needed = float(gone[0]) if len(gone) else math.inf
        law = law_of(run, self._overrides[run.name], saddle.falling)
        return Leaving(run.name, path, aside, law, needed, run.memory)


def saddle_near(surface: Surface, near: Sequence[float]) -> SaddlePoint:
    """The saddle of a surface over the plane that Newton's method comes to.

    Raises:
        BadInput: it comes to no saddle.

    Example:
        >>> from gradlab.losses import Himmelblau
        >>> found = saddle_near(Himmelblau(), (3.4, 0.1))
        >>> found.place.round(4).tolist(), found.falling < 0 < found.rising
        ([3.3852, 0.0739], True)
    """
    if surface.dimension != 2:
        raise BadInput("this study draws a surface over the plane: set loss.dimension=2")
    place = _newton(surface, np.array(near))
    if place is None:
        raise BadInput(f"{surface.name} has no saddle near {list(near)}: set study.near to a point close to one")
    (falling, rising), directions = np.linalg.eigh(surface.hessian_at(place))
    if not falling < 0 < rising:
        raise BadInput(f"{surface.name} has another flat point near {list(near)}, no saddle: change study.near")
    down, up = (directions * np.where(directions.sum(axis=0) < 0, -1, 1)).T
    return SaddlePoint(place, float(falling), float(rising), down, up, has_constant_curvature(surface))


def _newton(surface: Surface, place: np.ndarray) -> np.ndarray | None:
    """Where the gradient is zero; None where Newton's method does not get there."""
    for _ in range(50):
        gradient, hessian = surface.gradient_at(place), surface.hessian_at(place)
        if not np.isfinite(hessian).all() or np.linalg.matrix_rank(hessian) < 2:
            return None
        place = place - np.linalg.solve(hessian, gradient)
    return place if np.abs(surface.gradient_at(place)).max() < 1e-8 else None


def law_of(run: Finished, overrides: Sequence[str], curvature: float) -> Law | None:
    """The law of a run's optimizer, where it is gradient descent, with momentum or without."""
    settings = run.memory.hparams.settings if run.memory.hparams is not None else {}
    chosen = [text.removeprefix("optimizer=") for text in overrides if text.startswith("optimizer=")]
    if [settings.get("optimizer"), *chosen][-1] not in ("sgd", "momentum"):
        return None
    return Law(float(settings["optimizer.lr"]), curvature, float(settings.get("optimizer.momentum", 0.0)))


def _error(descent: Leaving, law: Law) -> float:
    """Of the distances from the ridge, against the law: the largest gap at any step, over the largest distance."""
    said = law.distances(float(descent.aside[0]), len(descent.aside) - 1)
    largest = float(np.abs(said).max())
    return float(np.abs(descent.aside - np.abs(said)).max() / (largest or 1.0))


def _cells(descent: Leaving, predicted: float | None) -> tuple[str, str, str]:
    """The factor, and the steps until it has left, measured and predicted; empty where there is no law."""
    factor = "" if descent.law is None else f"{descent.law.factor:.4g}"
    needed = _count(descent.needed, f"not within {len(descent.path) - 1}")
    return factor, needed, "" if predicted is None else _count(predicted, "never")


def _count(steps: float, otherwise: str) -> str:
    return otherwise if math.isinf(steps) else f"{steps:.0f}"
