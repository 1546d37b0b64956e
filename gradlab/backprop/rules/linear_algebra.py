"""Products of vectors and matrices.

One derivation serves them all. For Y = A·B, entry by entry y_ik = Σⱼ a_ij·b_jk, so

    ∂L/∂a_ij = Σₖ ∂L/∂y_ik · b_jk,   that is   ∂L/∂A = G·Bᵀ   and likewise   ∂L/∂B = Aᵀ·G.

For complex numbers the transposed factor is conjugated too (ᴴ in place of ᵀ); for real ones that changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
LINEAR_ALGEBRA = Family()

PRODUCT = "∂L/∂A = G·Bᵀ, ∂L/∂B = Aᵀ·G"


def _scaled(gradient: Tensor, factor: complex) -> Tensor:
    return gradient if factor == 1 else gradient * factor.conjugate()


# --- matrix times matrix ------------------------------------------------------------------------------------


@LINEAR_ALGEBRA.vjp((aten.mm.default, aten.bmm.default), "Y = A·B", PRODUCT, reads="a b")
def matmul(g, y, a, b):
    return lambda: g @ b.mH, lambda: a.mH @ g


@LINEAR_ALGEBRA.vjp(
    (aten.addmm.default, aten.baddbmm.default),
    "Y = β·C + α·A·B",
    "∂L/∂C = β·G, ∂L/∂A = α·G·Bᵀ, ∂L/∂B = α·Aᵀ·G",
    reads="a b",
)
def addmm(g, y, c, a, b, beta=1, alpha=1):
    return (
        lambda: _scaled(g, beta),
        lambda: _scaled(g @ b.mH, alpha),
        lambda: _scaled(a.mH @ g, alpha),
    )


@LINEAR_ALGEBRA.vjp(
    aten.addbmm.default,
    "Y = β·C + α·Σₙ Aₙ·Bₙ",
    "∂L/∂C = β·G, ∂L/∂Aₙ = α·G·Bₙᵀ, ∂L/∂Bₙ = α·Aₙᵀ·G",
    reads="a b",
)
def addbmm(g, y, c, a, b, beta=1, alpha=1):
    return addmm(g, y, c, a, b, beta, alpha)


@LINEAR_ALGEBRA.vjp(
    aten.linear.default,
    "y = W·x + b for each row x",
    "∂L/∂x = Wᵀ·g, ∂L/∂W = Σ g·xᵀ over the rows, ∂L/∂b = Σ g over the rows",
    reads="x w",
)
def linear(g, y, x, w, b=None):
    rows = g.reshape(-1, g.shape[-1]) if w.dim() == 2 else g.reshape(-1, 1)
    return lambda: g @ w, lambda: rows.mH @ x.reshape(len(rows), -1), lambda: rows.sum(0)


# --- with vectors -------------------------------------------------------------------------------------------


@LINEAR_ALGEBRA.vjp(aten.mv.default, "y = A·x", "∂L/∂A = g·xᵀ, ∂L/∂x = Aᵀ·g", reads="a x")
def mv(g, y, a, x):
    return lambda: torch.outer(g, x.conj()), lambda: a.mH @ g


@LINEAR_ALGEBRA.vjp(
    aten.addmv.default,
    "y = β·c + α·A·x",
    "∂L/∂c = β·g, ∂L/∂A = α·g·xᵀ, ∂L/∂x = α·Aᵀ·g",
    reads="a x",
)
def addmv(g, y, c, a, x, beta=1, alpha=1):
    return (
        lambda: _scaled(g, beta),
        lambda: _scaled(torch.outer(g, x.conj()), alpha),
        lambda: _scaled(a.mH @ g, alpha),
    )


@LINEAR_ALGEBRA.vjp(aten.dot.default, "y = Σᵢ aᵢ·bᵢ", "∂y/∂a = b, ∂y/∂b = a", reads="a b")
def dot(g, y, a, b):
    return lambda: g * b.conj(), lambda: g * a.conj()


@LINEAR_ALGEBRA.vjp(aten.vdot.default, "y = Σᵢ āᵢ·bᵢ", "∂y/∂a = b, ∂y/∂b = a", reads="a b")
def vdot(g, y, a, b):
    return lambda: g.conj() * b, lambda: g * a


@LINEAR_ALGEBRA.vjp(
    aten.addr.default,
    "Y = β·C + α·u·vᵀ",
    "∂L/∂C = β·G, ∂L/∂u = α·G·v, ∂L/∂v = α·Gᵀ·u",
    reads="u v",
)
def addr(g, y, c, u, v, beta=1, alpha=1):
    return (
        lambda: _scaled(g, beta),
        lambda: _scaled(g @ v.conj(), alpha),
        lambda: _scaled(g.t() @ u.conj(), alpha),
    )


@LINEAR_ALGEBRA.vjp(aten.linalg_cross.default, "y = a × b", "∂L/∂a = b × g, ∂L/∂b = g × a", reads="a b")
def cross(g, y, a, b, dim=-1):
    """g·(a × b) is the volume spanned by g, a, b, which turning the three round leaves alone: a·(b × g)."""
    return (
        lambda: torch.linalg.cross(b.conj(), g, dim=dim),
        lambda: torch.linalg.cross(g, a.conj(), dim=dim),
    )


# --- several factors, several blocks ------------------------------------------------------------------------


@LINEAR_ALGEBRA.vjp(
    aten._trilinear.default,
    "y = Σ a·b·c over some dimensions, after each factor got dimensions of size 1",
    "each factor gets g times the other two, summed over the dimensions that it lacked",
    reads="a b c",
)
def trilinear(g, y, a, b, c, expand_a, expand_b, expand_c, sumdim, unroll_dim=1):
    def widen(x, dims):
        for d in sorted(dims):
            x = x.unsqueeze(d)
        return x

    def part(lacked, p, q):
        product = wide * p * q
        return product.sum(lacked) if lacked else product

    wide, a, b, c = widen(g, sumdim), widen(a, expand_a), widen(b, expand_b), widen(c, expand_c)
    return lambda: part(expand_a, b, c), lambda: part(expand_b, a, c), lambda: part(expand_c, a, b)


@LINEAR_ALGEBRA.vjp(aten.block_diag.default, "Y = A₁, A₂, … down the diagonal, 0 elsewhere", "1 where the entry went")
def block_diag(g, y, blocks):
    pieces, row, column = [], 0, 0
    for block in blocks:
        height, width = block.shape if block.dim() == 2 else (1, block.numel())
        pieces.append(g[row : row + height, column : column + width].reshape(block.shape))
        row, column = row + height, column + width
    return pieces
