"""Rounding to a grid and back, as quantization-aware training simulates it: q = round(x/s) + z, kept in a range.

A step function's derivative is 0 almost everywhere. What is passed back instead is, by convention, the derivative
without the rounding: the *straight-through estimator* (Y. Bengio et al., 2013). For a learned step size s the rounding
is kept in one place: y = s·(round(x/s)) has ∂y/∂s = round(x/s) − x/s (S. Esser et al., 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
QUANTIZATION = Family()

ROUNDED = "y = s·(q − z), q = round(x/s) + z, but at least low and at most high; with where q is inside"


@QUANTIZATION.vjp(
    (
        aten.fake_quantize_per_tensor_affine_cachemask.default,
        aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default,
        aten.fake_quantize_per_channel_affine_cachemask.default,
    ),
    ROUNDED,
    "1 where q is inside, else 0 (straight through)",
    reads="y",
)
def fake_quantize(g, y, x, *settings):
    return torch.where(y[1], g[0], 0)


LEARNED = "where q is inside ∂y/∂x = 1 and ∂y/∂s = round(x/s) − x/s; outside ∂y/∂s = q − z and ∂y/∂z = −s"


@QUANTIZATION.vjp(aten._fake_quantize_learnable_per_tensor_affine.default, ROUNDED, LEARNED, reads="x s z")
def fake_quantize_learned(g, y, x, s, z, low, high, grad_factor=1.0):
    return _learned(g, x, s, z, low, high, grad_factor)


@QUANTIZATION.vjp(aten._fake_quantize_learnable_per_channel_affine.default, ROUNDED, LEARNED, reads="x s z")
def fake_quantize_learned_by_channel(g, y, x, s, z, axis, low, high, grad_factor=1.0):
    shape = [-1 if d == axis else 1 for d in range(x.dim())]
    to_x, to_s, to_z = _learned(g, x, s.reshape(shape), z.reshape(shape), low, high, grad_factor)
    return to_x, lambda: to_s().reshape(s.shape), lambda: to_z().reshape(z.shape)


def _learned(g: Tensor, x: Tensor, s: Tensor, z: Tensor, low: int, high: int, factor: float) -> tuple:
    """The zero point z is rounded and kept in the range before it is used; the factor scales ∂y/∂s and ∂y/∂z."""
    z_used = z.round().clamp(low, high)
    q = (x / s + z_used).round()
    inside = (q >= low) & (q <= high)
    error = torch.where(inside, (q - z_used) - x / s, q.clamp(low, high) - z_used)
    return (
        lambda: torch.where(inside, g, 0),
        lambda: sum_to(g * error * factor, s.shape),
        lambda: sum_to(torch.where(inside, 0, g * -s) * factor, z.shape),
    )
