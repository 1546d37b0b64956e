"""Activation functions: the nonlinearities between layers, entry by entry. σ(x) = 1/(1 + e⁻ˣ) throughout."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
ACTIVATION = Family()


def _bit(condition: Tensor, x: Tensor) -> Tensor:
    """1 where the condition holds, 0 elsewhere."""
    return condition.to(x.dtype)


# --- with a kink: piecewise linear --------------------------------------------------------------------------
# Where such a function is constant its gradient is 0 outright, and not upstream × 0: an infinite upstream gradient
# (the root in a power mean has one at 0) would make that NaN.


@ACTIVATION.vjp(aten.relu.default, "y = max(x, 0)", "1 where y > 0, else 0: the sign of y", reads="y")
def relu(g, y, x):
    """On a CPU the product with the sign takes a tenth of the time of a choice, which has no vector instructions."""
    if g.is_cpu:
        product = y.sign().mul_(g)
        if math.isfinite(product.sum()):
            return product
    return torch.where(y <= 0, 0, g)


@ACTIVATION.vjp(
    aten.hardtanh.default, "y = x, but at least low and at most high", "1 strictly between, else 0", reads="x"
)
def hardtanh(g, y, x, low=-1, high=1):
    return torch.where((x <= low) | (x >= high), 0, g)


@ACTIVATION.pointwise(
    aten.leaky_relu.default, "y = x where x > 0, else slope·x", "1 where x > 0, else slope", reads="x"
)
def leaky_relu(y, x, slope=0.01):
    return torch.where(x > 0, torch.ones_like(x), slope)


@ACTIVATION.pointwise(
    aten._prelu_kernel.default,
    "y = x where x > 0, else w·x",
    "∂y/∂x = 1 where x > 0, else w; ∂y/∂w = 0 where x > 0, else x",
    reads="x w",
)
def prelu(y, x, w):
    return lambda: torch.where(x > 0, 1, w), lambda: torch.where(x > 0, 0, x)


@ACTIVATION.vjp(
    aten.rrelu_with_noise.default,
    "y = x where x > 0, else slope·x; the slope is drawn at random in training, else the middle of its range",
    "1 where x > 0, else slope",
    reads="y x",
)
def rrelu(g, y, x, noise, lower=1 / 8, upper=1 / 3, training=False, generator=None):
    """In training the operation leaves the slopes that it drew in its second argument, with 1 where x > 0."""
    return g[0] * y[1] if training else torch.where(x > 0, g[0], g[0] * ((lower + upper) / 2))


@ACTIVATION.vjp(
    aten.threshold.default,
    "y = x where x > threshold, else value",
    "1 where x > threshold, else 0",
    reads="x",
)
def threshold(g, y, x, threshold, value):
    return torch.where(x <= threshold, 0, g)


@ACTIVATION.vjp(
    (aten.softshrink.default, aten.hardshrink.default),
    "y = 0 where |x| ≤ λ; else x, pulled towards 0 by λ if soft",
    "1 where |x| > λ, else 0",
    reads="x",
)
def shrink(g, y, x, lambd=0.5):
    return torch.where(x.abs() <= lambd, 0, g)


@ACTIVATION.vjp(
    aten.hardsigmoid.default,
    "y = x/6 + ½, but at least 0 and at most 1",
    "1/6 where −3 < x < 3, else 0",
    reads="x",
)
def hardsigmoid(g, y, x):
    return torch.where(x.abs() < 3, g / 6, 0)


@ACTIVATION.pointwise(
    aten.hardswish.default,
    "y = x · hardsigmoid(x)",
    "0 where x ≤ −3, 1 where x ≥ 3, between them x/3 + ½",
    reads="x",
)
def hardswish(y, x):
    return torch.where(x.abs() < 3, x / 3 + 0.5, _bit(x > 0, x))


# --- smooth -------------------------------------------------------------------------------------------------


@ACTIVATION.pointwise(aten.sigmoid.default, "y = σ(x)", "σ(x)·(1 − σ(x)) = y − y²", reads="y", fresh=True)
def sigmoid(y, x):
    return torch.addcmul(y, y, y, value=-1)


@ACTIVATION.vjp(aten.log_sigmoid_forward.default, "y = ln σ(x), and a buffer", "1 − σ(x) = σ(−x)", reads="x")
def log_sigmoid(g, y, x):
    return g[0] * (-x).sigmoid()


@ACTIVATION.pointwise(
    aten.logit.default,
    "y = ln(x/(1 − x)), the inverse of σ; x kept in [ε, 1 − ε]",
    "1/(x·(1 − x)), and 0 outside",
    reads="x",
)
def logit(y, x, eps=None):
    if eps is None:
        return torch.where((x >= 0) & (x <= 1), 1 / (x * (1 - x)), math.nan)
    return torch.where((x >= eps) & (x <= 1 - eps), 1 / (x * (1 - x)), 0)


@ACTIVATION.pointwise(
    aten.softplus.default,
    "y = ln(1 + eᵝˣ)/β, and x where βx > threshold",
    "σ(βx), and 1 where βx > threshold",
    reads="x",
)
def softplus(y, x, beta=1, threshold=20):
    z = beta * x
    return torch.where(z > threshold, 1, z.sigmoid())


@ACTIVATION.pointwise(
    aten.elu.default,
    "y = s·x where x > 0, else s·α·(eᵏˣ − 1)",
    "s where x > 0, else s·α·k·eᵏˣ",
    reads="x",
)
def elu(y, x, alpha=1, scale=1, input_scale=1):
    return torch.where(x > 0, scale, scale * alpha * input_scale * (input_scale * x).exp())


@ACTIVATION.pointwise(
    aten.celu.default, "y = x where x > 0, else α·(e^(x/α) − 1)", "1 where x > 0, else e^(x/α)", reads="x"
)
def celu(y, x, alpha=1.0):
    return torch.where(x > 0, 1, (x / alpha).exp())


@ACTIVATION.pointwise(aten.silu.default, "y = x·σ(x)", "σ(x) + x·(σ(x) − σ(x)²)", reads="x", fresh=True)
def silu(y, x):
    s = x.sigmoid()
    return torch.addcmul(s, x, torch.addcmul(s, s, s, value=-1))


@ACTIVATION.pointwise(aten.mish.default, "y = x·t, t = tanh(softplus(x))", "t + x·(1 − t²)·σ(x)", reads="x")
def mish(y, x):
    t = torch.nn.functional.softplus(x).tanh()
    return t + x * (1 - t * t) * x.sigmoid()


@ACTIVATION.pointwise(
    aten.gelu.default,
    "y = x·Φ(x), Φ the normal distribution function, or its approximation by tanh",
    "Φ(x) + x·Φ′(x)",
    reads="x",
    fresh=True,
)
def gelu(y, x, approximate="none"):
    """Φ(x) = ½(1 + erf(x/√2)) has the derivative φ(x) = exp(−x²/2)/√(2π).

    The approximation Φ(x) ≈ ½(1 + tanh u), u = √(2/π)·(x + 0.044715·x³), has ½(1 − tanh²u)·u′.
    """
    if approximate == "none":
        cdf = (x * math.sqrt(0.5)).erf_().add_(1).mul_(0.5)
        density = (x * x).mul_(-0.5).exp_()
        return cdf.addcmul_(x, density, value=1 / math.sqrt(2 * math.pi))
    k = math.sqrt(2 / math.pi)
    t = (k * (x + 0.044715 * x**3)).tanh()
    slope = k * (1 + 3 * 0.044715 * x * x)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope


@ACTIVATION.vjp(
    aten.glu.default,
    "y = a·σ(b), a and b the halves of x",
    "∂y/∂a = σ(b), ∂y/∂b = a·σ(b)·(1 − σ(b))",
    reads="x",
)
def glu(g, y, x, dim=-1):
    a, b = x.chunk(2, dim)
    s = b.sigmoid()
    return torch.cat([g * s, g * a * s * (1 - s)], dim)
