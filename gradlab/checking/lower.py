"""Gradients in the user's own precision, and in lower ones, against those in double precision."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gradlab.agreement import FLOOR, tolerance_for
from gradlab.checking.conditions import blame_of
from gradlab.checking.findings import Finding
from gradlab.checking.tolerances import rounding_floor
from gradlab.tensors import dense
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.moves import index_of


def against_double(
    low: Backward, double: Backward, finding: Finding, condition: str = "", slack: float = 1.0
) -> Finding:
    """What becomes of a finding in double precision when the same gradient is taken in a lower one.

    Up to √ε of the lower precision nothing changes. Beyond that, the handwritten sweep in the lower precision tells: if
    it is near the double one and autograd is not, autograd is wrong there; if neither is, it is the precision.

    Args:
        low, double: the backward passes in either precision.
        finding: the verdict in double precision.
        condition: said where autograd is wrong in the lower precision only.
        slack: multiplies the error that is allowed to autograd.
    """
    name = finding.name
    reference = double.autograd[name]
    own, by_hand = low.autograd[name], low.manual.get(name)
    if finding.verdict not in ("agree", "kink") or reference is None or not low.dtypes:
        return finding
    tolerance = max(tolerance_for(dtype) for dtype in low.dtypes)
    scale = max(_largest(reference), FLOOR * max(_largest(g) for g in double.autograd.values() if g is not None))
    variable = low.problem.variables[name]
    floor = rounding_floor(variable.tensor, low.noise) / scale if scale else 0.0
    error, place = _error(own, reference, scale)
    if error <= slack * tolerance + floor or scale == 0:
        return finding
    index = index_of(place, reference)
    changed = replace(
        finding,
        error=error,
        tolerance=tolerance,
        index=index,
        numbers={
            "autograd": None if own is None else dense(own)[index].item(),
            "manual": None if by_hand is None else dense(by_hand)[index].item(),
            "autograd in float64": dense(reference)[index].item(),
        },
        errors={},
    )
    if own is not None and not bool(torch.isfinite(dense(own)).all()):
        note = "the lower precision overflows: not all of autograd's entries are finite, and a float64 copy agrees"
        return replace(changed, verdict="precision", note=note)
    if low.manual and _error(by_hand, reference, scale)[0] <= tolerance + floor:
        blame, hint = blame_of(low.reconciliation)
        return replace(changed, verdict="wrong", condition=condition, alone="autograd", blame=blame, hint=hint)
    if finding.verdict == "kink":
        return finding  # another side of the kink
    note = "a float64 copy agrees: the difference is the rounding of the lower precision"
    return replace(changed, verdict="precision", note=note)


def _error(gradient: Tensor | None, reference: Tensor, scale: float) -> tuple[float, int]:
    """The relative error, infinite where a number is not finite, and its place."""
    right = dense(reference).double() if not reference.is_complex() else dense(reference)
    own = torch.zeros_like(right) if gradient is None else dense(gradient).to(right.dtype)
    gap = torch.where(own == right, 0.0, (own - right).abs()).nan_to_num(nan=torch.inf)
    if not gap.numel():
        return 0.0, 0
    place = int(gap.argmax())
    return float(gap.reshape(-1)[place]) / scale if scale else 0.0, place


def _largest(tensor: Tensor) -> float:
    size = dense(tensor).abs()
    size = size[size.isfinite()]
    return float(size.max()) if size.numel() else 0.0
