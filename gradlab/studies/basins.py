"""Basins of attraction: which minimizer each starting point of the plane comes to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from gradlab.errors import BadInput
from gradlab.models.starts import Box, starting_points
from gradlab.probes.arrivals import NEVER
from gradlab.studies.again import again
from gradlab.studies.base import Findings, Finished, Setting, checked_variants
from gradlab.studies.basin_map import GONE, NOWHERE, Basins, Map, Minimizer, known, reached_by

MOST_COLUMNS = 6  # of minimizers, in the table
ARRIVALS = "population/arrival"


class BasinMaps:
    """Descends from every pixel of a window, by several optimizers, and maps where each ends.

    Args:
        variants: a name for each optimizer, and its overrides, as on the command line.
        resolution: pixels along each axis, from 2 on.
        window: an interval for each coordinate; None: the surface's own.
        near: the distance from a minimizer within which a point has come to it.
        witnesses: how many starts are descended again, by closed-form gradients and handwritten rules.

    The runs need the probe ``arrivals``.
    """

    def __init__(
        self,
        variants: Mapping[str, Sequence[str]],
        resolution: int = 200,
        window: Box | None = None,
        near: float = 0.1,
        witnesses: int = 10,
    ) -> None:
        if not isinstance(resolution, int) or resolution < 2:
            raise BadInput(f"study.resolution={resolution}: give a whole number from 2 on, the pixels along each axis")
        if not near > 0:
            raise BadInput(f"study.near={near}: give a distance above 0")
        self._variants = checked_variants(variants)
        self._resolution, self._window = resolution, window
        self._near, self._witnesses = float(near), int(witnesses)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import basins as picture  # matplotlib is slow to import

        surface = setting.surface
        if surface.dimension != 2:
            raise BadInput("this study draws a map of the plane: set loss.dimension=2")
        window = surface.box if self._window is None else self._window
        starts = self._starts(window)
        goals = known(surface, window)
        runs = setting.run({name: [*own, *self._common(window, goals)] for name, own in self._variants.items()})
        maps = tuple(self._map(run, starts, goals) for run in runs)
        found = Basins(surface, window, goals, self._near, maps)
        return Findings(
            numbers=_numbers(found),
            title=f"{surface.name}: of {len(starts):,} starts, how many come to each minimizer",
            rows=_rows(found),
            figures={"basins": picture.figure(found)},
            errors={f"the closed form, {m.name}": m.witness.error for m in maps if m.witness is not None},
            statuses={run.name: run.status for run in runs},
        )

    def _starts(self, window: Box) -> Tensor:
        try:
            return starting_points("grid", self._resolution**2, [0.0, 0.0], window)
        except ValueError as error:
            raise BadInput(
                f"study.window={window}: give an interval for x and one for y, such as '[[-2,2],[0,1]]'"
            ) from error

    def _common(self, window: Box, goals: Sequence[Minimizer]) -> list[str]:
        """What the runs of all variants share, as overrides."""
        return [
            f"model.population={self._resolution**2}",
            "model.starts=grid",
            f"model.window={json.dumps([list(map(float, pair)) for pair in window])}",
            f"probes.arrivals.goal={json.dumps([goal.place.tolist() for goal in goals])}",
            f"probes.arrivals.near={self._near!r}",
        ]

    def _map(self, run: Finished, starts: Tensor, goals: Sequence[Minimizer]) -> Map:
        ends = next(run.model.parameters()).detach().cpu()
        reached = reached_by(ends, np.stack([goal.place for goal in goals]), self._near)
        arrival = run.memory.arrays(ARRIVALS)[1][-1]
        steps = np.where((arrival != NEVER) & (reached >= 0), arrival, np.nan)
        few = np.random.default_rng(0).permutation(len(starts))[: self._witnesses]
        witness = again(run, starts[few].numpy(), ends[few].numpy())
        return Map(run.name, self._upright(reached), self._upright(steps), witness)

    def _upright(self, values: np.ndarray) -> np.ndarray:
        """From the grid's order, in which x changes slowest, to [y, x]."""
        return values.reshape(self._resolution, self._resolution).T


def _numbers(found: Basins) -> dict[str, float]:
    goals = {number: found.minimizers[number] for number in found.largest(MOST_COLUMNS)}
    numbers = {f"2/lambda max, {goal.name}": goal.limit for goal in goals.values()}
    for one in found.maps:
        numbers |= {f"share {goal.name}, {one.name}": one.share(number) for number, goal in goals.items()}
        numbers |= {f"share at none, {one.name}": one.share(NOWHERE), f"share diverged, {one.name}": one.share(GONE)}
        numbers[f"median steps, {one.name}"] = one.median
        if one.witness is not None:
            numbers[f"descended again, {one.name}"] = one.witness.compared
            numbers[f"left to rounding, {one.name}"] = one.witness.by_chance
    return numbers


def _rows(found: Basins) -> list[Sequence[str]]:
    columns = found.largest(MOST_COLUMNS)
    others = [number for number in range(len(found.minimizers)) if number not in columns]
    rest = [f"{len(others)} others"] if others else []
    ends = ["at none", "diverged", "median steps"]
    limits = [f"{found.minimizers[number].limit:.4g}" for number in columns]
    return [
        ["descent", *(str(found.minimizers[number]) for number in columns), *rest, *ends],
        ["2/λmax", *limits, *[""] * len([*rest, *ends])],
        *(_row(one, columns, others) for one in found.maps),
    ]


def _row(one: Map, columns: Sequence[int], others: Sequence[int]) -> list[str]:
    shares = [one.share(number) for number in columns]
    if others:
        shares.append(sum(one.share(number) for number in others))
    shares += [one.share(NOWHERE), one.share(GONE)]
    return [one.name, *(f"{share:.1%}" for share in shares), "" if math.isnan(one.median) else f"{one.median:.0f}"]
