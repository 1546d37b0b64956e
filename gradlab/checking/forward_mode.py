"""Custom Functions that have a forward formula (``jvp``) beside their backward: do the two say the same?"""

from __future__ import annotations

import torch

from gradlab.checking.coverage import telling_order
from gradlab.checking.findings import Finding, about
from gradlab.checking.tolerances import rounding_floor, tolerance_of
from gradlab.tensors import dense
from gradlab.witnesses import CannotSay, Problem
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.forward import Forward
from gradlab.witnesses.moves import index_of

CHECKPOINT = "CheckpointFunction"  # forward mode takes what happens inside for a constant
MOST = 8  # entries of each variable: a wrong formula is wrong for most


def wrong_jvps(problem: Problem, backward: Backward) -> list[Finding]:
    """A finding for each variable where forward mode differs from gradients that are right.

    Args:
        problem: its gradients were found right.
        backward: autograd's gradients of it.
    """
    if backward.functions == [CHECKPOINT]:
        return []
    witness, found = Forward(problem), []
    for name, variable in problem.variables.items():
        gradient = backward.autograd[name]
        if gradient is None or not gradient.numel() or backward.cuts:
            continue
        own = dense(gradient).reshape(-1).cpu()
        places = telling_order(own)[:MOST]
        try:
            values = witness.slopes(name, places)
        except CannotSay:
            continue
        gap = (values - own[places]).abs().nan_to_num(nan=torch.inf)
        worst = int(gap.argmax())
        scale = max(float(own.abs().max()), float(values.abs().max()))
        tolerance = tolerance_of(backward)
        if float(gap[worst]) > tolerance * scale + rounding_floor(variable.tensor, backward.noise, scale):
            place = int(places[worst])
            found.append(
                Finding(
                    **about(variable),
                    verdict="wrong",
                    condition="forward mode",
                    error=float(gap[worst]) / scale if scale else 0.0,
                    tolerance=tolerance,
                    index=index_of(place, variable.tensor),
                    numbers={"autograd": own[place].item(), "forward": values[worst].item()},
                    alone="forward",
                    hint="the jvp of a custom Function is wrong; its backward is right",
                )
            )
    return found
