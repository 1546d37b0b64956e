"""Arithmetic, entry by entry: downstream = upstream × local derivative.

Where a value was broadcast, the sweep sums its gradient over the repeats afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
ARITHMETIC = Family()


# --- sums and products --------------------------------------------------------------------------------------


@ARITHMETIC.pointwise((aten.add.Tensor, aten.add.Scalar), "y = a + α·b", "∂y/∂a = 1, ∂y/∂b = α")
def add(y, a, b, alpha=1):
    return 1, alpha


@ARITHMETIC.pointwise((aten.sub.Tensor, aten.sub.Scalar), "y = a − α·b", "∂y/∂a = 1, ∂y/∂b = −α")
def sub(y, a, b, alpha=1):
    return 1, -alpha


@ARITHMETIC.pointwise((aten.rsub.Tensor, aten.rsub.Scalar), "y = b − α·a", "∂y/∂a = −α, ∂y/∂b = 1")
def rsub(y, a, b, alpha=1):
    return -alpha, 1


@ARITHMETIC.pointwise(aten.neg.default, "y = −x", "−1")
def neg(y, x):
    return -1


@ARITHMETIC.pointwise((aten.mul.Tensor, aten.mul.Scalar), "y = a · b", "∂y/∂a = b, ∂y/∂b = a", reads="a b")
def mul(y, a, b):
    return b, a


@ARITHMETIC.vjp(
    (aten.div.Tensor, aten.div.Scalar),
    "y = a / b",
    "∂y/∂a = 1/b, ∂y/∂b = −a/b² = −y/b",
    reads="y b",
)
def div(g, y, a, b):
    """Dividing the upstream gradient itself keeps its precision where b holds integers."""
    over_b = g / (b.conj() if isinstance(b, Tensor) else b.conjugate())
    return over_b, lambda: -over_b * y.conj()


@ARITHMETIC.vjp(
    (aten.div.Tensor_mode, aten.div.Scalar_mode),
    "y = a / b, rounded where a mode is given",
    "0 where it is rounded, else that of the quotient",
    reads="y b",
)
def rounded_div(g, y, a, b, rounding_mode=None):
    if rounding_mode is None:
        return div(g, y, a, b)
    return lambda: torch.zeros_like(g), lambda: torch.zeros_like(g)


@ARITHMETIC.pointwise(aten.reciprocal.default, "y = 1/x", "−1/x² = −y²", reads="y")
def reciprocal(y, x):
    return -y * y


@ARITHMETIC.pointwise(aten.addcmul.default, "y = x + α·a·b", "∂y/∂x = 1, ∂y/∂a = α·b, ∂y/∂b = α·a", reads="a b")
def addcmul(y, x, a, b, value=1):
    return 1, lambda: value * b, lambda: value * a


@ARITHMETIC.pointwise(aten.addcdiv.default, "y = x + α·a/b", "∂y/∂x = 1, ∂y/∂a = α/b, ∂y/∂b = −α·a/b²", reads="a b")
def addcdiv(y, x, a, b, value=1):
    return 1, lambda: value / b, lambda: -value * a / (b * b)


@ARITHMETIC.pointwise(
    (aten.lerp.Scalar, aten.lerp.Tensor),
    "y = a + w·(b − a)",
    "∂y/∂a = 1 − w, ∂y/∂b = w, ∂y/∂w = b − a",
    reads="a b w",
)
def lerp(y, a, b, w):
    return lambda: 1 - w, w, lambda: b - a


# --- powers -------------------------------------------------------------------------------------------------


@ARITHMETIC.pointwise(aten.pow.Tensor_Scalar, "y = xⁿ", "n·xⁿ⁻¹", reads="x")
def power(y, x, n):
    """n = 0 is a case of its own: 0·x⁻¹ has no value at x = 0, while the constant 1 has the derivative 0."""
    if n == 0:
        return torch.zeros_like(x)
    return 2 * x if n == 2 else n * x ** (n - 1)


@ARITHMETIC.pointwise(aten.pow.Tensor_Tensor, "y = aᵇ", "∂y/∂a = b·aᵇ⁻¹, ∂y/∂b = aᵇ·ln a", reads="y a b")
def power_of_tensors(y, a, b):
    """a⁰ is the constant 1, so ∂y/∂a = 0 there; 0ᵇ is the constant 0 for b > 0, so ∂y/∂b = 0 (also at 0⁰)."""
    return (
        lambda: torch.where(b == 0, 0, b * a ** (b - 1)),
        lambda: torch.where((a == 0) & (b.real >= 0), 0, y * a.to(y.dtype).log()),
    )


@ARITHMETIC.pointwise(aten.pow.Scalar, "y = aˣ for a number a", "aˣ·ln a", reads="y x")
def power_of_number(y, a, x):
    if a == 0:
        return torch.where(x.real >= 0, 0, y * -math.inf)
    return y * torch.scalar_tensor(a, dtype=y.dtype, device=y.device).log()


@ARITHMETIC.pointwise(aten.square.default, "y = x²", "2·x", reads="x")
def square(y, x):
    return 2 * x


@ARITHMETIC.pointwise(aten.sqrt.default, "y = √x", "1/(2√x) = 1/(2y)", reads="y")
def sqrt(y, x):
    return 0.5 / y


@ARITHMETIC.pointwise(aten.rsqrt.default, "y = 1/√x", "−½·x^(−3/2) = −y³/2", reads="y")
def rsqrt(y, x):
    return -0.5 * y * y * y


@ARITHMETIC.pointwise(aten.hypot.default, "y = √(a² + b²)", "∂y/∂a = a/y, ∂y/∂b = b/y", reads="y a b")
def hypot(y, a, b):
    return lambda: a / y, lambda: b / y


@ARITHMETIC.pointwise(aten.ldexp.Tensor, "y = a · 2ᵇ", "∂y/∂a = 2ᵇ, ∂y/∂b = y · ln 2", reads="y b")
def ldexp(y, a, b):
    return lambda: torch.ldexp(torch.ones_like(y), b), lambda: y * math.log(2)


@ARITHMETIC.vjp(
    aten.frexp.Tensor,
    "m, n with x = m · 2ⁿ and ½ ≤ |m| < 1, or m = 0",
    "∂m/∂x = 2⁻ⁿ; n is a step function",
    reads="y",
)
def frexp(g, y, x):
    return torch.ldexp(g[0], -y[1])


# --- remainders and signs -----------------------------------------------------------------------------------


@ARITHMETIC.pointwise(
    (aten.fmod.Tensor, aten.fmod.Scalar),
    "y = a − b·trunc(a/b)",
    "∂y/∂a = 1, ∂y/∂b = −trunc(a/b)",
    reads="a b",
)
def fmod(y, a, b):
    return 1, lambda: -torch.div(a, b, rounding_mode="trunc")


@ARITHMETIC.pointwise(
    (aten.remainder.Tensor, aten.remainder.Scalar),
    "y = a − b·floor(a/b)",
    "∂y/∂a = 1, ∂y/∂b = −floor(a/b)",
    reads="a b",
)
def remainder(y, a, b):
    return 1, lambda: -torch.div(a, b, rounding_mode="floor")


@ARITHMETIC.pointwise(aten.frac.default, "y = x − trunc(x)", "1")
def frac(y, x):
    return 1


@ARITHMETIC.vjp(aten.abs.default, "y = |x|", "sign(x), and 0 at the kink", reads="x")
def absolute(g, y, x):
    """For a complex x the steepest ascent of |x| points along x itself, with length 1: again sign(x) = x/|x|."""
    return g * x.sgn()


@ARITHMETIC.vjp(aten.sgn.default, "y = x/|x|, and 0 at 0", "0 for real x", reads="y x")
def sgn(g, y, x):
    """A complex y stays on the unit circle: only the part of the gradient across y counts, divided by |x|."""
    if not x.is_complex():
        return torch.zeros_like(g)
    along = (y.conj() * g).real * y
    return torch.where(x == 0, 0, (g - along) / x.abs())


@ARITHMETIC.pointwise(
    (aten.copysign.Tensor, aten.copysign.Scalar),
    "y = |a| with the sign of b",
    "∂y/∂a = sign(a)·sign(b), ∂y/∂b = 0",
    reads="y a",
)
def copysign(y, a, b):
    return lambda: torch.where(a == 0, 0, y / a), 0


@ARITHMETIC.pointwise(aten.nextafter.default, "y = the number next to a, towards b", "∂y/∂a = 1, ∂y/∂b = 0")
def nextafter(y, a, b):
    """y = a but for one unit in the last place, whose sign is a step function."""
    return 1, 0


@ARITHMETIC.vjp(
    (
        aten.floor.default,
        aten.ceil.default,
        aten.round.default,
        aten.round.decimals,
        aten.trunc.default,
        aten.sign.default,
    ),
    "y = x rounded, or its sign: a step function",
    "0, wherever it has a derivative",
)
def step(g, y, x, **options):
    return torch.zeros_like(g)


@ARITHMETIC.vjp((aten._conj.default, aten._conj_physical.default), "y = x̄, the complex conjugate", "∂L/∂x = ḡ")
def conj(g, y, x):
    return lambda: g.conj()


@ARITHMETIC.vjp(aten._neg_view.default, "y = −x, as a view", "∂L/∂x = −g")
def neg_view(g, y, x):
    return lambda: -g
