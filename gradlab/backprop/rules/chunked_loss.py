"""A linear layer and its cross-entropy as one operation, which never holds the logits of the whole batch.

With z = W·x + b, p = softmax(z), the target class t of a row and its weight w_t,

    y = w_t·(ln Σⱼ exp zⱼ − z_t),   so that   ∂y/∂z = w_t·(p − e_t),   e_t the unit vector of the target,

and from z on it is a linear layer: ∂L/∂x = Wᵀ·∂L/∂z, ∂L/∂W = Σ ∂L/∂z·xᵀ and ∂L/∂b = Σ ∂L/∂z over the rows.

The rule takes the batch in the same pieces, so that it needs no more memory than the operation. Where the operation
returns gradients beside its loss, the rule leaves them alone and works out its own.
"""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

with suppress(ImportError):  # not every version of PyTorch has it; the import makes the operations known
    import torch.nn.modules.linear_cross_entropy

torch_nn = torch.ops.torch_nn
CHUNKED_LOSS = Family()

LOCAL = "∂y/∂z = w_t·(softmax(z) − e_t), 0 for an ignored target; then those of the linear layer"


def linear_cross_entropy(
    g, y, x, w, target, b, weight, reduction, ignore_index, label_smoothing, chunk, policy, acc_dtype, *options
):
    """The reduction is a sum, or a mean that divides by the sum of the weights; labels are not smoothed."""
    counted = _weights(x, target, weight, ignore_index)
    upstream = g[0] * counted
    return _gradients(upstream / counted.sum() if reduction == "mean" else upstream, x, w, target, b, chunk, acc_dtype)


def linear_cross_entropy_of_rows(g, y, x, w, target, b, weight, ignore_index, chunk, policy, acc_dtype):
    return _gradients(g * _weights(x, target, weight, ignore_index), x, w, target, b, chunk, acc_dtype)


def _weights(x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The weight of each row's target, 0 where the row is ignored."""
    counted = target != ignore_index
    return counted.to(x.dtype) if weight is None else torch.where(counted, weight[torch.where(counted, target, 0)], 0)


def _gradients(
    upstream: Tensor, x: Tensor, w: Tensor, target: Tensor, b: Tensor | None, chunk: int, acc_dtype: torch.dtype
) -> tuple:
    """From the upstream gradient of each row's loss, with w_t in it, to those of x, W and b."""
    classes = torch.arange(len(w), device=w.device)
    to_x, to_w, to_b = [x[:0]], torch.zeros_like(w, dtype=acc_dtype), w.new_zeros(len(w), dtype=acc_dtype)
    for start in range(0, len(x), max(chunk, 1)):
        rows = slice(start, start + chunk)
        z = (x[rows] @ w.mT).to(acc_dtype)
        p = (z if b is None else z + b).softmax(1)
        to_z = upstream[rows].unsqueeze(1) * (p - (classes == target[rows].unsqueeze(1)).to(acc_dtype))
        to_x.append(to_z.to(w.dtype) @ w)
        to_w = to_w + to_z.to(x.dtype).mT @ x[rows]
        to_b = to_b + to_z.sum(0)
    return torch.cat(to_x), to_w, None, to_b


if hasattr(torch_nn, "_linear_cross_entropy_batch_chunked"):
    CHUNKED_LOSS.vjp(
        torch_nn._linear_cross_entropy_batch_chunked.default,
        "y = the sum or the mean of w_t·(ln Σⱼ exp zⱼ − z_t) over the rows, z = W·x + b",
        LOCAL,
        reads="x w target b weight",
    )(linear_cross_entropy)
    CHUNKED_LOSS.vjp(
        torch_nn._linear_cross_entropy_batch_chunked_no_reduction.default,
        "y = w_t·(ln Σⱼ exp zⱼ − z_t) for each row, z = W·x + b",
        LOCAL,
        reads="x w target b weight",
    )(linear_cross_entropy_of_rows)
