"""Softmax and the losses that arrive as one operation.

A loss with a reduction is a tensor of losses, then their sum or mean: `_unreduced` turns the upstream gradient of the
number into that of the tensor, and each rule states the local derivative of one loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gradlab.backprop.rules.constants import zero
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
LOSS = Family()

MEAN = 1  # reductions are numbered: 0 none, 1 mean, 2 sum


def _unreduced(g: Tensor, reduction: int, losses: int) -> Tensor:
    return g / losses if reduction == MEAN else g


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1] if x.dim() else 1)


# --- softmax ------------------------------------------------------------------------------------------------


@LOSS.vjp(
    (aten._softmax.default, aten._safe_softmax.default),
    "yᵢ = exp xᵢ / Σⱼ exp xⱼ",
    "∂yᵢ/∂xⱼ = yᵢ·(δᵢⱼ − yⱼ)",
    reads="y",
)
def softmax(g, y, x, dim, *dtype):
    """Σᵢ gᵢ·yᵢ·(δᵢⱼ − yⱼ) = yⱼ·(gⱼ − Σᵢ gᵢ·yᵢ)."""
    weighted = g * y
    return weighted.addcmul_(y, weighted.sum(dim, keepdim=True), value=-1)


@LOSS.vjp(aten._log_softmax.default, "yᵢ = xᵢ − ln Σⱼ exp xⱼ", "∂yᵢ/∂xⱼ = δᵢⱼ − exp yⱼ", reads="y")
def log_softmax(g, y, x, dim, half_to_float):
    return y.exp().mul_(-g.sum(dim, keepdim=True)).add_(g)


# --- classification -----------------------------------------------------------------------------------------


@LOSS.vjp(
    (aten.nll_loss_forward.default, aten.nll_loss2d_forward.default),
    "y = −w_t·x_t for the target class t; the mean divides by the sum of the weights",
    "−w_t at the target class, 0 elsewhere",
    reads="y target weight",
)
def nll_loss(g, y, x, target, weight, reduction, ignore_index):
    """The sum of the weights, its second output, does not depend on x.

    An ignored target sends nothing back, also where all are ignored and the mean is 0/0.
    """
    if g[0] is None:
        return None
    classes = 0 if x.dim() == 1 else 1
    counted = target != ignore_index
    place = torch.where(counted, target, 0)
    w = torch.ones_like(place, dtype=x.dtype) if weight is None else weight[place]
    upstream = g[0] / y[1] if reduction == MEAN else g[0]
    local = torch.where(counted, -w * upstream, 0)
    return x.new_zeros(x.shape).scatter(classes, place.unsqueeze(classes), local.unsqueeze(classes))


@LOSS.vjp(
    aten.binary_cross_entropy.default,
    "y = −w·(t·ln x + (1 − t)·ln(1 − x)), the logarithms at least −100",
    "∂y/∂x = w·(x − t)/(x·(1 − x)), ∂y/∂t = w·(ln(1 − x) − ln x)",
    reads="x t weight",
)
def binary_cross_entropy(g, y, x, t, weight=None, reduction=MEAN):
    upstream = _unreduced(g, reduction, x.numel()) * (1 if weight is None else weight)
    return (
        lambda: upstream * (x - t) / (x * (1 - x)).clamp(min=1e-12),
        lambda: upstream * ((1 - x).log().clamp(min=-100) - x.log().clamp(min=-100)),
    )


@LOSS.vjp(
    aten.binary_cross_entropy_with_logits.default,
    "y = −w·(p·t·ln σ(x) + (1 − t)·ln σ(−x))",
    "∂y/∂x = w·((1 − t)·σ(x) − p·t·σ(−x)), ∂y/∂t = w·(ln σ(−x) − p·ln σ(x))",
    reads="x t weight pos_weight",
)
def binary_cross_entropy_with_logits(g, y, x, t, weight=None, pos_weight=None, reduction=MEAN):
    p = 1 if pos_weight is None else pos_weight
    upstream = _unreduced(g, reduction, x.numel()) * (1 if weight is None else weight)
    return (
        lambda: upstream * ((1 - t) * x.sigmoid() - p * t * (-x).sigmoid()),
        lambda: upstream * (logsigmoid(-x) - p * logsigmoid(x)),
    )


@LOSS.vjp(aten.soft_margin_loss.default, "y = ln(1 + exp(−t·x))", "−t·σ(−t·x)", reads="x t")
def soft_margin_loss(g, y, x, t, reduction=MEAN):
    return _unreduced(g, reduction, x.numel()) * -t * (-t * x).sigmoid()


@LOSS.vjp(
    aten.multi_margin_loss.default,
    "y = w_t/n · Σⱼ max(0, margin − x_t + xⱼ)ᵖ over the n classes j ≠ t",
    "dⱼ = w_t/n · p·max(0, margin − x_t + xⱼ)ᵖ⁻¹ for j ≠ t, and −Σⱼ dⱼ at t",
    reads="x target weight",
)
def multi_margin_loss(g, y, x, target, p=1, margin=1, weight=None, reduction=MEAN):
    rows, place = _rows(x), target.reshape(-1, 1)
    slack = margin - rows.gather(1, place) + rows
    d = (slack > 0) * p * slack.clamp(min=0) ** (p - 1) / rows.shape[1]
    d = (d if weight is None else d * weight[place]).scatter(1, place, 0)
    d = d.scatter(1, place, -d.sum(1, keepdim=True))
    return (_unreduced(g, reduction, len(rows)).reshape(-1, 1) * d).reshape(x.shape)


@LOSS.vjp(
    aten.multilabel_margin_loss_forward.default,
    "y = 1/n · Σ max(0, 1 − x_t + xⱼ) over the targets t and the classes j that are none",
    "1/n at j and −1/n at t, for each pair with 1 − x_t + xⱼ > 0",
    reads="x target y",
)
def multilabel_margin_loss(g, y, x, target, reduction):
    """A row of targets ends at its first −1; the operation's second output marks the classes that are targets."""
    rows, places = _rows(x), _rows(target)
    valid = (places >= 0).long().cumprod(1).bool()
    places = torch.where(valid, places, 0)
    slack = 1 - rows.gather(1, places).unsqueeze(2) + rows.unsqueeze(1)
    pair = (slack > 0) & valid.unsqueeze(2) & (y[1].reshape(rows.shape) == 0).unsqueeze(1)
    d = pair.sum(1).to(x.dtype).scatter_add(1, places, -pair.sum(2).to(x.dtype)) / rows.shape[1]
    return (_unreduced(g[0], reduction, len(rows)).reshape(-1, 1) * d).reshape(x.shape)


# --- regression: functions of the difference d = x − t, so that ∂y/∂t = −∂y/∂x ------------------------------


def _of_difference(g, local, x, t, reduction, factor=1):
    """``factor · local(d)`` is the local derivative; the factor goes to the upstream, which may be one number."""
    d = x - t
    factor = factor / d.numel() if reduction == MEAN else factor
    downstream = torch.addcmul(zero(d), local(d), g, value=factor)  # a product with a number would take twice as long
    return downstream, lambda: -downstream


@LOSS.vjp(aten.mse_loss.default, "y = d², d = x − t", "2·d", reads="x t")
def mse_loss(g, y, x, t, reduction=MEAN):
    return _of_difference(g, lambda d: d, x, t, reduction, factor=2)


@LOSS.vjp(
    aten.smooth_l1_loss.default,
    "y = d²/2β where |d| < β, else |d| − β/2; d = x − t",
    "d/β, kept in [−1, 1]; the sign of d for β = 0",
    reads="x t",
)
def smooth_l1_loss(g, y, x, t, reduction=MEAN, beta=1.0):
    return _of_difference(g, lambda d: (d / beta).clamp(-1, 1) if beta else d.sign(), x, t, reduction)


@LOSS.vjp(
    aten.huber_loss.default,
    "y = d²/2 where |d| < δ, else δ·(|d| − δ/2); d = x − t",
    "d, kept in [−δ, δ]",
    reads="x t",
)
def huber_loss(g, y, x, t, reduction=MEAN, delta=1.0):
    return _of_difference(g, lambda d: d.clamp(-delta, delta), x, t, reduction)
