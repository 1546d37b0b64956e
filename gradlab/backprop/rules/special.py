"""Special functions: downstream = upstream × local derivative, entry by entry.

The derivatives are those of the NIST Digital Library of Mathematical Functions (dlmf.nist.gov), chapters 5 (gamma),
7 (error functions) and 10 (Bessel functions).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
SPECIAL = Family()

# --- modified Bessel functions ------------------------------------------------------------------------------


@SPECIAL.pointwise(aten.i0.default, "y = I₀(x)", "I₁(x)", reads="x")
def i0(y, x):
    return torch.special.i1(x)


@SPECIAL.pointwise(aten.special_i0e.default, "y = exp(−|x|)·I₀(x)", "exp(−|x|)·I₁(x) − sign(x)·y", reads="y x")
def i0e(y, x):
    """For large x the terms agree in about log₁₀(2x) leading digits, which the difference lacks: with i1e likewise."""
    return torch.special.i1e(x) - x.sgn() * y


@SPECIAL.pointwise(aten.special_i1.default, "y = I₁(x)", "I₀(x) − y/x, and ½ at 0", reads="y x")
def i1(y, x):
    return torch.special.i0(x) - _over_x(y, x)


@SPECIAL.pointwise(
    aten.special_i1e.default,
    "y = exp(−|x|)·I₁(x)",
    "exp(−|x|)·I₀(x) − y/x − sign(x)·y, and ½ at 0",
    reads="y x",
)
def i1e(y, x):
    return torch.special.i0e(x) - _over_x(y, x) - x.sgn() * y


def _over_x(y: Tensor, x: Tensor) -> Tensor:
    """I₁(x)/x, scaled or not: at 0 it is ½, for I₁(x) = x/2 + x³/16 + …"""
    return torch.where(x == 0, 0.5, y / torch.where(x == 0, 1, x))


# --- error functions and the normal distribution ------------------------------------------------------------


@SPECIAL.pointwise(aten.special_erfcx.default, "y = exp(x²)·erfc x", "2·x·y − 2/√π", reads="y x")
def erfcx(y, x):
    """For large x the two terms cancel, as y ≈ 1/(x·√π). There Laplace's continued fraction helps (DLMF 7.9):

    √π·y = 1/(x + r) with r = ½/(x + 1/(x + (3/2)/(x + …))), so that 2·x·y − 2/√π = −2·r·y.
    """
    large, r = x.clamp(min=3), torch.zeros_like(x)
    for k in range(36, 0, -1):  # from x = 3 on, what is left out is below double precision
        r = k / 2 / (large + r)
    return torch.where(x < 3, 2 * x * y - 2 / math.sqrt(math.pi), -2 * r * y)


@SPECIAL.pointwise(
    aten.special_log_ndtr.default,
    "y = ln Φ(x), Φ the normal distribution function",
    "φ(x)/Φ(x) = √(2/π)/erfcx(−x/√2), φ = Φ′ the normal density",
    reads="y x",
)
def log_ndtr(y, x):
    """For x < 0, Φ(x) = ½·erfc(−x/√2) shares the factor exp(−x²/2) with φ(x): divided out, nothing underflows."""
    below = math.sqrt(2 / math.pi) / torch.special.erfcx(-x.clamp(max=0) / math.sqrt(2))
    above = (-x * x / 2 - y).exp() / math.sqrt(2 * math.pi)
    return torch.where(x < 0, below, above)


@SPECIAL.pointwise(
    aten.special_ndtri.default,
    "y = Φ⁻¹(x), so x = Φ(y), Φ the normal distribution function",
    "1/φ(y) = √(2π)·exp(y²/2), φ = Φ′ the normal density",
    reads="y",
)
def ndtri(y, x):
    return math.sqrt(2 * math.pi) * (y * y / 2).exp()


# --- logarithms ---------------------------------------------------------------------------------------------


@SPECIAL.pointwise(aten.special_entr.default, "y = −x·ln x, and 0 at 0", "−(1 + ln x)", reads="x")
def entr(y, x):
    return -1 - x.log()


@SPECIAL.pointwise(
    (aten.special_xlog1py.default, aten.special_xlog1py.other_scalar),
    "y = a · ln(1 + b), and 0 where a = 0",
    "∂y/∂a = ln(1 + b), ∂y/∂b = a/(1 + b)",
    reads="a b",
)
def xlog1py(y, a, b):
    b = torch.as_tensor(b, dtype=y.dtype, device=y.device)
    return lambda: torch.where((a == 0) & (b <= -1), 0, b.log1p()), lambda: a / (1 + b)


@SPECIAL.pointwise(aten.special_xlog1py.self_scalar, "y = a · ln(1 + x) for a number a", "a/(1 + x)", reads="x")
def xlog1py_of_number(y, a, x):
    return a / (1 + x)


# --- the gamma function of several variables ----------------------------------------------------------------


@SPECIAL.pointwise(
    aten.mvlgamma.default,
    "y = p(p − 1)/4·ln π + Σ ln Γ(x − j/2) over j = 0 … p − 1",
    "Σ ψ(x − j/2), ψ = Γ′/Γ",
    reads="x",
)
def mvlgamma(y, x, p):
    return sum((x - j / 2).digamma() for j in range(p))
