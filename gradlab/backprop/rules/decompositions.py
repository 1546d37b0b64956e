"""Orthogonal factors, eigenvalues and singular values, and what is solved by them.

The derivations are in differentials, as in `solving`: ⟨X, Y⟩ = Re tr(Xᴴ·Y), and G is the gradient of Y where the loss
changes by ⟨G, dY⟩. A unitary factor can only turn: from QᴴQ = 1, Qᴴ·dQ is skew-Hermitian. What it turns by follows
from an equation for each pair of columns, which is divided by the gap between their eigenvalues: vectors of equal
values have no derivative, and the division by 0 says so.

An eigenvector is one of many: its sign, or a complex one's phase, is the algorithm's choice. Only what does not
depend on the choice has a gradient.

Sources: M. Giles, "An extended collection of matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); S. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions" (2010);
G. Golub and V. Pereyra, "The differentiation of pseudo-inverses" (1973).
"""

from __future__ import annotations

import torch
from torch import Tensor, linalg
from torch.nn.functional import pad

from gradlab.backprop.errors import TapeError
from gradlab.backprop.rules.shapes import zeros_for_none
from gradlab.backprop.rules.solving import hermitian_from_lower
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
DECOMPOSITIONS = Family()


# --- eigenvalues and singular values ------------------------------------------------------------------------


@DECOMPOSITIONS.vjp(
    aten._linalg_eigh.default,
    "A = V·Λ·Vᵀ for a symmetric A, Vᵀ·V = 1",
    "V·(∂L/∂Λ + ½·F∘(X − Xᵀ))·Vᵀ, X = Vᵀ·∂L/∂V, Fᵢⱼ = 1/(λⱼ − λᵢ)",
    reads="y",
)
def eigh(g, y, a, uplo="L", compute_v=True):
    """Vᴴ·dA·V = dΛ + (Vᴴ·dV)·Λ − Λ·(Vᴴ·dV): dΛ is its diagonal, and F∘ the rest of it is Vᴴ·dV."""
    values, v = y
    gvalues, gv = g
    if gv is None:
        return (v * gvalues.unsqueeze(-2)) @ v.mH
    x = v.mH @ gv
    _refuse_phases(x, gv)
    inner = _over_gaps(x - x.mH, values) / 2
    inner = inner if gvalues is None else inner + torch.diag_embed(gvalues)
    return v @ inner @ v.mH


@DECOMPOSITIONS.vjp(
    aten.linalg_eig.default,
    "A·V = V·Λ, columns of length 1",
    "V⁻ᵀ·(∂L/∂Λ + F∘(X − Vᵀ·V·diag X))·Vᵀ, X = Vᵀ·∂L/∂V, Fᵢⱼ = 1/(λⱼ − λᵢ)",
    reads="y",
)
def eig(g, y, a):
    """V⁻¹·dA·V = dΛ + M·Λ − Λ·M with M = V⁻¹·dV gives M off the diagonal, by F.

    On the diagonal, Mᵢᵢ = −Σⱼ vᵢᴴ·vⱼ·Mⱼᵢ over j ≠ i keeps the length of vᵢ (and this phase: vᵢᴴ·dvᵢ = 0).
    """
    values, v = y
    gvalues, gv = zeros_for_none(g, y)
    inner = torch.diag_embed(gvalues)
    if g[1] is not None:
        x = v.mH @ gv
        _refuse_phases(x, gv)
        along = x.diagonal(dim1=-2, dim2=-1).real.unsqueeze(-2)
        inner = inner + _over_gaps(x - (v.mH @ v) * along, values.conj())
    return linalg.solve_ex(v.mH, inner @ v.mH)[0]


@DECOMPOSITIONS.vjp(
    aten._linalg_svd.default,
    "A = U·S·Vᵀ",
    "U·(∂L/∂S + F∘(X − Xᵀ)·S + S·F∘(Z − Zᵀ))·Vᵀ and what leaves the columns' spans; "
    "X = Uᵀ·∂L/∂U, Z = Vᵀ·∂L/∂V, Fᵢⱼ = 1/(sⱼ² − sᵢ²)",
    reads="y",
)
def svd(g, y, a, full_matrices=False, compute_uv=True, driver=None):
    """P = Uᴴ·dA·V = Ω·S + dS − S·Ψ with the turns Ω = Uᴴ·dU and Ψ = Vᴴ·dV.

    Off the diagonal, P·S + S·Pᴴ = Ω·S² − S²·Ω (and so on for Ψ) gives Ω by F. On the diagonal only Ω − Ψ, the turn of
    a pair's common phase, has a value: i·Im P/S. What U takes up from outside its span is (1 − U·Uᴴ)·dA·V/S.
    """
    u, s, vh = y
    gu, gs, gvh = g
    k = s.shape[-1]
    if gu is None and gvh is None:
        return (u[..., :k] * gs.unsqueeze(-2)) @ vh[..., :k, :]
    gu, gs, gvh = zeros_for_none(g, y)
    u, gu = _within(u, gu, k)
    v, gv = _within(vh.mH, gvh.mH, k)
    row, column = s.unsqueeze(-2), s.unsqueeze(-1)
    x, z = u.mH @ gu, v.mH @ gv
    _refuse_phases(x + z, gu, gv)
    inner = _over_gaps(x - x.mH, s * s) * row + column * _over_gaps(z - z.mH, s * s)
    inner = inner + torch.diag_embed(gs)
    if u.is_complex():
        inner = inner + 1j * torch.diag_embed(x.diagonal(dim1=-2, dim2=-1).imag / s)
    downstream = u @ inner @ v.mH
    if u.shape[-2] > k:
        downstream = downstream + ((gu - u @ x) / row) @ v.mH
    if v.shape[-2] > k:
        downstream = downstream + (u / row) @ (gv - v @ z).mH
    return downstream


def _over_gaps(x: Tensor, values: Tensor) -> Tensor:
    """F∘X with Fᵢⱼ = 1/(λⱼ − λᵢ), and 0 on the diagonal."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    same = torch.eye(values.shape[-1], dtype=torch.bool, device=values.device)
    return torch.where(same, 0, x) / torch.where(same, 1, gaps)


def _within(q: Tensor, gq: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The first k columns of a square Q = [Q₁, Q₂], and the gradient of all of Q as one of Q₁.

    Q₂ is any basis of what Q₁ leaves over; it must turn where Q₁ turns into it: Q₁ᴴ·dQ₂ = −(Q₂ᴴ·dQ₁)ᴴ.
    """
    if q.shape[-1] == k:
        return q, gq
    first, rest = q[..., :k], q[..., k:]
    return first, gq[..., :k] - rest @ (gq[..., k:].mH @ first)


def _refuse_phases(x: Tensor, *gradients: Tensor) -> None:
    """Complex vectors: the imaginary part of diag(Vᴴ·∂L/∂V) is the derivative of the loss by the vectors' phases."""
    if x.is_complex() and x.numel():
        allowed = torch.finfo(x.dtype).eps ** 0.25 * sum(linalg.vector_norm(g) for g in gradients)
        if (x.diagonal(dim1=-2, dim2=-1).imag.abs() > allowed).any():
            raise TapeError(
                "the loss depends on the phases of complex eigenvectors or singular vectors, which are the "
                "algorithm's choice: such a loss has no gradient"
            )


# --- orthogonal factors -------------------------------------------------------------------------------------


@DECOMPOSITIONS.vjp(
    aten.linalg_qr.default,
    "A = Q·R",
    "(∂L/∂Q − Q·H)·R⁻ᵀ for a tall A, H symmetric with the upper triangle of Qᵀ·∂L/∂Q − ∂L/∂R·Rᵀ",
    reads="y",
)
def qr(g, y, a, mode="reduced"):
    """Z = Qᴴ·dA·R⁻¹ = Qᴴ·dQ + dR·R⁻¹: a skew-Hermitian and an upper triangular part (its diagonal real).

    So Qᴴ·dQ = Ω has Z's lower triangle, dR = (Z − Ω)·R, and outside of Q's span dQ = (1 − Q·Qᴴ)·dA·R⁻¹. The
    terms of Z's lower triangle, of its mirror image and of its diagonal make up H. To the right of its square part a
    wide R has Qᴴ·A₂, which is differentiated as a product.
    """
    if mode == "r":
        raise TapeError("qr(mode='r') leaves out Q, which its derivative is made of: use mode='reduced'")
    gq, gr = zeros_for_none(g, y)
    k = min(a.shape[-2:])
    q, gq = _within(y[0], gq, k)
    r, gr = y[1][..., :k, :], gr[..., :k, :]
    r1, r2, gr1, gr2 = r[..., :k], r[..., k:], gr[..., :k], gr[..., k:]
    from_right = r2 @ gr2.mH
    h = hermitian_from_lower((q.mH @ gq + from_right - gr1 @ r1.mH).mH)
    left = linalg.solve_triangular(r1.mH, gq + q @ (from_right - h), upper=False, left=False)
    return torch.cat((left, q @ gr2), -1)


@DECOMPOSITIONS.vjp(
    aten.linalg_householder_product.default,
    "Y = H₁·…·Hₖ, its first columns; Hᵢ = 1 − τᵢ·vᵢ·vᵢᵀ",
    "through H₁·…·Hₖ = 1 − V·T·Vᵀ",
    reads="a tau",
)
def householder_product(g, y, a, tau):
    identity = torch.eye(*a.shape[-2:], dtype=a.dtype, device=a.device)
    return _of_reflectors(a, tau, g, identity.expand_as(a))


@DECOMPOSITIONS.vjp(
    aten.ormqr.default,
    "Y = Q·C, Qᵀ·C, C·Q or C·Qᵀ for Q = H₁·…·Hₖ, Hᵢ = 1 − τᵢ·vᵢ·vᵢᵀ",
    "∂L/∂C = Qᵀ·G (and so on), through Q = 1 − V·T·Vᵀ",
    reads="a tau c",
)
def ormqr(g, y, a, tau, c, left=True, transpose=False):
    """The gradient of Q is G·Cᴴ, its adjoint for Qᴴ·C; from the right, Cᴴ·G and its adjoint."""
    x, z = (g, c) if left else (c.mH, g.mH)
    ga, gtau = _of_reflectors(a, tau, z, x) if transpose else _of_reflectors(a, tau, x, z)
    return ga, gtau, lambda: torch.ormqr(a, tau, g, left, not transpose)


def _of_reflectors(a: Tensor, tau: Tensor, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of A and τ where that of Q = H₁·…·Hₖ is X·Zᴴ.

    Q = 1 − V·T·Vᴴ (R. Schreiber and C. Van Loan, "A storage-efficient WY representation", 1989). V has the vectors vᵢ
    for columns: 0 above the diagonal, 1 on it, A below. T = (1 + D·N)⁻¹·D with D = diag τ and N = triu(Vᴴ·V, 1), as
    one more reflector shows: (1 − V·T·Vᴴ)·(1 − τ·v·vᴴ) adds the column −T·Vᴴ·v·τ and the diagonal entry τ to T.
    """
    k = tau.shape[-1]
    v = a[..., :k].tril(-1) + torch.eye(a.shape[-2], k, dtype=a.dtype, device=a.device)
    d, n = torch.diag_embed(tau), (v.mH @ v).triu(1)
    m = torch.eye(k, dtype=a.dtype, device=a.device) + d @ n
    t = linalg.solve_triangular(m, d, upper=True, unitriangular=True)
    vx, vz = v.mH @ x, v.mH @ z
    gd = -linalg.solve_triangular(m.mH, vx @ vz.mH, upper=False, unitriangular=True)
    gm = -(gd @ t.mH)
    gn = (d.mH @ gm).triu(1)
    gtau = (gd + gm @ n.mH).diagonal(dim1=-2, dim2=-1)
    gv = v @ (gn + gn.mH) - x @ (t @ vz).mH - z @ (t.mH @ vx).mH
    return pad(gv.tril(-1), (0, a.shape[-1] - k)), gtau


# --- pseudo-inverse and least squares -----------------------------------------------------------------------


@DECOMPOSITIONS.vjp(
    aten.linalg_pinv.atol_rtol_tensor,
    "Y = A⁺, the pseudo-inverse",
    "−Yᵀ·G·Yᵀ + (1 − A·Y)·Gᵀ·Y·Yᵀ + Yᵀ·Y·Gᵀ·(1 − Y·A)",
    reads="a y",
)
def pinv(g, y, a, atol=None, rtol=None, hermitian=False):
    """dY = −Y·dA·Y + Y·Yᴴ·dAᴴ·(1 − A·Y) + (1 − Y·A)·dAᴴ·Yᴴ·Y, where the rank stays as it is (Golub, Pereyra)."""
    b = y.mH
    from_right, from_left = g.mH @ y @ b, b @ y @ g.mH
    return from_right - a @ (y @ from_right) + from_left - (from_left @ y) @ a - b @ g @ b


@DECOMPOSITIONS.vjp(
    aten.linalg_lstsq.default,
    "X = A⁺·B, which makes |A·X − B|² least; and that |A·X − B|² for each column",
    "∂L/∂B = Z, ∂L/∂A = −Z·Xᵀ + (B − A·X)·(A⁺·Z)ᵀ + A⁺ᵀ·X·(G − Aᵀ·Z)ᵀ, Z = A⁺ᵀ·G",
    reads="a b y",
)
def lstsq(g, y, a, b, rcond=None, driver=None):
    """X as a pseudo-inverse times B. Aᴴ·(B − A·X) = 0, so the squares change as though X were fixed."""
    is_vector = y[0].dim() < a.dim()
    gx, gsquares, _, _ = zeros_for_none(g, y)
    gx, x, b = (t.unsqueeze(-1) if is_vector else t for t in (gx, y[0], b))
    inverse = linalg.pinv(a, rtol=rcond)
    adjoint = inverse.mH
    z, rest = adjoint @ gx, b - a @ x
    gb = z + 2 * rest * gsquares.unsqueeze(-2) if gsquares.numel() else z  # some algorithms leave the squares out
    ga = rest @ (inverse @ z).mH + (adjoint @ x) @ (gx - a.mH @ z).mH - gb @ x.mH
    return ga, gb.squeeze(-1) if is_vector else gb
