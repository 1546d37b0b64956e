"""What the pattern of an error suggests: the slip of the pen behind a wrong gradient.

Each pattern looks at one wrong downstream gradient beside the right one and says what a person would notice, or
nothing. The first that speaks is the hint. What is to be seen in the numbers is said as it is; what they are only a
sign of, such as a slip in the code, is said to be possible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, pairwise

import torch
from torch import Tensor

from gradlab.agreement import tolerance_for
from gradlab.tensors import dense

# Said where a gradient ends at an operation, or misses a part that no operation explains.
NOT_RETURNED = (
    "autograd says that nothing flows here (None), the handwritten sweep says something does: possibly a backward "
    "returns None where a gradient belongs"
)
LEFT_PYTORCH = (
    "possibly a value leaves PyTorch on its way and comes back as a constant: .item(), .tolist(), float(x), .numpy(), "
    ".data, or a torch.tensor(…) made from any of these. Autograd sees nothing of what is computed from it; use the "
    "tensor itself instead"
)

WRITTEN = (
    "its backward changes the gradient that it is given (grad_output) in place, and whatever else uses that gradient "
    "gets the changed one: return a new tensor, such as grad_output * 2 for grad_output.mul_(2)"
)


def _no_replay(change: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One input of an operation whose downstream gradient is wrong.

    Attributes:
        manual: the handwritten downstream gradient; None where nothing flows.
        autograd: autograd's.
        contributions: what each use of the input inside the operation contributes; they add up to ``manual``.
        upstream: the gradients of the operation's outputs.
        others: the handwritten gradients of its other inputs.
        replay: gives the handwritten downstream gradient for changed upstream gradients.
    """

    manual: Tensor | None
    autograd: Tensor | None
    contributions: Sequence[Tensor] = ()
    upstream: Sequence[Tensor] = ()
    others: Sequence[Tensor] = ()
    replay: Callable[[Callable[[Tensor], Tensor]], Tensor | None] = field(default=_no_replay)


def hint_for(evidence: Evidence) -> str:
    """What the error suggests; empty where it suggests nothing.

    Example:
        >>> import torch
        >>> a = torch.tensor([1.0, -2.0])
        >>> hint_for(Evidence(a, -a))
        'autograd has the opposite sign'
        >>> square = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> hint_for(Evidence(square, square.t()))
        'it is transposed: dimensions 0 and 1 are exchanged'
    """
    manual, autograd = evidence.manual, evidence.autograd
    if manual is None:
        return "the handwritten sweep says that nothing flows here, autograd says something does"
    if autograd is None:
        return NOT_RETURNED
    here = Evidence(
        dense(manual), dense(autograd), evidence.contributions, evidence.upstream, evidence.others, evidence.replay
    )
    return next((text for pattern in PATTERNS if (text := pattern(here))), "")


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """Equal up to rounding, and not both zero: zeros look like anything."""
    if a is None or b is None or a.shape != b.shape or not a.numel():
        return False
    largest = max(float(a.abs().max()), float(b.abs().max()))
    return largest > 0 and float((a - b).abs().max()) <= tolerance_for(a.dtype) * largest


# --- the patterns, from the most to the least telling -------------------------------------------------------


def _not_finite(e: Evidence) -> str:
    if bool(torch.isfinite(e.manual).all()) and not bool(torch.isfinite(e.autograd).all()):  # type: ignore[arg-type]
        return "autograd's gradient has NaN or infinite entries, the handwritten one has none"
    return ""


def _all_zero(e: Evidence) -> str:
    return "autograd's gradient is zero in every entry" if not bool(e.autograd.any()) else ""  # type: ignore[union-attr]


def _factor(e: Evidence) -> str:
    assert e.manual is not None
    assert e.autograd is not None
    place = int(e.manual.abs().argmax())
    factor = (e.autograd.reshape(-1)[place] / e.manual.reshape(-1)[place]).item()
    if not math.isfinite(abs(factor)) or not _same(e.autograd, factor * e.manual):
        return ""
    if isinstance(factor, complex):
        if abs(factor.imag) > 1e-9 * abs(factor):
            return f"autograd's gradient is {factor:.6g} × the handwritten one, in every entry"
        factor = factor.real
    if abs(factor + 1) < 1e-3:
        return "autograd has the opposite sign"
    times = f"{factor:.6g}" if abs(factor - 1) > 1e-5 else f"(1 {factor - 1:+.2g})"
    return f"autograd's gradient is {times} × the handwritten one, in every entry{_origin(factor, e)}"


def _origin(factor: float, e: Evidence) -> str:
    """Where a constant factor may come from: a size that was divided by, or multiplied with."""
    fraction = Fraction(factor).limit_denominator(10_000)
    if abs(float(fraction) - factor) > 1e-6 * abs(factor):
        return ""
    batch = e.upstream[0].shape[0] if e.upstream and e.upstream[0].dim() else 0
    if batch > 1 and fraction == Fraction(1, batch):
        return f": possibly a mean over the batch of {batch}, where the sum belongs"
    if batch > 1 and fraction == batch:
        return f": possibly a sum over the batch of {batch}, where the mean belongs"
    sizes = {u.numel() for u in e.upstream} | {n for u in e.upstream for n in u.shape}
    if any(n > 1 and fraction in (Fraction(1, n), n) for n in sizes):
        return ": the size of a dimension; possibly a sum and a mean are exchanged"
    return ""


def _transposed(e: Evidence) -> str:
    assert e.manual is not None
    for i, j in combinations(range(e.manual.dim()), 2):
        if _same(e.autograd, e.manual.transpose(i, j)):
            return f"it is transposed: dimensions {i} and {j} are exchanged"
    if e.manual.dim() > 1 and _same(e.autograd, e.manual.mT.reshape(e.manual.shape)):
        return "it is transposed: its numbers are those of the transpose, laid into the same shape"
    return ""


def _assigned(e: Evidence) -> str:
    """One use's contribution in place of the sum over all uses."""
    count = len(e.contributions)
    for place, contribution in enumerate(e.contributions) if count > 1 else ():
        if _same(e.autograd, contribution):
            return f"only one of {count} uses counts: possibly '=' where '+=' was needed ({count} terms add up)"
        if count > 2 and _same(e.autograd, e.manual - contribution):  # type: ignore[operator]
            return f"possibly one of {count} uses is left out of the path sum: use {place + 1}, from the loss downwards"
    return ""


def _one_sample(e: Evidence) -> str:
    """A single sample's share in place of the sum over the batch."""
    batch = e.upstream[0].shape[0] if e.upstream and e.upstream[0].dim() else 0
    if batch < 2 or any(not u.dim() or u.shape[0] != batch for u in e.upstream):
        return ""
    for sample in dict.fromkeys((0, batch - 1, *range(1, min(batch - 1, 16)))):
        if _same(e.autograd, e.replay(lambda u, sample=sample: _only(u, sample))):  # type: ignore[misc]
            return f"possibly the sum over the batch is missing: only sample {sample} of {batch} counts"
    return ""


def _only(u: Tensor, sample: int) -> Tensor:
    kept = torch.zeros_like(u)
    kept[sample] = u[sample]
    return kept


def _passed_on(e: Evidence) -> str:
    if any(_same(e.autograd, u) for u in e.upstream):
        return "it is the upstream gradient itself: possibly the local derivative is left out"
    return ""


def _local_alone(e: Evidence) -> str:
    if e.upstream and _same(e.autograd, e.replay(torch.ones_like)):
        return "it is the local derivative alone: possibly the upstream gradient is left out"
    return ""


def _exchanged(e: Evidence) -> str:
    if any(_same(e.autograd, other) for other in e.others):
        return "it is the gradient of another input of this operation: possibly two of them are exchanged"
    return ""


def _shifted(e: Evidence) -> str:
    difference = e.autograd - e.manual  # type: ignore[operator]
    if (
        difference.numel() > 1
        and not difference.is_complex()
        and _same(difference, difference.mean().expand_as(difference))
    ):
        return f"every entry is off by {float(difference.mean()):.6g}: possibly a constant was added"
    return ""


def _reordered(e: Evidence) -> str:
    assert e.manual is not None
    assert e.autograd is not None
    if e.manual.is_complex() or e.manual.numel() < 2:
        return ""
    if any(_same(e.autograd, e.manual.flip(d)) for d in range(e.manual.dim())):
        return "the same numbers in the opposite order along a dimension"
    if _same(e.autograd.reshape(-1).sort().values, e.manual.reshape(-1).sort().values):
        return "the same numbers in another order"
    return ""


def _part(e: Evidence) -> str:
    """Where the wrong entries lie, if they are few or fill a slice."""
    assert e.manual is not None
    assert e.autograd is not None
    scale = max(float(e.manual.abs().max()), float(e.autograd.abs().max()))
    wrong = (e.autograd - e.manual).abs() > tolerance_for(e.manual.dtype) * scale
    count, total = int(wrong.sum()), wrong.numel()
    if not 0 < count < total:
        return ""
    for d in range(wrong.dim()):
        along = wrong.transpose(0, d).reshape(wrong.shape[d], -1).any(1).nonzero().reshape(-1).tolist()
        if len(along) < wrong.shape[d] and all(b == a + 1 for a, b in pairwise(along)):
            places = f"index {along[0]}" if len(along) == 1 else f"indices {along[0]} to {along[-1]}"
            return f"{count} of {total} entries differ, all at {places} of dimension {d}; the others agree"
    return f"{count} of {total} entries differ; the others agree"


PATTERNS: tuple[Callable[[Evidence], str], ...] = (
    _not_finite,
    _all_zero,
    _factor,
    _transposed,
    _assigned,
    _one_sample,
    _passed_on,
    _local_alone,
    _exchanged,
    _shifted,
    _reordered,
    _part,
)
