"""The derivative: the slope of a tangent, and what the slopes of secants come to as h shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlab.studies.base import Findings, Setting
from gradlab.studies.expression import Expression
from gradlab.studies.landscape import named
from gradlab.studies.witnessed import gradients, worst_errors

STEPS = 10.0 ** np.arange(0, -17, -1.0)


@dataclass(frozen=True, slots=True)
class Tangent:
    """A curve near one point.

    Attributes:
        formula: of the curve.
        at, value, slope: the point, the curve's height and autograd's derivative there.
        left, right: the slopes of the secants to x − h and to x + h at the smallest h shown.
        x, y: the curve.
        secants: h → slope of the secant from x to x + h.
    """

    formula: str
    at: float
    value: float
    slope: float
    left: float
    right: float
    x: np.ndarray
    y: np.ndarray
    secants: dict[float, float]


class Derivative:
    """A curve with its tangent and secants, the error of the secants' slopes over h, and a curve with a kink.

    Args:
        function: of x, as `gradlab.studies.expression.Expression` reads it.
        at: the point x.
        secants: the steps h of the secants that are drawn.
        kink: a function whose slope jumps at ``kink_at``.
        width: of the piece of the curve that is drawn, to either side.
    """

    def __init__(
        self,
        function: str = "sin(x) * exp(x/4)",
        at: float = 1.0,
        secants: Sequence[float] = (1.5, 0.75, 0.25),
        kink: str = "Abs(x)",
        kink_at: float = 0.0,
        width: float = 3.0,
    ) -> None:
        self._function, self._at = Expression(function, ["x"]), float(at)
        self._kink, self._kink_at = Expression(kink, ["x"]), float(kink_at)
        self._secants, self._width = tuple(map(float, secants)), float(width)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import derivative as picture  # matplotlib is slow to import

        x = torch.tensor(self._at, dtype=torch.float64)
        slopes = {name: float(g) for name, g in named(gradients(self._function, x)).items()}
        smooth = self._tangent(self._function, self._at, slopes["autograd"])
        corner = torch.tensor(self._kink_at, dtype=torch.float64)
        at_kink = float(gradients(self._kink, corner, witnesses=("autograd",))["autograd"])
        kink = self._tangent(self._kink, self._kink_at, at_kink)
        quotients = {float(h): self._secant(self._function, self._at, h) for h in STEPS}
        errors = {h: abs(quotient - smooth.slope) for h, quotient in quotients.items()}
        best = min(errors, key=lambda h: errors[h])
        return Findings(
            numbers={
                "slope": smooth.slope,
                **{f"secant h={h:g}": slope for h, slope in smooth.secants.items()},
                "best h": best,
                "error at best h": errors[best],
                "error at h=1e-16": errors[1e-16],
                "slope left of the kink": kink.left,
                "slope right of the kink": kink.right,
                "autograd at the kink": at_kink,
            },
            title=f"f(x) = {self._function.text} at x = {self._at:g}: f′(x) by four witnesses, and by secants",
            rows=[
                ("who", "slope", "error"),
                *((name, f"{slope:.12g}", f"{abs(slope - smooth.slope):.1e}") for name, slope in slopes.items()),
                *((f"secant, h = {h:.0e}", f"{quotients[h]:.12g}", f"{error:.1e}") for h, error in errors.items()),
            ],
            figures={"derivative": picture.figure(smooth, errors), "kink": picture.kink(kink)},
            errors=worst_errors({n: np.array(s) for n, s in slopes.items()}, np.ptp(smooth.y) / np.ptp(smooth.x)),
        )

    def _tangent(self, f: Expression, at: float, slope: float) -> Tangent:
        x = torch.linspace(at - self._width, at + self._width, 401, dtype=torch.float64)
        small = 1e-6
        return Tangent(
            formula=f.text,
            at=at,
            value=_value(f, at),
            slope=slope,
            left=self._secant(f, at, -small),
            right=self._secant(f, at, small),
            x=x.numpy(),
            y=f(x).numpy(),
            secants={h: self._secant(f, at, h) for h in self._secants},
        )

    def _secant(self, f: Expression, at: float, h: float) -> float:
        return (_value(f, at + h) - _value(f, at)) / h + 0.0  # no −0


def _value(f: Expression, x: float) -> float:
    point: Tensor = torch.tensor(x, dtype=torch.float64)
    return float(f(point))
