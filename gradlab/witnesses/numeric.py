"""Differences of L: every entry once with one step, and a close look at single entries with many.

The central difference D(h) = (L(x+h) − L(x−h)) / 2h has two errors: truncation, h²/6 · L‴, which falls with h, and
rounding, about ε·|L|/h, which grows. They meet near h = ∛ε · |x| (Press et al., *Numerical Recipes*, 3rd ed., §5.7).

The close look takes a sweep of steps. Richardson's extrapolation (4²·D(h/4) − D(h)) / (4² − 1) takes the leading
truncation error away; how far it lies from the next one, together with the rounding, estimates the error that is left,
and the step with the smallest estimate gives the answer (the idea of Ridders, *Advances in Engineering Software* 4(2),
1982). The one-sided slopes (L(x+h) − L(x)) / h and (L(x) − L(x−h)) / h get the same treatment: where they differ, x is
a kink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlab.witnesses.moves import Moves, flat

RATIO = 4.0  # between one step of the sweep and the next
ROUNDINGS = 4.0  # L is known to a few roundings of the terms that it is the sum of


@dataclass(frozen=True, slots=True)
class Slope:
    """A derivative with an estimate of its error."""

    value: float
    error: float

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.value) and math.isfinite(self.error)


@dataclass(frozen=True, slots=True)
class CloseLook:
    """What a sweep of steps at one entry (in one direction, 1 or i, of a complex one) shows.

    Attributes:
        central: the central difference, extrapolated, at its plateau.
        left, right: the one-sided slopes.
        steps: the steps h of the sweep, largest first.
        central_at, left_at, right_at: the plain difference quotients at these steps.
    """

    central: Slope
    left: Slope
    right: Slope
    steps: np.ndarray
    central_at: np.ndarray
    left_at: np.ndarray
    right_at: np.ndarray


def scale_of(x: Tensor) -> Tensor:
    """What counts as a large move for each entry of a flat tensor: its own size, at least the median size of all.

    Example:
        >>> scale_of(torch.tensor([2.0, 0.0, -4.0])).tolist()
        [2.0, 2.0, 4.0]
        >>> scale_of(torch.zeros(2)).tolist()
        [1.0, 1.0]
    """
    size = x.abs().double().cpu()
    some = size[size.isfinite() & (size > 0)]
    usual = some.median() if len(some) else torch.tensor(1.0, dtype=torch.float64)
    return torch.where(size.isfinite(), torch.maximum(size, usual), usual)


def central_differences(moves: Moves, name: str, places: Tensor) -> tuple[Tensor, Tensor]:
    """∂L by each of some entries, by one central difference each; by both directions of a complex one.

    Args:
        name: of the variable.
        places: of the entries in the flat variable, shape [k].

    Returns:
        The derivatives (float64, or complex128 for ∂L/∂Re + i·∂L/∂Im), shape [k], and the rounding error to expect of
        each. Truncation is not in it: only a sweep of steps shows that.
    """
    x = flat(moves.problem.variables[name].tensor)
    step = scale_of(x)[places] * moves.epsilon ** (1 / 3)
    noise = ROUNDINGS * moves.epsilon * moves.problem.magnitude()
    found, errors = [], torch.zeros(len(places), dtype=torch.float64)
    for direction in directions(x.dtype):
        values = torch.cat([_moved(x[places], direction, step), _moved(x[places], direction, -step)])
        above, below = values.chunk(2)
        results = moves.at(name, places.repeat(2), values)
        width = ((above - below).abs()).double().cpu()
        up, down = results.chunk(2)
        found.append((up - down) / width)
        errors = torch.maximum(errors, noise / width)
    return (found[0] if len(found) == 1 else torch.complex(*found)), errors


def directions(dtype: torch.dtype) -> tuple[complex, ...]:
    """The unit moves of an entry: 1, and i for a complex one."""
    return (1, 1j) if dtype.is_complex else (1,)


def look_closely(moves: Moves, name: str, place: int, direction: complex = 1) -> CloseLook:
    """A sweep of steps at one entry.

    Args:
        name: of the variable.
        place: of the entry in the flat variable.
        direction: 1, or 1j to move a complex entry along the imaginary axis.
    """
    x = flat(moves.problem.variables[name].tensor)
    own = x[place : place + 1]
    steps = _sweep(float(scale_of(x)[place]), float(own.abs()), float(torch.finfo(x.dtype).eps))
    h = torch.tensor(steps, dtype=torch.float64)
    values = torch.cat([own, _moved(own.expand(len(h)), direction, h), _moved(own.expand(len(h)), direction, -h)])
    results = moves.at(name, torch.full((len(values),), place), values, one_by_one=True).numpy()
    n = len(steps)
    at, up, down = results[0], results[1 : n + 1], results[n + 1 :]
    moved = (values - own).abs().double().cpu().numpy()  # the steps as the entry's dtype could make them
    right_width, left_width = moved[1 : n + 1], moved[n + 1 :]
    noise = ROUNDINGS * moves.epsilon * moves.problem.magnitude()
    with np.errstate(all="ignore"):
        central = (up - down) / (right_width + left_width)
        right, left = (up - at) / right_width, (at - down) / left_width
        return CloseLook(
            _plateau(central, right_width + left_width, noise, order=2),
            _plateau(left, left_width, noise, order=1),
            _plateau(right, right_width, noise, order=1),
            *(np.array(each) for each in (steps, central, left, right)),
        )


def _sweep(scale: float, size: float, epsilon: float) -> list[float]:
    """Steps from a tenth of the scale down to where nothing but rounding is left, as fine as a tiny entry needs."""
    last = max(min(scale * epsilon**0.75, size * 1e-3 if size else math.inf), scale * 1e-14, 4 * epsilon * size)
    count = max(4, math.ceil(math.log(0.1 * scale / last, RATIO)) + 1)
    return [0.1 * scale * RATIO**-k for k in range(count)]


def _plateau(quotients: np.ndarray, widths: np.ndarray, noise: float, order: int) -> Slope:
    """The difference quotients, extrapolated to h = 0, where they change least.

    Args:
        quotients: at steps that shrink by RATIO each.
        widths: the distance of the two points of each.
        noise: the rounding error of a difference of two values of L.
        order: of the truncation error in h.
    """
    power = RATIO**order
    extrapolated = (power * quotients[1:] - quotients[:-1]) / (power - 1)
    rounding = noise / np.maximum(widths[1:], 1e-300) * (power + 1) / (power - 1)
    # Two changes in a row, of the extrapolated and of the plain quotient: one alone may be small by chance.
    change = np.abs(np.diff(extrapolated))
    plain = np.abs(extrapolated[1:] - quotients[1:-1]) / power
    errors = np.maximum(change, plain if order > 1 else change) + rounding[1:]
    errors[~np.isfinite(errors)] = math.inf
    if not len(errors) or not np.isfinite(errors).any():
        return Slope(math.nan, math.inf)
    best = int(np.argmin(errors))
    return Slope(float(extrapolated[best + 1]), float(errors[best]))


def _moved(x: Tensor, direction: complex, step: Tensor) -> Tensor:
    """x + direction · step, in x's own dtype."""
    offset = step.to(x.device) * direction
    return (x.to(offset.dtype if offset.is_complex() else torch.float64) + offset).to(x.dtype)
