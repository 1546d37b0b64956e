"""Backward kernels as operations of a forward pass: what autograd ran with ``create_graph=True``, under the tape.

Such a kernel takes the upstream gradient u of some operation y = f(x) to z = Jᵀ·u, with its Jacobian J. It is linear
in u, and what goes back to u is the transpose of the transpose:

    ∂L/∂u = J·g

Where f itself is linear, J is f: the gradient of u is f applied to g, and x gets none. Where f acts on every entry by
itself, z = u·f′(x), so that u gets g·f′(x) and x gets g·u·f″(x).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlab.backprop.rules import activation
from gradlab.backprop.rules.convolution import convolution
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
BACKWARD_KERNELS = Family()


# --- of linear operations -----------------------------------------------------------------------------------

LINEAR = "z = Wᵀ·u for a linear operation y = W·x", "∂L/∂u = W·g: the operation itself"


def _of_linear(names: str, forward: Callable[..., Tensor]) -> None:
    """Registers ``{name}_backward`` for operations of one kind; ``forward(operation, g, u, …)`` is W·g."""
    for name in names.split():
        operation = getattr(aten, name)

        def rule(g, y, u, *arguments, operation=operation):
            return lambda: forward(operation, g, u, *arguments)

        rule.__name__ = f"{name.strip('_')}_backward"
        BACKWARD_KERNELS.vjp(getattr(aten, f"{name}_backward").default, *LINEAR)(rule)


_of_linear(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
    "upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    lambda upsample, g, u, output_size, input_size, *settings: upsample(g, output_size, *settings),
)
_of_linear(
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d",
    lambda pad, g, u, x, padding: pad(g, padding),
)
_of_linear("avg_pool2d avg_pool3d", lambda pool, g, u, x, *settings: pool(g, *settings))
_of_linear("_adaptive_avg_pool2d", lambda pool, g, u, x: pool(g, u.shape[-2:]))
_of_linear("_adaptive_avg_pool3d", lambda pool, g, u, x: pool(g, u.shape[-3:]))
_of_linear("select slice diagonal", lambda view, g, u, input_sizes, *place: view(g, *place))
_of_linear("unfold", lambda view, g, u, input_sizes, *windows: view(g, *windows))
_of_linear(
    "nll_loss nll_loss2d",
    lambda loss, g, u, x, target, weight, reduction, ignore_index, total: loss(
        g, target, weight, reduction=reduction, ignore_index=ignore_index
    ),
)

AT_PLACES = "z = zeros, with u added at the place of each window's largest entry", "∂L/∂u = g at the place"


@BACKWARD_KERNELS.vjp(
    (aten.max_pool2d_with_indices_backward.default, aten.max_pool3d_with_indices_backward.default),
    *AT_PLACES,
    reads="places",
)
def max_pool_backward(g, y, u, x, kernel_size, stride, padding, dilation, ceil_mode, places):
    return lambda: _at_places(g, places, spatial=len(kernel_size))


@BACKWARD_KERNELS.vjp(
    (aten.fractional_max_pool2d_backward.default, aten.fractional_max_pool3d_backward.default),
    *AT_PLACES,
    reads="places",
)
def fractional_max_pool_backward(g, y, u, x, kernel_size, output_size, places):
    return lambda: _at_places(g, places, spatial=len(output_size))


@BACKWARD_KERNELS.vjp(aten.adaptive_max_pool2d_backward.default, *AT_PLACES, reads="places")
def adaptive_max_pool2d_backward(g, y, u, x, places):
    return lambda: _at_places(g, places, spatial=2)


@BACKWARD_KERNELS.vjp(aten.adaptive_max_pool3d_backward.default, *AT_PLACES, reads="places")
def adaptive_max_pool3d_backward(g, y, u, x, places):
    return lambda: _at_places(g, places, spatial=3)


def _at_places(g: Tensor, places: Tensor, spatial: int) -> Tensor:
    return g.flatten(-spatial).gather(-1, places.flatten(-spatial)).reshape(places.shape)


@BACKWARD_KERNELS.vjp(
    aten.embedding_dense_backward.default,
    "z = zeros, with each row of u added to the row that its index names",
    "∂L/∂u = the row of g; 0 for the padding row",
    reads="indices",
)
def embedding_backward(g, y, u, indices, num_weights, padding_idx, scale_grad_by_freq):
    rows = g[indices]
    if scale_grad_by_freq:
        rows = rows / torch.bincount(indices.reshape(-1))[indices].unsqueeze(-1)
    return torch.where((indices == padding_idx).unsqueeze(-1), 0, rows) if padding_idx >= 0 else rows


@BACKWARD_KERNELS.vjp(
    aten.native_dropout_backward.default,
    "z = u·mask·scale",
    "∂z/∂u = mask·scale",
    reads="mask",
)
def dropout_backward(g, y, u, mask, scale):
    return g * mask * scale


# --- of softmax ---------------------------------------------------------------------------------------------


@BACKWARD_KERNELS.vjp(
    aten._softmax_backward_data.default,
    "z = p·(u − Σ u·p), p a softmax",
    "∂L/∂u = p·(g − Σ g·p), ∂L/∂p = g·(u − Σ u·p) − u·Σ g·p",
    reads="u p",
)
def softmax_backward(g, y, u, p, dim, dtype):
    """The Jacobian diag(p) − p·pᵀ is symmetric: what took u to z takes g to the gradient of u."""
    through = (g * p).sum(dim, keepdim=True)
    return (
        lambda: p * (g - through),
        lambda: g * (u - (u * p).sum(dim, keepdim=True)) - u * through,
    )


@BACKWARD_KERNELS.vjp(
    aten._log_softmax_backward_data.default,
    "z = u − exp(l)·Σ u, l a log-softmax",
    "∂L/∂u = g − Σ g·exp(l), ∂L/∂l = −g·exp(l)·Σ u",
    reads="u l",
)
def log_softmax_backward(g, y, u, l, dim, dtype):  # noqa: E741
    weighted = g * l.exp()
    return lambda: g - weighted.sum(dim, keepdim=True), lambda: -weighted * u.sum(dim, keepdim=True)


# --- of activations -----------------------------------------------------------------------------------------

KINK = "z = u·f′(x), f piecewise linear", "∂L/∂u = g·f′(x), ∂L/∂x = 0"


@BACKWARD_KERNELS.vjp(aten.threshold_backward.default, *KINK, reads="x")
def threshold_backward(g, y, u, x, threshold):
    return lambda: activation.threshold(g, None, x, threshold, None)


@BACKWARD_KERNELS.vjp(aten.hardtanh_backward.default, *KINK, reads="x")
def hardtanh_backward(g, y, u, x, low, high):
    return lambda: activation.hardtanh(g, None, x, low, high)


@BACKWARD_KERNELS.vjp(aten.leaky_relu_backward.default, *KINK, reads="x")
def leaky_relu_backward(g, y, u, x, slope, self_is_result):
    return lambda: g * activation.leaky_relu(None, x, slope)


@BACKWARD_KERNELS.vjp((aten.softshrink_backward.default, aten.hardshrink_backward.default), *KINK, reads="x")
def shrink_backward(g, y, u, x, lambd):
    return lambda: activation.shrink(g, None, x, lambd)


# For complex numbers the kernels of tanh and σ multiply by the conjugate derivative.


@BACKWARD_KERNELS.vjp(
    aten.tanh_backward.default, "z = u·(1 − t²), t = tanh x", "∂z/∂u = 1 − t², ∂z/∂t = −2·u·t", reads="u t"
)
def tanh_backward(g, y, u, t):
    return lambda: g * (1 - t * t), lambda: g.conj() * u * (-2 * t.conj())


@BACKWARD_KERNELS.vjp(
    aten.sigmoid_backward.default, "z = u·s·(1 − s), s = σ(x)", "∂z/∂u = s·(1 − s), ∂z/∂s = u·(1 − 2s)", reads="u s"
)
def sigmoid_backward(g, y, u, s):
    return lambda: g * (s * (1 - s)), lambda: g.conj() * u * (1 - 2 * s.conj())


@BACKWARD_KERNELS.pointwise(
    aten.log_sigmoid_backward.default, "z = u·σ(−x)", "∂z/∂u = σ(−x), ∂z/∂x = −u·σ(x)·σ(−x)", reads="u x"
)
def log_sigmoid_backward(y, u, x, buffer):
    s = (-x).sigmoid()
    return s, lambda: -u * s * (1 - s)


@BACKWARD_KERNELS.pointwise(
    aten.softplus_backward.default,
    "z = u·σ(βx), and u where βx > threshold",
    "∂z/∂u = σ(βx), ∂z/∂x = u·β·σ(βx)·σ(−βx); 1 and 0 where βx > threshold",
    reads="u x",
)
def softplus_backward(y, u, x, beta, threshold):
    s = activation.softplus(None, x, beta, threshold)
    return s, lambda: torch.where(beta * x > threshold, 0, u * beta * s * (1 - s))


@BACKWARD_KERNELS.pointwise(
    aten.elu_backward.default,
    "z = u·f′(x), f = s·x where x > 0, else s·α·(eᵏˣ − 1); where v = f(x) is given, f′ = k·(v + s·α)",
    "∂z/∂u = f′(x); where x ≤ 0, ∂z/∂x = u·k·f′(x) and ∂z/∂v = u·k",
    reads="u v",
)
def elu_backward(y, u, alpha, scale, input_scale, is_result, v):
    if is_result:
        return (
            lambda: torch.where(v > 0, scale, input_scale * (v + scale * alpha)),
            lambda: torch.where(v > 0, 0, u * input_scale),
        )
    slope = activation.elu(None, v, alpha, scale, input_scale)
    return slope, lambda: torch.where(v > 0, 0, u * input_scale * slope)


@BACKWARD_KERNELS.pointwise(
    aten.gelu_backward.default,
    "z = u·f′(x), f = x·Φ(x), Φ the normal distribution function, or its approximation by tanh",
    "∂z/∂u = Φ + x·Φ′, ∂z/∂x = u·(2·Φ′ + x·Φ″)",
    reads="u x",
)
def gelu_backward(y, u, x, approximate="none"):
    """Φ′ = φ and Φ″ = −x·φ, so that f″ = (2 − x²)·φ.

    The approximation ½(1 + tanh w) has Φ′ = ½(1 − t²)·w′ and Φ″ = ½(1 − t²)·(w″ − 2t·w′²), where t = tanh w and
    w = √(2/π)·(x + c·x³).
    """

    def second():
        if approximate == "none":
            return u * (2 - x * x) * (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)
        k, c = math.sqrt(2 / math.pi), 0.044715
        t, slope = (k * (x + c * x**3)).tanh(), k * (1 + 3 * c * x * x)
        return u * (1 - t * t) * (slope + 0.5 * x * (6 * k * c * x - 2 * t * slope * slope))

    return lambda: activation.gelu(None, x, approximate), second


# --- of convolutions ----------------------------------------------------------------------------------------


@BACKWARD_KERNELS.vjp(
    aten.convolution_backward.default,
    "z_x = w ∗ᵀ u, z_w = x ∗ u over the batch, z_b = Σ u: the gradients of y = w ∗ x + b",
    "∂L/∂u = w ∗ g_x + g_w ∗ x + g_b, ∂L/∂x = g_w ∗ᵀ u, ∂L/∂w = g_x ∗ u over the batch",
    reads="u x w",
)
def convolution_backward(g, y, u, x, w, bias_sizes, *settings_and_mask):
    """Σ g·z = Σ u·(w ∗ g_x + g_w ∗ x + g_b), which is linear in u, and in x and w by a convolution each."""
    g_x, g_w, g_b = g
    *settings, mask = settings_and_mask

    def to_u():
        parts = [] if g_b is None else [g_b.reshape([1, -1] + [1] * (u.dim() - 2)).expand(u.shape)]
        if g_x is not None:
            parts.append(aten.convolution(g_x, w, None, *settings))
        if g_w is not None:
            parts.append(aten.convolution(x, g_w, None, *settings))
        return sum(parts[1:], start=parts[0])

    return (
        to_u,
        lambda: None if g_w is None else convolution(u, None, x, g_w, None, *settings)[0](),
        lambda: None if g_x is None else convolution(u, None, g_x, w, None, *settings)[1](),
    )
