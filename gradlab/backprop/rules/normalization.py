"""Normalization: x̂ = (x − m)·r with the mean m and r = 1/√(v + ε) of a set of n entries, then y = w·x̂ + b.

The sets differ (layer norm: the last dimensions; group norm: a group of channels; batch norm: a channel over the
batch), the calculus does not. With ĝ = g·w, the upstream gradient of x̂, an entry of x acts in three ways:

    directly:            ĝᵢ · r
    through the mean:    ∂m/∂xᵢ = 1/n,               and   ∂L/∂m = −r·Σ ĝ
    through r:           ∂r/∂xᵢ = −r²·x̂ᵢ/n,          and   ∂L/∂r = Σ ĝ·(x − m) = Σ ĝ·x̂ / r

which add up to  ∂L/∂xᵢ = r·(ĝᵢ − mean(ĝ) − x̂ᵢ·mean(ĝ·x̂)).  Where the mean or r were used further on, their own
upstream gradients join ∂L/∂m and ∂L/∂r.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
NORMALIZATION = Family()

LOCAL = "∂L/∂x = r·(ĝ − mean ĝ − x̂·mean(ĝ·x̂)) with ĝ = g·w; ∂L/∂w = Σ g·x̂; ∂L/∂b = Σ g"


def through_statistics(
    g: Tensor | None, xhat: Tensor, r: Tensor, dims: list[int], g_mean: Tensor | None, g_r: Tensor | None
) -> Tensor:
    """∂L/∂x from the upstream gradients of x̂, of the mean and of r (None where nothing flows back)."""
    n = math.prod(xhat.shape[d] for d in dims)
    if g is None:
        downstream = torch.zeros_like(xhat)
    else:  # in place, since for large tensors new memory costs more than a product
        correlation = (g * xhat).mean(dims, keepdim=True)
        downstream = (g - g.mean(dims, keepdim=True)).addcmul_(xhat, correlation, value=-1).mul_(r)
    if g_mean is not None:
        downstream = downstream + g_mean / n
    if g_r is not None:
        downstream = downstream - g_r * r * r * xhat / n
    return downstream


# --- layer norm and group norm ------------------------------------------------------------------------------


@NORMALIZATION.vjp(
    aten.native_layer_norm.default,
    "x̂ = (x − m)·r over the last dimensions, y = w·x̂ + b; with m and r",
    LOCAL,
    reads="y x w",
)
def layer_norm(g, y, x, normalized_shape, w, b, eps):
    g, g_mean, g_r = g
    _, mean, r = y
    xhat = (x - mean).mul_(r)
    dims = list(range(x.dim() - len(normalized_shape), x.dim()))
    return (
        lambda: through_statistics(_times(g, w), xhat, r, dims, g_mean, g_r),
        lambda: g if g is None else sum_to(g * xhat, w.shape),
        lambda: g if g is None else sum_to(g, b.shape),
    )


@NORMALIZATION.vjp(
    aten.native_group_norm.default,
    "x̂ = (x − m)·r over the channels of a group, y = w·x̂ + b for each channel; with m and r",
    LOCAL,
    reads="y x w",
)
def group_norm(g, y, x, w, b, batch, channels, places, groups, eps):
    g, g_mean, g_r = g
    mean, r = y[1].reshape(batch, groups, 1), y[2].reshape(batch, groups, 1)
    xhat = (x.reshape(batch, groups, channels * places // groups) - mean) * r

    def x_gradient():
        g_hat = None if g is None else _times(g, _by_channel_if_given(w, x)).reshape(xhat.shape)
        return through_statistics(g_hat, xhat, r, [2], _reshape(g_mean, mean), _reshape(g_r, r)).reshape(x.shape)

    return x_gradient, *_affine_gradients(g, xhat.reshape(x.shape))


def _times(g: Tensor | None, w: Tensor | None) -> Tensor | None:
    return g if g is None or w is None else g * w


def _reshape(g: Tensor | None, like: Tensor) -> Tensor | None:
    return None if g is None else g.reshape(like.shape)


def by_channel(v: Tensor, x: Tensor) -> Tensor:
    """A value for each channel, shaped so that it broadcasts against x."""
    return v.reshape([1, -1] + [1] * (x.dim() - 2))


def _by_channel_if_given(v: Tensor | None, x: Tensor) -> Tensor | None:
    return None if v is None else by_channel(v, x)


def _affine_gradients(g: Tensor | None, xhat: Tensor) -> tuple:
    """∂L/∂w and ∂L/∂b: sums over all dimensions but the channels'."""
    dims = [0, *range(2, xhat.dim())]
    return (lambda: g if g is None else (g * xhat).sum(dims)), (lambda: g if g is None else g.sum(dims))


# --- batch norm ---------------------------------------------------------------------------------------------

BATCH = "x̂ = (x − m)·r for each channel over the batch, y = w·x̂ + b; in evaluation m and r are constants"
BATCH_LOCAL = LOCAL + "; in evaluation ∂L/∂x = r·ĝ"


@NORMALIZATION.vjp(
    (
        aten.native_batch_norm.default,
        aten.cudnn_batch_norm.default,
        aten._native_batch_norm_legit.default,
        aten._native_batch_norm_legit_functional.default,
    ),
    BATCH,
    BATCH_LOCAL,
    reads="y x w running_mean running_var",
)
def batch_norm(g, y, x, w, b, running_mean, running_var, training, momentum, eps):
    if training:
        return _by_batch_statistics(g, y, x, w, momentum)
    return _by_running_statistics(g, x, w, running_mean, running_var, eps)


@NORMALIZATION.vjp(aten._native_batch_norm_legit.no_stats, BATCH, LOCAL, reads="y x w")
def batch_norm_without_running_statistics(g, y, x, w, b, training, momentum, eps):
    return _by_batch_statistics(g, y, x, w, momentum)


@NORMALIZATION.vjp(
    (aten._batch_norm_with_update.default, aten._batch_norm_with_update_functional.default),
    BATCH,
    LOCAL,
    reads="y x w",
)
def batch_norm_with_update(g, y, x, w, b, running_mean, running_var, momentum, eps):
    return _by_batch_statistics(g, y, x, w, momentum)


@NORMALIZATION.vjp(
    aten._batch_norm_no_update.default,
    BATCH,
    BATCH_LOCAL,
    reads="x w running_mean running_var",
)
def batch_norm_no_update(g, y, x, w, b, running_mean, running_var, momentum, eps):
    return _by_running_statistics(g, x, w, running_mean, running_var, eps)


def _by_batch_statistics(g: tuple, y: tuple, x: Tensor, w: Tensor | None, momentum: float) -> tuple:
    """Training. The last two outputs may be the running statistics after their update,

    (1 − p)·old + p·m  and  (1 − p)·old + p·v·n/(n − 1), with the momentum p and v = r⁻² − ε.
    """
    mean, r = by_channel(y[1], x), by_channel(y[2], x)
    xhat = (x - mean) * r
    n = x.numel() // x.shape[1]
    running = g[-2:] if len(g) > 4 else (None, None)

    def x_gradient():
        to_mean, to_r = _by_channel_if_given(g[1], x), _by_channel_if_given(g[2], x)
        if running[0] is not None:
            to_mean = _sum(to_mean, momentum * by_channel(running[0], x))
        if running[1] is not None:
            to_r = _sum(to_r, -2 * momentum * n / (n - 1) / r**3 * by_channel(running[1], x))
        dims = [0, *range(2, x.dim())]
        return through_statistics(_times(g[0], _by_channel_if_given(w, x)), xhat, r, dims, to_mean, to_r)

    def kept(g):
        return None if g is None else (1 - momentum) * g

    return x_gradient, *_affine_gradients(g[0], xhat), lambda: kept(running[0]), lambda: kept(running[1])


def _by_running_statistics(g: tuple, x: Tensor, w: Tensor | None, mean: Tensor, var: Tensor, eps: float) -> tuple:
    """Evaluation: y = w·(x − m)·r + b with m and v given, so that ∂y/∂m = −w·r and ∂y/∂v = −w·x̂·r²/2."""
    r = by_channel((var + eps).rsqrt(), x)
    xhat = (x - by_channel(mean, x)) * r
    g_hat = g[0] if w is None else g[0] * by_channel(w, x)
    dims = [0, *range(2, x.dim())]
    return (
        lambda: g_hat * r,
        *_affine_gradients(g[0], xhat),
        lambda: -(g_hat * r).sum(dims),
        lambda: -(g_hat * xhat * r * r / 2).sum(dims),
    )


def _sum(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a + b


# --- weight norm --------------------------------------------------------------------------------------------


@NORMALIZATION.vjp(
    aten._weight_norm_interface.default,
    "w = m·v/‖v‖ for each slice of v along one dimension, m its magnitude; with ‖v‖",
    "∂L/∂v = (m/‖v‖)·(g − v̂·Σ g·v̂) with v̂ = v/‖v‖; ∂L/∂m = Σ g·v̂",
    reads="y v m",
)
def weight_norm(g, y, v, m, dim=0):
    """Length and direction of a weight as two parameters (T. Salimans, D. Kingma, 2016); ∂‖v‖/∂v = v̂."""
    g, g_norm = g
    norm = y[1].to(v.dtype)
    direction = v / norm
    along = None if g is None else sum_to(g * direction, m.shape)

    def to_v():
        through_norm = None if g_norm is None else g_norm * direction
        return through_norm if g is None else _sum(through_norm, m / norm * (g - direction * along))

    return to_v, along
