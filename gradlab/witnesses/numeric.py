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
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gradlab.witnesses.around import Around, slopes_around
from gradlab.witnesses.moves import Moves, flat

RATIO = 4.0  # between one step of the sweep and the next
TINY = 1e-100  # below, quotients of differences overflow
ROUNDINGS = 4.0  # how far L may be off, in units of `Moves.noise`


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
        around: looks at the slopes at points around x; takes some dozens of evaluations.
    """

    central: Slope
    left: Slope
    right: Slope
    steps: np.ndarray
    central_at: np.ndarray
    left_at: np.ndarray
    right_at: np.ndarray
    around: Callable[[], Around] | None = None


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


def central_differences(moves: Moves, name: str, places: Tensor) -> Tensor:
    """∂L by each of some entries, by one central difference each; by both directions of a complex one.

    Args:
        name: of the variable.
        places: of the entries in the flat variable, shape [k].

    Returns:
        The derivatives, shape [k]: float64, or complex128 for ∂L/∂Re + i·∂L/∂Im.
    """
    x = flat(moves.problem.variables[name].tensor)
    step = _steps(moves, x, places)
    found = []
    for direction in directions(x.dtype):
        values = torch.cat([_moved(x[places], direction, step), _moved(x[places], direction, -step)])
        above, below = values.chunk(2)
        up, down = moves.at(name, places.repeat(2), values).chunk(2)
        found.append((up - down) / (above - below).abs().double().cpu())
    return found[0] if len(found) == 1 else torch.complex(*found)


def rounding_errors(moves: Moves, name: str, places: Tensor) -> Tensor:
    """What rounding makes of each central difference. Truncation is not in it: only a sweep of steps shows that."""
    x = flat(moves.problem.variables[name].tensor)
    return ROUNDINGS * moves.noise / (2 * _steps(moves, x, places))


def _steps(moves: Moves, x: Tensor, places: Tensor) -> Tensor:
    return scale_of(x)[places] * moves.epsilon ** (1 / 3)


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
    h = _sweep(float(scale_of(x)[place]), float(own.abs()), torch.finfo(x.dtype).eps)
    values = torch.cat([own, _moved(own.expand(len(h)), direction, h), _moved(own.expand(len(h)), direction, -h)])
    results = moves.at(name, torch.full((len(values),), place), values, one_by_one=True)
    widths = (values - own).abs().double().cpu()  # the steps as the entry's dtype could make them
    look = _close_look(results, widths, h, moves)
    noise = ROUNDINGS * moves.noise
    return replace(look, around=lambda: slopes_around(moves, name, place, direction, scale_of(x), noise))


def look_along(moves: Moves, name: str, direction: Tensor) -> CloseLook:
    """A sweep of steps with the whole variable moved in one direction.

    Args:
        name: of the variable.
        direction: shaped like it, in units of `scale_of`.
    """
    h = _sweep(1.0, 1.0, torch.finfo(direction.dtype).eps)
    steps = torch.cat([torch.zeros(1, dtype=torch.float64), h, -h])
    return _close_look(moves.along(name, direction, steps), steps.abs(), h, moves)


def _close_look(results: Tensor, widths: Tensor, h: Tensor, moves: Moves) -> CloseLook:
    """From L at x, at x + h and at x − h, in one row."""
    n = len(h)
    at, up, down = (part.numpy() for part in results.split([1, n, n]))
    right, left = (part.numpy() for part in widths[1:].split(n))
    noise = ROUNDINGS * moves.noise
    with np.errstate(all="ignore"):
        central_at, left_at, right_at = (up - down) / (right + left), (at - down) / left, (up - at) / right
        return CloseLook(
            _plateau(central_at, right + left, noise, order=2),
            _plateau(left_at, left, noise, order=1),
            _plateau(right_at, right, noise, order=1),
            h.numpy(),
            central_at,
            left_at,
            right_at,
        )


def _sweep(scale: float, size: float, epsilon: float) -> Tensor:
    """Steps from a tenth of the scale (or of 1, where that is larger: a tiny x may be tiny by chance) down to where
    nothing but rounding is left, as fine as a tiny entry needs."""
    size = size if math.isfinite(size) else scale
    if not size:  # beside 0 every step can be made: `normalize` bends within 1e-12 of it
        last = scale * 1e-17
    else:
        last = max(min(scale * epsilon**0.75, size * 1e-3), scale * 1e-14, 4 * epsilon * size)
    first, last = 0.1 * max(scale, 1.0), max(last, TINY)
    count = max(4, math.ceil(math.log(first / last, RATIO)) + 1)
    return first * RATIO ** -torch.arange(count, dtype=torch.float64)


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
    best = _nearest_to_the_limit(extrapolated[1:], errors)
    return Slope(float(extrapolated[best + 1]), float(errors[best]))


def _nearest_to_the_limit(values: np.ndarray, errors: np.ndarray) -> int:
    """The smallest error, unless a smaller step contradicts it: a staircase has a plateau at large steps too.

    The derivative is the limit for small steps: of two answers that exclude each other the smaller step's counts.
    """
    best = int(np.argmin(errors))
    while True:
        later = np.arange(best + 1, len(values))
        excluded = [k for k in later if abs(values[k] - values[best]) > 4 * (errors[k] + errors[best])]
        if not excluded:
            return best
        best = int(later[np.argmin(errors[later])])


def _moved(x: Tensor, direction: complex, step: Tensor) -> Tensor:
    """x + direction · step, in x's own dtype."""
    wide = torch.complex128 if x.is_complex() else torch.float64
    return (x.to(wide) + step.to(x.device) * direction).to(x.dtype)
