"""Pointwise operations: every entry by itself, so downstream = upstream × local derivative, entry by entry."""

from __future__ import annotations

import torch

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
POINTWISE = Family()


# --- arithmetic ---------------------------------------------------------------------------------------------


@POINTWISE.pointwise((aten.add.Tensor, aten.add.Scalar), "y = a + α·b", "∂y/∂a = 1, ∂y/∂b = α")
def add(y, a, b, alpha=1):
    return 1, alpha


@POINTWISE.pointwise((aten.mul.Tensor, aten.mul.Scalar), "y = a · b", "∂y/∂a = b, ∂y/∂b = a", reads="a b")
def mul(y, a, b):
    return b, a


# --- functions of one variable ------------------------------------------------------------------------------


@POINTWISE.pointwise(aten.tanh.default, "y = tanh(x)", "1 − y²", reads="y")
def tanh(y, x):
    return 1 - y * y
