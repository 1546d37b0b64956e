"""One target with its arguments, in any dtype: what `precision` and `v_curve` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from gradlab.agreement import compare, tolerance_for
from gradlab.checking.nearby import surrounding_values
from gradlab.checking.targets import Target, in_dtype, problem_of
from gradlab.witnesses import Problem
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.problem import wide
from gradlab.witnesses.surroundings import SEED

Loss = Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class Call:
    """What is called with what."""

    target: Target
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    loss: Loss | None

    def problem(self, dtype: torch.dtype) -> Problem:
        return problem_of(in_dtype(self.target, dtype), self.args, self.kwargs, self.loss, dtype=dtype)

    def rounded(self, dtype: torch.dtype) -> Call:
        """The same call with every floating number rounded to this dtype."""
        target = in_dtype(self.target, dtype)
        problem = problem_of(target, self.args, self.kwargs, self.loss, dtype=dtype)
        args, kwargs = tree_unflatten(problem.leaves, problem.spec)
        return Call(target, args, kwargs, self.loss)

    def backward(self, dtype: torch.dtype) -> Backward:
        backward = Backward(self.problem(dtype))
        if backward.error is not None:
            raise backward.error
        return backward

    def attempt(self, dtype: torch.dtype) -> Backward | str:
        """Both backward passes in this dtype, or why there are none."""
        try:
            return self.backward(dtype)
        except Exception as error:  # whatever keeps it from running is what the row says
            return reason_of(error)

    def notes(self) -> Iterator[str]:
        if self.target.module is None:
            for name in dict.fromkeys(_fixed(self.target.call)):
                yield f"{name} keeps its own dtype throughout, since the function finds it by itself: pass it instead"


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _fixed(function: Any) -> Iterator[str]:
    """The floating tensors, and the modules with such, that a function finds by itself."""
    for name, value in surrounding_values(function):
        held = [value] if isinstance(value, Tensor) else [*value.parameters()] if isinstance(value, nn.Module) else []
        if any(t.is_floating_point() or t.is_complex() for t in held):
            yield name


def notes_on(double: Backward | str) -> Iterator[str]:
    if isinstance(double, str):
        yield f"there is no float64 gradient to compare with ({double})"
        return
    if not double.autograd:
        yield "there is nothing to differentiate by: no floating tensor among inputs or parameters"
    if double.failure:
        yield f"no handwritten sweep in float64: {double.failure}"
    if not torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(SEED).get_state()):
        yield "it draws random numbers: dropout's are the same in each dtype, those of torch.rand and randn are not"
    if disputed := sorted(disputed_in(double)):
        blame = f" (to blame: {blame_on(double)})" if blame_on(double) else ""
        names = ", ".join(disputed)
        yield f"autograd and the handwritten sweep differ in float64 already for {names}{blame}: see gradlab.check"


def disputed_in(double: Backward) -> set[str]:
    """Where float64's own autograd is no truth: the handwritten sweep says something else."""
    errors = errors_against(double.manual, double)
    return {name for name, error in errors.items() if not error <= tolerance_for(torch.float64)}


def blame_on(backward: Backward) -> str:
    culprit = backward.reconciliation.culprit if backward.reconciliation is not None else None
    return str(culprit) if culprit else ""


def errors_against(gradients: Mapping[str, Tensor | None], double: Backward) -> dict[str, float]:
    """The relative error of each against float64; empty where there are none."""
    pairs = {name: _beside(gradients[name], right) for name, right in double.autograd.items() if name in gradients}
    return {name: agreement.error for name, agreement in compare(pairs).items()}


def _beside(own: Tensor | None, right: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """The two in double precision; where both are the same infinity, or NaN, they are taken for equal."""
    own, right = (None if tensor is None else wide(tensor) for tensor in (own, right))
    if own is None or right is None:
        return own, right
    same = ~right.isfinite() & ((own == right) | (own.isnan() & right.isnan()))
    return own.masked_fill(same, 0), right.masked_fill(same, 0)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
