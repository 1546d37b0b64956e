"""Elementary functions of one variable, and their kin: downstream = upstream × local derivative, entry by entry."""

from __future__ import annotations

import math

import torch

from gradlab.backprop.rules.constants import one
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
ELEMENTARY = Family()

# --- exponentials and logarithms ----------------------------------------------------------------------------


@ELEMENTARY.pointwise(aten.exp.default, "y = eˣ", "eˣ = y", reads="y")
def exp(y, x):
    return y


@ELEMENTARY.pointwise(aten.expm1.default, "y = eˣ − 1", "eˣ = y + 1", reads="y")
def expm1(y, x):
    return y + 1


@ELEMENTARY.pointwise(aten.exp2.default, "y = 2ˣ", "2ˣ · ln 2 = y · ln 2", reads="y")
def exp2(y, x):
    return y * math.log(2)


@ELEMENTARY.pointwise(aten.log.default, "y = ln x", "1/x", reads="x")
def log(y, x):
    return 1 / x


@ELEMENTARY.pointwise(aten.log2.default, "y = log₂ x = ln x / ln 2", "1/(x · ln 2)", reads="x")
def log2(y, x):
    return 1 / (x * math.log(2))


@ELEMENTARY.pointwise(aten.log10.default, "y = log₁₀ x = ln x / ln 10", "1/(x · ln 10)", reads="x")
def log10(y, x):
    return 1 / (x * math.log(10))


@ELEMENTARY.pointwise(aten.log1p.default, "y = ln(1 + x)", "1/(1 + x)", reads="x")
def log1p(y, x):
    return 1 / (1 + x)


@ELEMENTARY.pointwise(aten.logaddexp.default, "y = ln(eᵃ + eᵇ)", "∂y/∂a = eᵃ⁻ʸ, ∂y/∂b = eᵇ⁻ʸ", reads="y a b")
def logaddexp(y, a, b):
    return lambda: (a - y).exp(), lambda: (b - y).exp()


@ELEMENTARY.pointwise(aten.logaddexp2.default, "y = log₂(2ᵃ + 2ᵇ)", "∂y/∂a = 2ᵃ⁻ʸ, ∂y/∂b = 2ᵇ⁻ʸ", reads="y a b")
def logaddexp2(y, a, b):
    return lambda: (a - y).exp2(), lambda: (b - y).exp2()


@ELEMENTARY.pointwise(
    (aten.xlogy.Tensor, aten.xlogy.Scalar_Other),
    "y = a · ln b, and 0 where a = 0",
    "∂y/∂a = ln b, ∂y/∂b = a/b",
    reads="a b",
)
def xlogy(y, a, b):
    if not isinstance(b, torch.Tensor):
        return torch.where((a == 0) & (b <= 0), 0, math.log(b) if b > 0 else -math.inf if b == 0 else math.nan)
    return lambda: torch.where((a == 0) & (b <= 0), 0, b.to(y.dtype).log()), lambda: a / b.to(y.dtype)


@ELEMENTARY.pointwise(aten.xlogy.Scalar_Self, "y = a · ln x for a number a", "a/x", reads="x")
def xlogy_of_number(y, a, x):
    return a / x


# --- circular functions and their inverses ------------------------------------------------------------------


@ELEMENTARY.pointwise(aten.sin.default, "y = sin x", "cos x", reads="x")
def sin(y, x):
    return x.cos()


@ELEMENTARY.pointwise(aten.cos.default, "y = cos x", "−sin x", reads="x")
def cos(y, x):
    return -x.sin()


@ELEMENTARY.pointwise(aten.tan.default, "y = tan x", "1 + tan²x = 1 + y²", reads="y")
def tan(y, x):
    return 1 + y * y


@ELEMENTARY.pointwise(aten.asin.default, "y = arcsin x, so x = sin y", "1/cos y = 1/√(1 − x²)", reads="x")
def asin(y, x):
    return (1 - x * x).rsqrt()


@ELEMENTARY.pointwise(aten.acos.default, "y = arccos x, so x = cos y", "−1/sin y = −1/√(1 − x²)", reads="x")
def acos(y, x):
    return -(1 - x * x).rsqrt()


@ELEMENTARY.pointwise(aten.atan.default, "y = arctan x, so x = tan y", "1/(1 + tan²y) = 1/(1 + x²)", reads="x")
def atan(y, x):
    return 1 / (1 + x * x)


@ELEMENTARY.pointwise(
    aten.atan2.default,
    "y = the angle of the point (b, a)",
    "∂y/∂a = b/(a² + b²), ∂y/∂b = −a/(a² + b²)",
    reads="a b",
)
def atan2(y, a, b):
    return lambda: b / (a * a + b * b), lambda: -a / (a * a + b * b)


@ELEMENTARY.pointwise(aten.sinc.default, "y = sin(πx)/(πx), and 1 at 0", "(cos(πx) − y)/x, and 0 at 0", reads="y x")
def sinc(y, x):
    return torch.where(x == 0, 0, ((math.pi * x).cos() - y) / x)


@ELEMENTARY.pointwise(aten.deg2rad.default, "y = x · π/180", "π/180")
def deg2rad(y, x):
    return math.pi / 180


@ELEMENTARY.pointwise(aten.rad2deg.default, "y = x · 180/π", "180/π")
def rad2deg(y, x):
    return 180 / math.pi


# --- hyperbolic functions and their inverses ----------------------------------------------------------------


@ELEMENTARY.pointwise(aten.sinh.default, "y = sinh x", "cosh x", reads="x")
def sinh(y, x):
    return x.cosh()


@ELEMENTARY.pointwise(aten.cosh.default, "y = cosh x", "sinh x", reads="x")
def cosh(y, x):
    return x.sinh()


@ELEMENTARY.pointwise(aten.tanh.default, "y = tanh x", "1 − y²", reads="y", fresh=True)
def tanh(y, x):
    return torch.addcmul(one(y), y, y, value=-1)


@ELEMENTARY.pointwise(aten.asinh.default, "y = arsinh x, so x = sinh y", "1/cosh y = 1/√(x² + 1)", reads="x")
def asinh(y, x):
    return (x * x + 1).rsqrt()


@ELEMENTARY.pointwise(aten.acosh.default, "y = arcosh x, so x = cosh y", "1/sinh y = 1/√(x² − 1)", reads="x")
def acosh(y, x):
    return (x * x - 1).rsqrt()


@ELEMENTARY.pointwise(aten.atanh.default, "y = artanh x, so x = tanh y", "1/(1 − tanh²y) = 1/(1 − x²)", reads="x")
def atanh(y, x):
    return 1 / (1 - x * x)


# --- the error function and the gamma function --------------------------------------------------------------


@ELEMENTARY.pointwise(aten.erf.default, "y = 2/√π · ∫₀ˣ exp(−t²) dt", "2/√π · exp(−x²)", reads="x")
def erf(y, x):
    return 2 / math.sqrt(math.pi) * (-x * x).exp()


@ELEMENTARY.pointwise(aten.erfc.default, "y = 1 − erf x", "−2/√π · exp(−x²)", reads="x")
def erfc(y, x):
    return -2 / math.sqrt(math.pi) * (-x * x).exp()


@ELEMENTARY.pointwise(aten.erfinv.default, "y = erf⁻¹(x), so x = erf y", "√π/2 · exp(y²)", reads="y")
def erfinv(y, x):
    return math.sqrt(math.pi) / 2 * (y * y).exp()


@ELEMENTARY.pointwise(aten.lgamma.default, "y = ln|Γ(x)|", "ψ(x) = Γ′(x)/Γ(x)", reads="x")
def lgamma(y, x):
    return x.digamma()


@ELEMENTARY.pointwise(aten.digamma.default, "y = ψ(x)", "ψ′(x)", reads="x")
def digamma(y, x):
    return torch.polygamma(1, x)


@ELEMENTARY.pointwise(aten.polygamma.default, "y = ψ⁽ⁿ⁾(x)", "ψ⁽ⁿ⁺¹⁾(x)", reads="x")
def polygamma(y, n, x):
    return torch.polygamma(n + 1, x)
