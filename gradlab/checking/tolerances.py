"""Which differences are none: what roundings make of a gradient, in relation to its size and to L's."""

from __future__ import annotations

import math

from torch import Tensor

from gradlab.witnesses.backward import Backward
from gradlab.witnesses.moves import flat
from gradlab.witnesses.numeric import scale_of

HAPPY = 1e-7
ROUNDINGS = 16
ALL_NOISE = 4096  # roundings inside one operation, such as a normalization by the root of 1e-5


def tolerance_of(backward: Backward) -> float:
    """√ε of the coarsest dtype that took part (see `gradlab.agreement.tolerance_for`), but at least 1e-7.

    1e-7 is where a relative error leaves no doubt by the notes of Stanford's course CS231n on gradient checks. Some of
    PyTorch's kernels hold a constant in single precision, such as the 1/6 of ``hardsigmoid``, and are off by 3e-8.
    """
    return max(math.sqrt(backward.epsilon), HAPPY)


def rounding_floor(x: Tensor, noise: float, largest: float = math.inf) -> float:
    """What roundings alone make of a gradient that is truly zero, where no other one is there to compare with.

    Terms that cancel leave a rounding of each; a gradient by x has the unit L/x.

    Args:
        x: the variable.
        noise: how far roundings may have carried L, see `Backward.noise`.
        largest: the largest gradient entry among all variables: where even that is as small as noise may be, nothing
            but noise is there.
    """
    if not x.numel():
        return 0.0
    unit = noise / float(scale_of(flat(x)).min())
    return (ALL_NOISE if largest <= ALL_NOISE * unit else ROUNDINGS) * unit
