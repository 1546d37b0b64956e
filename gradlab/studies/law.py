"""Gradient descent, with momentum or without, along one direction of constant curvature, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gradlab.losses import Surface

MOST = 100_000  # steps that are looked ahead

Number: TypeAlias = float | np.ndarray


@dataclass(frozen=True, slots=True)
class Law:
    """v ← momentum · v + λ y, then y ← y − lr · v, for the distance y from a place where the gradient is zero.

    Both are linear in (y, v), so that a step is a matrix and many steps are its powers. Arrays of settings, which are
    broadcast against each other to a shape […], are as many laws at once.

    Attributes:
        rate: the learning rate lr.
        curvature: λ, the second derivative in this direction: negative where the surface falls to both sides.
        momentum: 0 for plain gradient descent.

    References:
        B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, USSR Computational
        Mathematics and Mathematical Physics 4(5), 1964.

    Example:
        >>> Law(rate=0.1, curvature=2.0).distances(1.0, 3).round(9).tolist()
        [1.0, 0.8, 0.64, 0.512]
        >>> Law(rate=0.1, curvature=np.array([2.0, 10.0])).factors.round(9).tolist()
        [0.8, 0.0]
    """

    rate: Number
    curvature: Number
    momentum: Number = 0.0

    @property
    def matrix(self) -> np.ndarray:
        """What one step does to (y, v), […, 2, 2]."""
        lr, curvature, m = np.broadcast_arrays(self.rate, self.curvature, self.momentum)
        rows = [[1 - lr * curvature, -lr * m], [curvature, m]]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    @property
    def factors(self) -> np.ndarray:
        """As `factor`, of each of several laws, […]."""
        return np.abs(np.linalg.eigvals(self.matrix)).max(axis=-1)

    @property
    def factor(self) -> float:
        """By what the distance is multiplied at each step in the long run; without momentum |1 − lr · λ|.

        Example:
            >>> round(Law(rate=0.05, curvature=-2.0).factor, 12)
            1.1
        """
        return float(self.factors)

    def distances(self, start: float, steps: int) -> np.ndarray:
        """y at steps 0, 1, …, [steps + 1, …], for a descent that starts at y = ``start``, at rest."""
        matrix = self.matrix
        state = np.zeros((*matrix.shape[:-1], 1))
        state[..., 0, 0] = start
        found = np.empty((steps + 1, *matrix.shape[:-2]))
        found[0] = start
        for step in range(steps):
            state = matrix @ state
            found[step + 1] = state[..., 0, 0]
        return found

    def steps_until(self, start: float, away: float) -> float:
        """The first step at which a growing distance is at least ``away``; infinite where there is none.

        Example:
            >>> Law(rate=0.05, curvature=-2.0).steps_until(1e-6, 1.0), math.log(1e6) / math.log(1.1)
            (145.0, 144.95...)
        """
        matrix, state, count = self.matrix, np.array([start, 0.0]), 0
        while 0 < state[0] < away and count < MOST:
            state, count = matrix @ state, count + 1
        return float(count) if state[0] >= away else math.inf


def has_constant_curvature(surface: Surface) -> bool:
    """Whether all second derivatives are the same everywhere, by their closed form: then a law holds at any distance.

    Example:
        >>> from gradlab.losses import Booth, Himmelblau
        >>> has_constant_curvature(Booth()), has_constant_curvature(Himmelblau())
        (True, False)
    """
    symbols, formula = surface.expression()
    second = (formula.diff(s, t).expand() for s in symbols for t in symbols)
    return not any(each.free_symbols for each in second)
