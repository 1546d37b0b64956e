"""Optimizers by hand: one file a rule, with its formula. Each is a ``torch.optim.Optimizer`` and takes its place.

First come the rules that torch has too, and agree with it to rounding; then two that it lacks, which take second
derivatives from gradlab's handwritten sweep.
"""

from gradlab.optimizers.adagrad import Adagrad
from gradlab.optimizers.adam import Adam
from gradlab.optimizers.adamw import AdamW
from gradlab.optimizers.base import Handwritten
from gradlab.optimizers.gauss_newton import GaussNewton, jacobian
from gradlab.optimizers.momentum import Momentum
from gradlab.optimizers.nesterov import Nesterov
from gradlab.optimizers.newton import Newton, hessian
from gradlab.optimizers.rmsprop import Rmsprop
from gradlab.optimizers.second_order import Curvature, SecondOrder
from gradlab.optimizers.sgd import Sgd

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "Curvature",
    "GaussNewton",
    "Handwritten",
    "Momentum",
    "Nesterov",
    "Newton",
    "Rmsprop",
    "SecondOrder",
    "Sgd",
    "hessian",
    "jacobian",
]
