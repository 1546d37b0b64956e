"""One entry: what autograd says, and what a sweep of differences says about the function itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gradlab.witnesses.numeric import CloseLook, Slope

Status = Literal["agree", "kink", "wrong", "unclear"]
CLEAR = 4.0  # a difference that is this many times its estimated error is no error of the differences


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a close look at one entry came to.

    Attributes:
        status: ``unclear`` where the differences cannot tell.
        numeric: the slope that the ruling rests on.
        error: its estimated error.
        why: a sentence; empty where the status says it all.
    """

    status: Status
    numeric: float
    error: float
    why: str = ""


def judge(value: float, look: CloseLook, margin: float) -> Ruling:
    """Holds one number against the slopes.

    A value agrees where it lies within ``margin`` and the slope's own error of the central difference. At a kink, where
    the one-sided slopes differ, every value from one to the other is a subgradient (Clarke, *Optimization and Nonsmooth
    Analysis*, 1983, §2.1), and all are right.

    A kink need not show when one entry moves alone. Before a value is wrong, the slopes at points around are looked at.

    Args:
        value: autograd's derivative by the entry.
        look: the sweep of differences there.
        margin: the difference that rounding in autograd's own computation explains.

    Example:
        >>> slopes = [Slope(s, 1e-12) for s in (0.5, 0.0, 1.0)]
        >>> look = CloseLook(*slopes, *[np.zeros(0)] * 4)
        >>> judge(0.0, look, 1e-8).status, judge(2.0, look, 1e-8).status
        ('kink', 'wrong')
    """
    ruling = _by_the_entry_alone(value, look, margin)
    if ruling.status != "wrong" or not math.isfinite(value) or look.around is None:
        return ruling
    around = look.around()
    # Random points seldom meet the extremes: the range of the slopes is taken for three times as wide.
    low, high = min(around.low, ruling.numeric), max(around.high, ruling.numeric)
    if around.jump > margin and low - around.jump - margin <= value <= high + around.jump + margin:
        return Ruling("kink", ruling.numeric, ruling.error, JUMPS.format(around.low, around.high))
    return ruling


JUMPS = "the slope by this entry is from {:.6g} to {:.6g} at points around, however near"


def _by_the_entry_alone(value: float, look: CloseLook, margin: float) -> Ruling:
    if not math.isfinite(value):
        return _of_non_finite(value, look)
    sides = [side for side in (look.left, look.right) if side.is_finite]
    if _is_kink(look, margin):
        return _at_kink(value, look, margin)
    central = look.central
    gap = abs(value - central.value)
    if gap <= margin + central.error and central.error <= max(margin, 0.1 * abs(value), 0.1 * abs(central.value)):
        return Ruling("agree", central.value, central.error)
    if CLEAR * central.error + margin < gap:
        return Ruling("wrong", central.value, central.error)
    for side in sides:  # at the edge of the domain, or at a jump, one side alone has a slope
        if abs(value - side.value) <= margin + side.error and side.error <= max(margin, 0.1 * abs(side.value)):
            return Ruling("kink", side.value, side.error, "only one side has a slope")
    if len(sides) == 1 and CLEAR * sides[0].error + margin < abs(value - sides[0].value):
        return Ruling("wrong", sides[0].value, sides[0].error, "only one side has a slope")
    return Ruling("unclear", central.value, central.error, "no step gives a stable difference")


def _is_kink(look: CloseLook, margin: float) -> bool:
    left, right = look.left, look.right
    if not (left.is_finite and right.is_finite):
        return False
    return abs(left.value - right.value) > CLEAR * (left.error + right.error) + margin


def _at_kink(value: float, look: CloseLook, margin: float) -> Ruling:
    low, high = sorted((look.left, look.right), key=lambda side: side.value)
    slopes = f"the slope is {look.left.value:.6g} on the left and {look.right.value:.6g} on the right"
    if low.value - low.error - margin <= value <= high.value + high.error + margin:
        return Ruling("kink", look.central.value, look.central.error, slopes)
    nearest = min((low, high), key=lambda side: abs(side.value - value))
    return Ruling("wrong", nearest.value, nearest.error, slopes)


def _of_non_finite(value: float, look: CloseLook) -> Ruling:
    """An infinite derivative is right where the slope grows without bound; NaN where there is no slope at all."""
    stable = [s for s in (look.central, look.left, look.right) if s.is_finite and _is_stable(s)]
    if stable:
        best = min(stable, key=lambda s: s.error)
        return Ruling("wrong", best.value, best.error, "the function has a finite slope here")
    if math.isinf(value):
        for quotients in (look.right_at, look.left_at):
            if _grows(quotients, math.copysign(1.0, value)):
                return Ruling("kink", math.copysign(math.inf, value), math.nan, "the slope grows without bound")
    if math.isnan(value) and np.isfinite(look.central_at).all():
        return Ruling("wrong", float(look.central_at[-1]), math.inf, "the function is finite here and all around")
    return Ruling("unclear", math.nan, math.inf, "the function has no finite value around this point")


def _is_stable(slope: Slope) -> bool:
    return slope.error <= 1e-3 * abs(slope.value) or slope.error < 1e-9


def _grows(quotients: np.ndarray, sign: float) -> bool:
    """Whether difference quotients of one sign grow as the step shrinks, over the first half of the sweep."""
    part = sign * quotients[: max(4, len(quotients) // 2)]
    return bool(np.isfinite(part).all() and (part > 0).all() and (np.diff(part) > 0).all())
