"""Scaled dot-product attention, as one operation.

    S = scale·Q·Kᵀ + mask,   P = softmax of the rows of S,   O = P·V

The operation keeps neither S nor P, only the logarithm of each row's sum, lse = ln Σ exp S. With it P = exp(S − lse)
is one product away, and no row needs to be normalized again.

Several heads of Q in a row may share one head of K and V (grouped-query attention). K and V are then repeated, and
the gradients of the repeats add up.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
ATTENTION = Family()


@ATTENTION.vjp(
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    "O = P·V, P = softmax(scale·Q·Kᵀ + mask), with lse = ln Σ exp(scale·Q·Kᵀ + mask)",
    "∂L/∂V = Pᵀ·G; dS = P∘(G·Vᵀ − rowsum(G∘O)); ∂L/∂Q = scale·dS·K; ∂L/∂K = scale·dSᵀ·Q",
    reads="y q k v attn_mask",
)
def flash_attention(g, y, q, k, v, dropout_p=0.0, is_causal=False, attn_mask=None, scale=None):
    """P's rows sum to 1, so ∂L/∂S = P∘(∂L/∂P − rowsum(∂L/∂P ∘ P)), with ∂L/∂P = G·Vᵀ.

    The row sum Σⱼ (G·Vᵀ)ᵢⱼ·Pᵢⱼ is Gᵢ·Oᵢ: it needs no matrix of the size of P. An upstream gradient of lse adds to
    ∂L/∂S its own local derivative, which is P again.
    """
    g_out, g_lse = g
    out, lse = y
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    keys, values = _for_each_head(k, q), _for_each_head(v, q)
    p = _weights(q, keys, lse, is_causal, attn_mask, scale)
    rows = 0 if g_out is None else -(g_out * out).sum(-1, keepdim=True)
    rows = rows if g_lse is None else rows + g_lse.unsqueeze(-1)
    ds = p * rows if g_out is None else (g_out @ values.mT).add_(rows).mul_(p)
    return (
        lambda: (ds @ keys).mul_(scale),
        lambda: _of_shared_heads((ds.mT @ q).mul_(scale), k),
        lambda: None if g_out is None else _of_shared_heads(p.mT @ g_out, v),
    )


def _for_each_head(shared: Tensor, q: Tensor) -> Tensor:
    """K or V with as many heads as Q."""
    repeats = q.shape[1] // shared.shape[1]
    return shared if repeats == 1 else shared.repeat_interleave(repeats, 1)


def _of_shared_heads(gradient: Tensor, shared: Tensor) -> Tensor:
    heads = shared.shape[1]
    return gradient if gradient.shape[1] == heads else gradient.unflatten(1, (heads, -1)).sum(2)


def _weights(q: Tensor, k: Tensor, lse: Tensor, is_causal: bool, mask: Tensor | None, scale: float) -> Tensor:
    """P, made in the memory of Q·Kᵀ: it is as large as all the rest together."""
    scores = (q @ k.mT).mul_(scale).sub_(lse.unsqueeze(-1))
    if mask is not None:
        scores = scores.masked_fill_(~mask, -math.inf) if mask.dtype == torch.bool else scores.add_(mask)
    if not is_causal:
        return scores.exp_()
    # What counts is at most 0, since no weight is above 1. The rest becomes 0, but must not become infinite before.
    return scores.clamp_(max=1).exp_().tril_()
