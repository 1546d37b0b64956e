"""Slopes by one entry at points around x: a kink may not show where this entry moves alone.

The smallest singular value of a matrix that has two of 0 does not change with any one entry; at all points around, it
does. There the function has no derivative, and Clarke's subgradients are what the slopes at points around tend to, and
all between them (*Optimization and Nonsmooth Analysis*, 1983, §2.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.witnesses.moves import Moves, flat

NEAR, FAR = 32.0, 64.0  # steps of a central difference between x and points around it, and so many times as many
FEW, MANY = 4, 16  # random directions: to see whether the slope jumps, and how far
SHARPEST = 1e-10  # the rounding unit; above, NEAR steps are not near


@dataclass(frozen=True, slots=True)
class Around:
    """The least and the largest slope near x.

    Attributes:
        low, high: of the slopes.
        jump: by how much the slope changes in no distance; 0 where it changes less the nearer the points are.
    """

    low: float
    high: float
    jump: float


def slopes_around(moves: Moves, name: str, place: int, direction: complex, scale: Tensor, error: float) -> Around:
    """Looks at the slopes by an entry at random points near x, and at others FAR times as far.

    Where a function is smooth, slopes at the near points differ FAR times less from one another; at a kink as much.

    Args:
        name: of the variable.
        place: of the entry in the flat variable.
        direction: 1, or 1j to move a complex entry along the imaginary axis.
        scale: of the flat variable's entries.
        error: what roundings make of L.
    """
    if moves.epsilon > SHARPEST:
        return Around(0.0, 0.0, 0.0)
    x = moves.problem.variables[name].tensor.detach()
    unit = scale.to(x.device) * moves.epsilon ** (1 / 3)
    step = float(unit[place])
    own = torch.zeros(x.numel(), dtype=x.dtype, device=x.device)
    own[place] = torch.tensor(step * direction, dtype=x.dtype)

    def slope(away: Tensor) -> float:
        up, down = (moves.along(name, (away + way).reshape(x.shape), torch.ones(1)) for way in (own, -own))
        return float((up - down) / (2 * step))

    def slopes(distance: float, ways: list[Tensor]) -> list[float]:
        return [slope((sign * distance * unit * way).to(x.dtype)) for way in ways for sign in (1, -1)]

    ways = _ways(x)
    near, far = (slopes(distance, ways[:FEW]) for distance in (NEAR, FAR * NEAR))
    spread = max(near) - min(near)
    if not spread > max((max(far) - min(far)) / FAR**0.5, 4 * error / (2 * step)):
        return Around(min(near), max(near), 0.0)
    near += slopes(NEAR, ways[FEW:])
    return Around(min(near), max(near), max(near) - min(near))


def _ways(x: Tensor) -> list[Tensor]:
    """Random directions, with entries of ½ to 1½ and of either sign."""
    generator = torch.Generator().manual_seed(2)
    sign, size = (torch.rand(MANY, flat(x).numel(), generator=generator, dtype=torch.float64) for _ in range(2))
    return list((torch.where(sign < 0.5, -1.0, 1.0) * (0.5 + size)).to(x.device))
