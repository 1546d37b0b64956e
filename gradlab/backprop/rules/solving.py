"""Solving linear equations: inverses, triangular systems, determinants, the LU and the Cholesky factors, and exp(A).

The derivations are in differentials. ⟨X, Y⟩ = Re tr(Xᴴ·Y) is the inner product of matrices; G is the gradient of Y
where the loss changes by ⟨G, dY⟩. Write dY as a linear map of dA, move the map to the other side, and what stands
beside dA is the gradient of A. Three moves do nearly all of it: ⟨G, B·dA·C⟩ = ⟨Bᴴ·G·Cᴴ, dA⟩, ⟨G, dAᴴ⟩ = ⟨Gᴴ, dA⟩,
and taking a triangle of a matrix is its own adjoint.

Sources: M. Giles, "An extended collection of matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); I. Murray, "Differentiation of the Cholesky decomposition" (2016); N. Higham, "Functions of
Matrices" (2008).
"""

from __future__ import annotations

import torch
from torch import Tensor, linalg
from torch.nn.functional import pad

from gradlab.backprop.rules.shapes import zeros_for_none
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
SOLVING = Family()

SOLUTION = "∂L/∂B = A⁻ᵀ·G, ∂L/∂A = −∂L/∂B·Xᵀ"


def _eye(a: Tensor) -> Tensor:
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)


# --- A⁻¹ and A⁻¹·B ------------------------------------------------------------------------------------------


@SOLVING.vjp(aten.linalg_inv_ex.default, "Y = A⁻¹", "∂L/∂A = −Yᵀ·G·Yᵀ", reads="y")
def inv(g, y, a, check_errors=False):
    """0 = d(A·Y) = dA·Y + A·dY, so dY = −Y·dA·Y."""
    inverse = y[0].mH
    return -(inverse @ g[0] @ inverse)


@SOLVING.vjp(aten._linalg_solve_ex.default, "A·X = B, or X·A = B", SOLUTION, reads="a y")
def solve(g, y, a, b, left=True, check_errors=False):
    """dA·X + A·dX = dB, so dX = A⁻¹·(dB − dA·X)."""
    is_vector = y[0].dim() < a.dim()
    g, x = (t.unsqueeze(-1) if is_vector else t for t in (g[0], y[0]))
    gb = linalg.solve_ex(a.mH, g, left=left)[0]
    return lambda: _of_coefficients(gb, x, left), lambda: gb.squeeze(-1) if is_vector else gb


def _of_coefficients(gb: Tensor, x: Tensor, left: bool = True) -> Tensor:
    return -(gb @ x.mH) if left else -(x.mH @ gb)


@SOLVING.vjp(
    aten.linalg_solve_triangular.default,
    "A·X = B, or X·A = B, for a triangular A",
    SOLUTION + " in the triangle",
    reads="a y",
)
def solve_triangular(g, y, a, b, upper, left=True, unitriangular=False):
    gb = linalg.solve_triangular(a.mH, g, upper=not upper, left=left, unitriangular=unitriangular)
    return lambda: _triangle(_of_coefficients(gb, y, left), upper, unitriangular), gb


def _triangle(x: Tensor, upper: bool, unitriangular: bool) -> Tensor:
    """What a triangular solver reads of its coefficients; a unit diagonal it takes for granted."""
    return x.triu(int(unitriangular)) if upper else x.tril(-int(unitriangular))


@SOLVING.vjp(
    aten.triangular_solve.default,
    "A·X = B, or Aᵀ·X = B, for a triangular A; and a copy of A",
    SOLUTION + " in the triangle, and the copy's G",
    reads="a y",
)
def triangular_solve(g, y, b, a, upper=True, transpose=False, unitriangular=False):
    gx, gcopy = zeros_for_none(g, y)
    gb, ga = solve_triangular(gx, y[0], a.mT if transpose else a, b, upper != transpose, True, unitriangular)[::-1]
    return gb, lambda: gcopy + (ga().mT if transpose else ga())


# --- determinants -------------------------------------------------------------------------------------------


@SOLVING.vjp(
    aten._linalg_det.default,
    "y = det A",
    "the cofactors det A · A⁻ᵀ (Jacobi's formula), at a singular A too",
    reads="a",
)
def det(g, y, a):
    """Cofactors are polynomials in the entries of A: raising a pivot from 0 to δ changes them by O(δ), no more."""
    lu, pivots, _ = linalg.lu_factor_ex(a)
    diagonal = lu.diagonal(dim1=-2, dim2=-1)
    limits = torch.finfo(a.dtype)
    delta = lu.abs().sum((-2, -1)).unsqueeze(-1) * limits.eps + limits.tiny
    raised = torch.where(diagonal == 0, delta.to(a.dtype), diagonal)
    swaps = (pivots != torch.arange(1, a.shape[-1] + 1, device=a.device)).sum(-1)
    determinant = raised.prod(-1) * (1 - 2 * (swaps % 2))
    scaled = (g[0] * determinant.conj())[..., None, None] * _eye(a)
    return linalg.lu_solve(lu + torch.diag_embed(raised - diagonal), pivots, scaled, adjoint=True)


@SOLVING.vjp(
    aten._linalg_slogdet.default,
    "det A = s·|det A|; s and ln|det A|",
    "∂ln|det A|/∂A = A⁻ᵀ, and 0 for the sign s of a real A",
    reads="a y",
)
def slogdet(g, y, a):
    """d ln det A = tr(A⁻¹·dA): its real part is d ln|det A|, its imaginary part the angle by which s turns."""
    gsign, gln, _, _ = zeros_for_none(g, y)
    factor = torch.complex(gln, (y[0].conj() * gsign).imag) if a.is_complex() else gln
    return linalg.solve_ex(a.mH, factor[..., None, None] * _eye(a))[0]


# --- the LU factors -----------------------------------------------------------------------------------------


@SOLVING.vjp(
    aten.linalg_lu.default,
    "A = P·L·U",
    "P·L⁻ᵀ·H·U⁻ᵀ, H = Lᵀ·∂L/∂L below the diagonal and ∂L/∂U·Uᵀ from it on, for a square A",
    reads="y",
)
def lu(g, y, a, pivot=True):
    _, gl, gu = zeros_for_none(g, y)
    inner = _of_factors(y[1], y[2], gl, gu)
    return y[0] @ inner if pivot else inner


@SOLVING.vjp(
    aten.linalg_lu_factor_ex.default,
    "A = P·L·U; L and U packed into one matrix",
    "as for L and U, each in its triangle",
    reads="y",
)
def lu_factor(g, y, a, pivot=True, check_errors=False):
    """The packed gradient stands for both: of ∂L/∂L only what is below the diagonal counts, of ∂L/∂U the rest."""
    p, lower, upper = torch.lu_unpack(y[0], y[1])
    k = lower.shape[-1]
    return p @ _of_factors(lower, upper, g[0][..., :k], g[0][..., :k, :])


def _of_factors(lower: Tensor, upper: Tensor, gl: Tensor, gu: Tensor) -> Tensor:
    """The gradient of Pᵀ·A.

    Square, Pᵀ·dA = dL·U + L·dU, so F = L⁻¹·Pᵀ·dA·U⁻¹ = L⁻¹·dL + dU·U⁻¹: the first term lies below the diagonal and the
    second does not, so dL = L·tril(F, −1) and dU = triu(F)·U. What a wide U has to the right of its square part,
    U₂ = L⁻¹·Pᵀ·A₂, and what a tall L has below it, L₂ = A₂·U⁻¹, are solutions of triangular systems.
    """
    k = lower.shape[-1]
    l1, l2, gl1, gl2 = lower[..., :k, :], lower[..., k:, :], gl[..., :k, :], gl[..., k:, :]
    u1, u2, gu1, gu2 = upper[..., :k], upper[..., k:], gu[..., :k], gu[..., k:]
    h = (l1.mH @ gl1 - gu2 @ u2.mH).tril(-1) + (gu1 @ u1.mH - l2.mH @ gl2).triu()
    left = linalg.solve_triangular(u1.mH, torch.cat((h, gl2), -2), upper=False, left=False)
    top = torch.cat((left[..., :k, :], gu2), -1)
    top = linalg.solve_triangular(l1.mH, top, upper=True, unitriangular=True)
    return torch.cat((top, left[..., k:, :]), -2) if lower.shape[-2] > k else top


@SOLVING.vjp(
    aten.lu_unpack.default,
    "L and U out of one matrix",
    "1 in the triangle that each comes from",
)
def lu_unpack(g, y, lu, pivots, unpack_data=True, unpack_pivots=True):
    _, gl, gu = zeros_for_none(g, y)
    rows, columns = lu.shape[-2:]
    below = pad(gl.tril(-1), (0, columns - gl.shape[-1]))
    return below + pad(gu.triu(), (0, 0, 0, rows - gu.shape[-2]))


@SOLVING.vjp(
    aten.linalg_lu_solve.default,
    "A·X = B (or X·A = B, or with Aᵀ) for A = P·L·U",
    SOLUTION + "; ∂L/∂L = Pᵀ·∂L/∂A·Uᵀ, ∂L/∂U = Lᵀ·Pᵀ·∂L/∂A",
    reads="lu pivots y",
)
def lu_solve(g, y, lu, pivots, b, left=True, adjoint=False):
    gb = linalg.lu_solve(lu, pivots, g, left=left, adjoint=not adjoint)

    def of_lu():
        p, lower, upper = torch.lu_unpack(lu, pivots)
        ga = _of_coefficients(gb, y, left)
        permuted = p.mT @ (ga.mH if adjoint else ga)
        return (permuted @ upper.mH).tril(-1) + (lower.mH @ permuted).triu()

    return of_lu, None, gb


# --- the Cholesky factor ------------------------------------------------------------------------------------


@SOLVING.vjp(
    (aten.cholesky.default, aten.linalg_cholesky_ex.default),
    "A = L·Lᵀ",
    "½·L⁻ᵀ·S·L⁻¹, S symmetric with the lower triangle of Lᵀ·G",
    reads="y",
)
def cholesky(g, y, a, upper=False, check_errors=False):
    """L⁻¹·dA·L⁻ᴴ = L⁻¹·dL + (L⁻¹·dL)ᴴ, so dL = L·Φ(L⁻¹·dA·L⁻ᴴ), see `hermitian_from_lower`.

    A is Hermitian, and its gradient is taken so too.
    """
    factor, g = (y, g) if isinstance(y, Tensor) else (y[0], g[0])
    lower, gl = (factor.mH, g.mH) if upper else (factor, g)
    half = linalg.solve_triangular(lower, hermitian_from_lower(lower.mH @ gl) / 2, upper=False, left=False)
    return linalg.solve_triangular(lower.mH, half, upper=True)


def hermitian_from_lower(x: Tensor) -> Tensor:
    """The Hermitian matrix with the lower triangle of X: Φ(X) + Φ(X)ᴴ, where Φ takes half of the diagonal."""
    phi = (x.tril() + x.tril(-1)) / 2
    return phi + phi.mH


@SOLVING.vjp(
    aten.cholesky_inverse.default,
    "Y = A⁻¹ for A = L·Lᵀ",
    "−Y·(G + Gᵀ)·Y·L",
    reads="factor y",
)
def cholesky_inverse(g, y, factor, upper=False):
    """dY = −Y·dA·Y with dA = dL·Lᴴ + L·dLᴴ. For A = Uᵀ·U, U takes the place of Lᵀ."""
    return _of_cholesky(-(y @ g @ y), factor, upper)


@SOLVING.vjp(
    aten.cholesky_solve.default,
    "A·X = B for A = L·Lᵀ",
    "∂L/∂B = A⁻¹·G, ∂L/∂A = −∂L/∂B·Xᵀ, ∂L/∂L = (∂L/∂A + ∂L/∂Aᵀ)·L",
    reads="factor y",
)
def cholesky_solve(g, y, b, factor, upper=False):
    gb = torch.cholesky_solve(g, factor, upper)
    return gb, lambda: _of_cholesky(_of_coefficients(gb, y), factor, upper)


def _of_cholesky(ga: Tensor, factor: Tensor, upper: bool) -> Tensor:
    """⟨∂A, dL·Lᴴ + L·dLᴴ⟩ = ⟨(∂A + ∂Aᴴ)·L, dL⟩.

    The operations read L's own triangle only. Outside of it the gradient is a convention, autograd's: as though all
    of L were read. (Where L was made by a Cholesky factorization, its rule looks at the triangle alone.)
    """
    both = ga + ga.mH
    return factor.triu() @ both if upper else both @ factor.tril()


# --- the exponential ----------------------------------------------------------------------------------------


@SOLVING.vjp(
    aten.linalg_matrix_exp.default,
    "Y = exp A = Σₙ Aⁿ/n!",
    "exp of the block matrix [[Aᵀ, G], [0, Aᵀ]], upper right block",
    reads="a",
)
def matrix_exp(g, y, a):
    """[[X, E], [0, X]]ⁿ has Σₖ Xᵏ·E·Xⁿ⁻¹⁻ᵏ, the derivative of Xⁿ along E, in its corner (Higham, section 10.2).

    So exp of that matrix has the derivative of exp along E there, and the adjoint of that map is the map at Aᴴ. The
    map is linear in G: a large G is made small first, or exp, which scales a matrix by its norm, would lose A in it.
    """
    n = a.shape[-1]
    adjoint = a.mH
    size = 1 + g.abs().sum((-2, -1), keepdim=True)
    block = torch.cat((torch.cat((adjoint, g / size), -1), torch.cat((torch.zeros_like(adjoint), adjoint), -1)), -2)
    return linalg.matrix_exp(block)[..., :n, n:] * size
