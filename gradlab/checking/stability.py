"""What ends a check at once: a backward pass that raises, and an answer that changes from one call to the next."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gradlab.checking.findings import Finding, Verdict, about
from gradlab.tensors import dense
from gradlab.witnesses import Problem, Variable
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.moves import index_of

NOT_OFFERED = ("is not implemented", "not differentiable", "does not require grad", "not supported")


def not_stable(problem: Problem, first: Backward) -> list[Finding]:
    """One finding for each variable where the rest of the check would be without meaning; else none.

    Args:
        problem: what is checked.
        first: one backward pass of it.
    """
    if first.error is not None:
        return [_raised(v, first.error) for v in problem.variables.values()]
    misshapen = _misshapen(problem, first)
    if misshapen:
        return misshapen
    second = Backward(problem)
    rounding = 64 * first.epsilon * problem.magnitude()
    is_same = abs(first.value - second.value) <= rounding or first.value == second.value
    is_nan = first.value != first.value and second.value != second.value
    findings = [_repeated(v, first, second) for v in problem.variables.values()]
    changed = [f for f in findings if f is not None]
    if changed or is_same or is_nan:
        return changed
    return [
        replace(_finding(v, "nondeterministic"), numbers={"L": first.value, "L again": second.value}, note=WHY)
        for v in problem.variables.values()
    ]


WHY = "the output is another one when the same call is made again with the same random seed, buffers and inputs"


def _raised(variable: Variable, error: Exception) -> Finding:
    text = str(error).strip().partition("\n")[0]
    verdict: Verdict = "not differentiable" if any(part in text for part in NOT_OFFERED) else "wrong"
    return replace(_finding(variable, verdict), note=f"the backward pass raised {type(error).__name__}: {text}")


def _misshapen(problem: Problem, backward: Backward) -> list[Finding]:
    names = {id(v.tensor): v for v in problem.variables.values()}
    found = []
    for m in backward.misshapen:
        own = names.get(id(m.leaf))
        place = f"the custom Function {m.function}" + (f", backward at {m.source}" if m.source else "")
        finding = Finding(
            name=own.name if own is not None else f"input {m.number} of {m.function}",
            kind=own.kind if own is not None else "operation",
            shape=m.expected,
            dtype="",
            verdict="wrong",
            blame=place,
            note=f"its backward returns a gradient of shape {list(m.returned)} for an input of shape "
            f"{list(m.expected)}, which autograd adds up in silence",
            hint="return the gradient in the input's own shape: sum it over the dimensions that were broadcast",
        )
        found.append(finding)
    return found


def _repeated(variable: Variable, first: Backward, second: Backward) -> Finding | None:
    a, b = first.autograd[variable.name], second.autograd[variable.name]
    if a is None or b is None or not a.numel():
        return None
    x, y = dense(a), dense(b)
    gap = torch.where(_same(x, y), 0.0, (x - y).abs().double()).nan_to_num(nan=torch.inf)
    scale = max(float(x.abs().max()), float(y.abs().max()))
    place = int(gap.argmax())
    if not float(gap.reshape(-1)[place]) > first.epsilon**0.5 * scale:
        return None
    index = index_of(place, x)
    return replace(
        _finding(variable, "nondeterministic"),
        index=index,
        error=float(gap.reshape(-1)[place]) / scale,
        tolerance=first.epsilon**0.5,
        numbers={"autograd": x[index].item(), "autograd again": y[index].item()},
        note="the gradient is another one when the same call is made again with the same random seed and buffers",
    )


def _same(a: Tensor, b: Tensor) -> Tensor:
    return (a == b) | (a.isnan() & b.isnan())


def _finding(variable: Variable, verdict: Verdict) -> Finding:
    return Finding(
        **about(variable),
        verdict=verdict,
    )
