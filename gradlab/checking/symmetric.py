"""Operations on symmetric matrices, whose gradient is that of moves which keep a matrix symmetric."""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.checking.judge import judge
from gradlab.witnesses import Witness
from gradlab.witnesses.differences import Numeric
from gradlab.witnesses.moves import Moves
from gradlab.witnesses.numeric import look_along

# They read one triangle, or take both for the same; their gradient is symmetric all the same.
OPERATIONS = frozenset(
    ("linalg_cholesky_ex", "linalg_cholesky", "cholesky", "_linalg_eigh", "linalg_ldl_factor_ex", "cholesky_inverse")
)
NOTE = (
    "the matrix is symmetric, and the gradient that of moves which keep it so: differences by one entry alone, which "
    "lead away from symmetric matrices, agree with it once those of both triangles are averaged"
)
MOST = 10_000  # entries of which every one is moved
MOST_PAIRS = 24  # that are moved together, where one alone cannot be


def is_symmetrized(moves: Moves, witness: Witness | None, name: str, gradient: Tensor, margin: float) -> bool:
    """Whether a gradient is the symmetric part of the function's slopes, at a symmetric (or Hermitian) matrix.

    Let f read A through S(A) = (A + Aᴴ)/2, as it may for symmetric A. Then ∂f/∂A = S(∂f/∂S): a symmetric matrix,
    and the one that any way of reading A leads to once its own slopes N are averaged, (N + Nᴴ)/2. Where f refuses a
    matrix that is not symmetric, both entries of a pair are moved together.

    Args:
        moves: evaluates the problem with entries moved.
        witness: gives the slopes by each entry.
        name: of the variable, [..., n, n].
        gradient: flat, in double precision.
        margin: the difference that rounding explains.
    """
    x = moves.problem.variables[name].tensor.detach()
    if not isinstance(witness, Numeric) or x.dim() < 2 or x.shape[-1] != x.shape[-2] or x.numel() > MOST:
        return False
    if not torch.allclose(x, x.mH):
        return False
    places = torch.arange(x.numel())
    slopes, errors = (part.reshape(x.shape) for part in (witness.slopes(name, places), witness.errors(name, places)))
    own, average = gradient.reshape(x.shape), (slopes + slopes.mH) / 2
    fits = (own - average).abs() <= margin + (errors + errors.mT) / 2
    refused = (~fits & average.isnan()).nonzero()
    if x.is_complex() or len(refused) > 2 * MOST_PAIRS or bool((~fits & ~average.isnan()).any()):
        return bool(fits.all())
    return all(_fits_together(moves, name, tuple(place), own, margin) for place in refused.tolist())


def _fits_together(moves: Moves, name: str, place: tuple[int, ...], own: Tensor, margin: float) -> bool:
    """Whether moving an entry and its mirror image changes the function by the sum of both entries' gradients."""
    direction = torch.zeros(own.shape, dtype=torch.float64)
    direction[place] = 1.0
    direction = (direction + direction.mT).to(own.device)
    expected = float((own * direction).sum())
    return judge(expected, look_along(moves, name, direction), 2 * margin).status == "agree"
