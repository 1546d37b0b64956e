"""Losses: objectives, which compare a prediction with a target, and surfaces, which need none."""

from gradlab.losses.anydimension import Ackley, Quadratic, Rastrigin, Rosenbrock, StyblinskiTang
from gradlab.losses.cliff import Cliff
from gradlab.losses.objectives import L1, Bce, CrossEntropy, Huber, Mse
from gradlab.losses.plane import Beale, Booth, Himmelblau, Saddle
from gradlab.losses.surface import Surface

__all__ = [
    "L1",
    "Ackley",
    "Bce",
    "Beale",
    "Booth",
    "Cliff",
    "CrossEntropy",
    "Himmelblau",
    "Huber",
    "Mse",
    "Quadratic",
    "Rastrigin",
    "Rosenbrock",
    "Saddle",
    "StyblinskiTang",
    "Surface",
]
