"""Backward kernels of losses, of layers with gates and of normalizations, as operations of a forward pass.

As in `backward_kernels`: a kernel takes the upstream gradient u of y = f(x) to z = u·f′(x), or to Jᵀ·u. Being linear in
u, it sends J·g back to u, and to x what its own derivative says.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules import activation
from gradlab.backprop.rules.loss import MEAN
from gradlab.backprop.rules.normalization import by_channel, through_statistics
from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
LAYER_KERNELS = Family()


# --- of losses ----------------------------------------------------------------------------------------------
# Their u is one number, or one for each entry; n is the number of entries for a mean, else 1.


def _entries(x: Tensor, reduction: int) -> int:
    return x.numel() if reduction == MEAN else 1


@LAYER_KERNELS.pointwise(
    aten.mse_loss_backward.default,
    "z = u·2·(x − t)/n",
    "∂z/∂u = 2·(x − t)/n, ∂z/∂x = 2·u/n, ∂z/∂t = −2·u/n",
    reads="u x t",
)
def mse_loss_backward(y, u, x, t, reduction):
    n = _entries(x, reduction)
    return lambda: (x - t) * (2 / n), lambda: u * (2 / n), lambda: u * (-2 / n)


@LAYER_KERNELS.pointwise(
    aten.smooth_l1_loss_backward.default,
    "z = u·f/n, f = d/β kept in [−1, 1], d = x − t; the sign of d for β = 0",
    "∂z/∂u = f/n; where |d| < β, ∂z/∂x = u/(β·n) and ∂z/∂t = −∂z/∂x",
    reads="u x t",
)
def smooth_l1_loss_backward(y, u, x, t, reduction, beta):
    return _of_clamped(u, x - t, beta, 1 / beta if beta else 0, 1, _entries(x, reduction))


@LAYER_KERNELS.pointwise(
    aten.huber_loss_backward.default,
    "z = u·f/n, f = d kept in [−δ, δ], d = x − t",
    "∂z/∂u = f/n; where |d| ≤ δ, ∂z/∂x = u/n and ∂z/∂t = −∂z/∂x",
    reads="u x t",
)
def huber_loss_backward(y, u, x, t, reduction, delta):
    return _of_clamped(u, x - t, delta, 1, delta, _entries(x, reduction))


def _of_clamped(u: Tensor, d: Tensor, limit: float, slope: float, most: float, n: int) -> tuple:
    """The local derivatives of z = u·f(d)/n, where f rises with the slope up to the limit and then stays constant."""
    second = torch.where(d.abs() < limit, u * (slope / n), 0)
    return torch.where(d.abs() < limit, d * slope, d.sign() * most) / n, second, -second


@LAYER_KERNELS.pointwise(
    aten.binary_cross_entropy_backward.default,
    "z = u·w·(x − t)/(v·n), v = x·(1 − x)",
    "∂z/∂u = w·(x − t)/(v·n), ∂z/∂x = u·w·(v − (x − t)·(1 − 2x))/(v²·n), ∂z/∂t = −u·w/(v·n)",
    reads="u x t weight",
)
def binary_cross_entropy_backward(y, u, x, t, weight=None, reduction=MEAN):
    w = (1 if weight is None else weight) / ((x * (1 - x)).clamp(min=1e-12) * _entries(x, reduction))
    return (
        lambda: w * (x - t),
        lambda: u * w * (1 - (x - t) * (1 - 2 * x) / (x * (1 - x)).clamp(min=1e-12)),
        lambda: -u * w,
    )


@LAYER_KERNELS.pointwise(
    aten.soft_margin_loss_backward.default,
    "z = −u·t·σ(−t·x)/n",
    "∂z/∂u = −t·σ(−t·x)/n, ∂z/∂x = u·t²·σ(t·x)·σ(−t·x)/n, ∂z/∂t = −u·σ(−t·x)·(1 − t·x·σ(t·x))/n",
    reads="u x t",
)
def soft_margin_loss_backward(y, u, x, t, reduction):
    n, s = _entries(x, reduction), (-t * x).sigmoid()
    return lambda: -t * s / n, lambda: u * t * t * s * (1 - s) / n, lambda: -u * s * (1 - t * x * (1 - s)) / n


# --- of activations -----------------------------------------------------------------------------------------


@LAYER_KERNELS.vjp(
    aten.glu_backward.default,
    "z = (u·s, u·a·s·(1 − s)), s = σ(b), a and b the halves of x",
    "∂L/∂u = g_a·s + g_b·a·s′, ∂L/∂a = g_b·u·s′, ∂L/∂b = (g_a + g_b·a·(1 − 2s))·u·s′ with s′ = s·(1 − s)",
    reads="u x",
)
def glu_backward(g, y, u, x, dim):
    (g_a, g_b), (a, b) = g.chunk(2, dim), x.chunk(2, dim)
    s = b.sigmoid()
    slope = s * (1 - s)
    return (
        lambda: g_a * s + g_b * a * slope,
        lambda: torch.cat([g_b * u * slope, (g_a + g_b * a * (1 - 2 * s)) * u * slope], dim),
    )


@LAYER_KERNELS.pointwise(
    aten.hardswish_backward.default,
    "z = u·f′(x), f′ = x/3 + ½ where −3 < x < 3, else 0 or 1",
    "∂z/∂u = f′(x); where −3 < x < 3, ∂z/∂x = u/3",
    reads="u x",
)
def hardswish_backward(y, u, x):
    return lambda: activation.hardswish(None, x), lambda: torch.where(x.abs() < 3, u / 3, 0)


@LAYER_KERNELS.vjp(
    aten._prelu_kernel_backward.default,
    "z_x = u and z_w = 0 where x > 0, else z_x = u·w and z_w = u·x",
    "∂L/∂u = g_x where x > 0, else g_x·w + g_w·x; where x ≤ 0, ∂L/∂x = g_w·u and ∂L/∂w = g_x·u",
    reads="u x w",
)
def prelu_backward(g, y, u, x, w):
    g_x, g_w = (torch.zeros_like(u) if part is None else part for part in g)
    return (
        lambda: torch.where(x > 0, g_x, g_x * w + g_w * x),
        lambda: torch.where(x > 0, 0, g_w * u),
        lambda: torch.where(x > 0, 0, g_x * u),
    )


@LAYER_KERNELS.vjp(
    aten.rrelu_with_noise_backward.default,
    "z = u·slope; the slopes were drawn in training, and are the middle of their range else",
    "∂L/∂u = g·slope",
    reads="x noise",
)
def rrelu_backward(g, y, u, x, noise, lower, upper, training, self_is_result):
    return g * noise if training else torch.where(x > 0, g, g * ((lower + upper) / 2))


@LAYER_KERNELS.vjp(
    aten.masked_scatter_backward.default,
    "z = u at the places of the mask, in order, filled up with zeros",
    "∂L/∂u = g in these places, in order; 0 elsewhere",
    reads="mask",
)
def masked_scatter_backward(g, y, u, mask, sizes):
    return torch.zeros_like(u).masked_scatter(mask, g)


# --- of normalizations --------------------------------------------------------------------------------------
# z_x = r·P(ĝ) with ĝ = u·w and P(v) = v − mean v − x̂·mean(v·x̂);  z_w = Σ u·x̂;  z_b = Σ u.
# P is symmetric, so that Σ g_x·z_x = Σ r·P(g_x)·u·w, which gives ∂L/∂u and ∂L/∂w. On x the kernel depends by x̂ and r,
#     ∂L/∂x̂ = −r·(g_x·mean(ĝ·x̂) + ĝ·mean(g_x·x̂)) + g_w·u   and   ∂L/∂r = Σ g_x·z_x / r,
# and these on x as in the normalization itself.

KERNEL = "z_x = r·(ĝ − mean ĝ − x̂·mean(ĝ·x̂)) with ĝ = u·w; z_w = Σ u·x̂; z_b = Σ u"
KERNEL_LOCAL = (
    "∂L/∂u = w·r·P(g_x) + g_w·x̂ + g_b; ∂L/∂w = Σ u·r·P(g_x); ∂L/∂x through x̂ and r, where "
    "∂L/∂x̂ = g_w·u − r·(g_x·mean(ĝ·x̂) + ĝ·mean(g_x·x̂)) and ∂L/∂r = Σ g_x·P(ĝ)"
)


def _of_statistics(g: list, u: Tensor, w: Tensor | float, xhat: Tensor, r: Tensor, dims: list[int]) -> tuple:
    """∂L/∂u, ∂L/∂x and each entry's share of ∂L/∂w; g_w and g_b are shaped to broadcast against x."""
    g_x, g_w, g_b = g

    def mean(v: Tensor) -> Tensor:
        return v.mean(dims, keepdim=True)

    def projected(v: Tensor) -> Tensor:
        return v - mean(v) - xhat * mean(v * xhat)

    def to_x() -> Tensor:
        scaled = u * w
        to_xhat = g_w * u - r * (g_x * mean(scaled * xhat) + scaled * mean(g_x * xhat))
        to_r = (g_x * projected(scaled)).sum(dims, keepdim=True)
        return through_statistics(to_xhat, xhat, r, dims, None, to_r)

    return lambda: w * r * projected(g_x) + g_w * xhat + g_b, to_x, lambda: u * r * projected(g_x)


def _or_zero(g: tuple, x: Tensor) -> list[Tensor]:
    return [x.new_zeros(()) if part is None else part for part in g]


@LAYER_KERNELS.vjp(aten.native_layer_norm_backward.default, KERNEL, KERNEL_LOCAL, reads="u x mean rstd w")
def layer_norm_backward(g, y, u, x, normalized_shape, mean, rstd, w, b, output_mask):
    dims = list(range(x.dim() - len(normalized_shape), x.dim()))
    g_x, g_w, g_b = _or_zero(g, x)
    g_x = g_x.expand(x.shape)
    to_u, to_x, to_w = _of_statistics([g_x, g_w, g_b], u, 1 if w is None else w, (x - mean) * rstd, rstd, dims)
    return to_u, to_x, None, None, None if w is None else lambda: sum_to(to_w(), w.shape)


@LAYER_KERNELS.vjp(
    (aten.native_batch_norm_backward.default, aten.batch_norm_backward.default),
    KERNEL + "; in evaluation m and r are constants",
    KERNEL_LOCAL + "; in evaluation P(v) = v and ∂L/∂x = r·g_w·u",
    reads="u x w running_mean running_var mean r",
)
def batch_norm_backward(g, y, u, x, w, running_mean, running_var, mean, r, train, eps, output_mask, *reserve):
    dims = [0, *range(2, x.dim())]
    g_x, g_w, g_b = _or_zero(g, x)
    g_x = g_x.expand(x.shape)
    g_w, g_b = (part if part.dim() == 0 else by_channel(part, x) for part in (g_w, g_b))
    scale = 1 if w is None else by_channel(w, x)
    if train:
        r = by_channel(r, x)
        to_u, to_x, to_w = _of_statistics([g_x, g_w, g_b], u, scale, (x - by_channel(mean, x)) * r, r, dims)
    else:
        r = by_channel((running_var + eps).rsqrt(), x)
        xhat = (x - by_channel(running_mean, x)) * r
        to_u, to_x, to_w = lambda: scale * r * g_x + g_w * xhat + g_b, lambda: r * g_w * u, lambda: u * r * g_x
    return to_u, to_x, None if w is None else lambda: to_w().sum(dims)
