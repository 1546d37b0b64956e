"""One entry of what one operation passes down, by finite differences of that operation alone.

The operation runs twice more, with one entry of one input moved by ±h. For upstream gradients g of its outputs y,

    downstreamᵢ = Σ g · ∂y/∂xᵢ ≈ (⟨g, y(x + h eᵢ)⟩ − ⟨g, y(x − h eᵢ)⟩) / 2h

It needs no derivative of anything, and so knows nothing of the two backward passes that it is asked about. Several
operations that belong together, such as those in the forward of a custom Function, run as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradlab.backprop import Entry, Term
from gradlab.backprop.chain.numbers import content_of
from gradlab.backprop.values import Value

STEP = 2.0**-17  # about the cube root of ε in float64, where truncation (h²) and rounding (ε/h) are alike
MOST_ENTRIES = 1_000_000


def numeric_downstream(terms: Sequence[Term], value: Value, index: tuple[int, ...]) -> float:
    """The derivative by one entry of an input, in float64.

    Args:
        terms: one operation with its upstream gradients, or several that belong together, from the loss down.
        value: one of the inputs; moved wherever they use it.
        index: of its entry.

    Returns:
        The number; NaN where the operations cannot be run again: one is random or deals in complex numbers, they hold
        tensors of more than `MOST_ENTRIES` entries, or an input was overwritten since.

    Example:
        >>> from gradlab.backprop import Tape
        >>> x = torch.tensor([0.5, 2.0], requires_grad=True)
        >>> with Tape() as tape:
        ...     loss = (x * x).sum()
        >>> gradients = tape.backward(loss, terms=(terms := []))
        >>> round(numeric_downstream(terms[-1:], terms[-1].entry.inputs[0], (1,)), 6)  # 2x: it is both factors
        4.0
    """
    if not value.tensor.is_floating_point() or not all(map(_can_run_again, terms)):
        return math.nan
    h = STEP * max(1.0, abs(float(value.tensor.detach()[index])))
    try:
        with torch.no_grad():
            above, below = (_projected(terms, value, index, step) for step in (h, -h))
    except (RuntimeError, NotImplementedError):  # a kernel that takes no float64
        return math.nan
    return (above - below) / (2 * h)


def _can_run_again(term: Term) -> bool:
    entry = term.entry
    if torch.Tag.nondeterministic_seeded in entry.facts.op.tags or any(content_of(v) is None for v in entry.inputs):
        return False
    tensors = [v.tensor for v in entry.inputs] + [g for g in term.upstream if g is not None]
    return not any(t.is_complex() or t.layout is not torch.strided or t.numel() > MOST_ENTRIES for t in tensors)


def _projected(terms: Sequence[Term], value: Value, index: tuple[int, ...], step: float) -> float:
    """⟨g, y⟩ with one entry of one input moved, over all outputs whose gradient comes from elsewhere."""
    moved = _double(value.tensor).clone()
    moved[index] += step
    now: dict[Value, Tensor] = {value: moved}
    inside = {v for term in terms for v, _ in term.downstream}
    total = 0.0
    for term in reversed(terms):
        outputs = _run(term.entry, now)
        for made, y, g in zip(term.entry.outputs, outputs, term.upstream, strict=False):
            if made is not None and isinstance(y, Tensor):
                now[made] = y
                if g is not None and made not in inside:
                    total += float((y.double() * g.double()).sum())
    return total


def _run(entry: Entry, now: dict[Value, Tensor]) -> Sequence[Any]:
    given = iter([now.get(v, _double(v.tensor)) for v in entry.inputs])
    args, kwargs = entry.arguments()
    made = entry.facts.functional(*_with(args, given), **_with(kwargs, given))
    return made if isinstance(made, (tuple, list)) else (made,)


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor


def _with(arguments: Any, given: Any) -> Any:
    """The same arguments with other tensors, in the order in which the tape took them."""
    if isinstance(arguments, Tensor):
        return next(given)
    if isinstance(arguments, dict):
        return {name: _with(each, given) for name, each in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return type(arguments)(_with(each, given) for each in arguments)
    return torch.float64 if isinstance(arguments, torch.dtype) and arguments.is_floating_point else arguments
