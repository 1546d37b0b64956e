"""The same target under other conditions: layouts in memory, broadcasting, an expanded upstream gradient, precisions.

A backward that reads memory directly, forgets a sum over a broadcast dimension, or treats one dtype apart, is right for
the tensors of every day and wrong for these. Each condition is one more forward pass with both backward passes; where
they differ, differences (or, in low precision, the gradient in double precision) say which one is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gradlab.checking.findings import Finding, about
from gradlab.checking.judge import judge
from gradlab.checking.tolerances import tolerance_of
from gradlab.hints import WRITTEN
from gradlab.reconcile import Reconciliation
from gradlab.tensors import dense
from gradlab.witnesses import Problem
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.moves import Moves, index_of
from gradlab.witnesses.numeric import directions, look_closely
from gradlab.witnesses.problem import floating


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to call the target otherwise.

    Attributes:
        name: as in reports: ``with non-contiguous inputs``.
        problem: makes the problem; None where the condition does not apply.
        may_raise: whether a backward pass may end in an error: it need not know shapes that nobody gave it.
    """

    name: str
    problem: Callable[[], Problem | None]
    may_raise: bool = False


def conditions(problem: Problem, has_functions: bool) -> Iterator[Condition]:
    """The conditions under which a target is called once more.

    Values, shapes and what requires a gradient are changed for custom Functions only: PyTorch's own operations
    broadcast right, equal rows make a matrix singular, and some kernels that are not meant for everybody write beyond
    their memory when a shape is not as they expect it.

    Args:
        problem: as the target was given.
        has_functions: whether a custom Function takes part.
    """
    yield Condition("with non-contiguous inputs and upstream gradients", lambda: _strided(problem))
    if problem.loss is None:
        yield Condition(
            "with an expanded upstream gradient, as that of .sum()", lambda: _with_loss(problem, _plain_sum)
        )
    if has_functions:
        yield Condition("with L times −3", lambda: _with_loss(problem, lambda output: -3 * problem.reduce(output)))
        yield Condition("with expanded inputs (stride 0)", lambda: _with_inputs(problem, _expanded))
        yield Condition("with the first sample alone", lambda: _with_batch(problem, lambda t: t[:1]), True)
        yield Condition(
            "with every sample twice", lambda: _with_batch(problem, lambda t: torch.cat([t, t]), least=1), True
        )
        inputs = [v for v in problem.variables.values() if v.kind == "input"]
        for variable in inputs[:4] if len(inputs) > 1 else ():
            yield _only(problem, variable.name)
            if variable.tensor.dim() and variable.tensor.shape[0] > 1:
                yield _broadcast(problem, variable.name, "of size 1 in its first dimension", lambda t: t[:1])
                yield _broadcast(problem, variable.name, "without its first dimension", lambda t: t[0])


def _only(problem: Problem, name: str) -> Condition:
    """One input alone requires a gradient: a Function asks ``ctx.needs_input_grad``."""

    def make() -> Problem:
        p = problem
        others = {v.position for v in p.variables.values() if v.kind == "input" and v.name != name}
        leaves = [leaf.detach() if n in others else leaf for n, leaf in enumerate(p.leaves)]
        variables = [v for v in p.variables.values() if v.kind != "input" or v.name == name]
        return Problem(p.function, leaves, p.spec, variables, p.loss, p.module, p.prefix, p.surroundings)

    return Condition(f"where only {name} of the inputs requires a gradient", make)


def _with_batch(problem: Problem, change: Callable[[Tensor], Tensor], least: int = 2) -> Problem | None:
    """Another number of samples; None where the inputs have no first dimension in common."""
    p = problem
    tensors = [leaf for leaf in p.leaves if isinstance(leaf, Tensor)]
    sizes = {t.shape[0] if t.dim() else 0 for t in tensors}
    if p.loss is not None or len(sizes) != 1 or min(sizes) < least:
        return None
    leaves = [_like(change(leaf.detach()), leaf) if isinstance(leaf, Tensor) else leaf for leaf in p.leaves]
    own = p.variables.values()
    variables = [v if v.position is None else replace(v, tensor=leaves[v.position]) for v in own]
    return Problem(p.function, leaves, p.spec, variables, p.loss, p.module, p.prefix, p.surroundings)


def _like(tensor: Tensor, leaf: Tensor) -> Tensor:
    return tensor.clone().requires_grad_(leaf.requires_grad)


def _broadcast(problem: Problem, name: str, how: str, change: Callable[[Tensor], Tensor]) -> Condition:
    def make() -> Problem | None:
        return _with_inputs(problem, lambda n, t: _leaf(change(t)) if n == name else t)

    return Condition(f"with {name} broadcast: {how}", make, may_raise=True)


def _with_inputs(problem: Problem, change: Callable[[str, Tensor], Tensor]) -> Problem | None:
    """The problem with other tensors for its inputs; None where that changes nothing."""
    leaves, variables, is_changed = list(problem.leaves), [], False
    for variable in problem.variables.values():
        if variable.position is not None:
            changed = change(variable.name, variable.tensor)
            is_changed |= changed is not variable.tensor
            leaves[variable.position] = changed
            variable = replace(variable, tensor=changed)
        variables.append(variable)
    if not is_changed:
        return None
    p = problem
    return Problem(p.function, leaves, p.spec, variables, p.loss, p.module, p.prefix, p.surroundings)


def _strided(problem: Problem) -> Problem:
    made = _with_inputs(problem, lambda _, t: _leaf(_other_strides(t))) or _with_inputs(problem, lambda _, t: _leaf(t))
    if made is None:  # no inputs: the upstream gradients remain
        p = problem
        variables = list(p.variables.values())
        made = Problem(p.function, p.leaves, p.spec, variables, p.loss, p.module, p.prefix, p.surroundings)
    if problem.weights is not None:
        made.weights = [_other_strides(w) for w in problem.weights]
    return made


def _other_strides(tensor: Tensor) -> Tensor:
    """The same numbers with gaps in memory, and with the dimensions laid out in reverse order."""
    content = tensor.detach()
    if content.layout is not torch.strided or not content.dim():
        return content
    turned = tuple(reversed(content.shape))
    memory = torch.zeros(*turned, 2, dtype=content.dtype, device=content.device)
    view = memory[..., 0].permute(*reversed(range(content.dim())))
    return view.copy_(content)


def _expanded(name: str, tensor: Tensor) -> Tensor:
    if tensor.layout is not torch.strided or not tensor.dim() or tensor.shape[0] < 2:
        return tensor
    return tensor.detach()[:1].clone().expand(tensor.shape).requires_grad_()


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def _with_loss(problem: Problem, loss: Callable[[Any], Tensor]) -> Problem:
    p = problem
    variables = list(p.variables.values())
    return Problem(p.function, p.leaves, p.spec, variables, loss, p.module, p.prefix, p.surroundings)


def _plain_sum(output: Any) -> Tensor:
    sums = [t.real.sum() if t.is_complex() else t.sum() for t in floating(output)]
    return torch.stack([s.double() for s in sums]).sum()


# --- verdicts -------------------------------------------------------------------------------------------------


def look_under(condition: Condition) -> tuple[list[Finding], str]:
    """What is wrong under a condition, and why it could not be looked at (empty where it could).

    A finding needs two witnesses: the handwritten sweep that differs from autograd, and differences that say so too.
    """
    try:
        problem = condition.problem()
        if problem is None:
            return [], "does not apply"
        backward = Backward(problem)
    except Exception as error:  # a shape or a layout that the target does not take
        return [], f"{type(error).__name__}"
    if backward.error is not None:
        # PyTorch's own operations need not take every layout; a custom Function that took it forwards has to.
        if backward.has_functions and not condition.may_raise:
            return [raised_under(problem, backward.error, condition.name)], ""
        return [], type(backward.error).__name__
    if backward.reconciliation is None:
        return [], backward.failure
    if backward.reconciliation.ok:
        return [], ""
    moves = Moves(problem, backward.epsilon, backward.noise)
    names = [n for n, a in backward.reconciliation.agreements.items() if not a.ok and n in problem.variables]
    found = [_confirmed(problem, backward, moves, name, condition.name) for name in names]
    return [f for f in found if f is not None], ""


RAISED = (  # a part of PyTorch's message, and what it comes from
    ("view size", "possibly it takes the layout of a tensor for granted: .reshape() takes any, .view() does not"),
    ("written-to tensor", WRITTEN),
)


def raised_under(problem: Problem, error: Exception, condition: str) -> Finding:
    """A backward pass that ends in an error where the forward pass did not."""
    variable = next(iter(problem.variables.values()))
    text = str(error).strip().partition("\n")[0]
    return Finding(
        **about(variable),
        verdict="wrong",
        condition=condition,
        note=f"the forward pass runs, and the backward pass raises {type(error).__name__}: {text}",
        hint=next((hint for part, hint in RAISED if part in text), ""),
    )


def _confirmed(problem: Problem, backward: Backward, moves: Moves, name: str, condition: str) -> Finding | None:
    variable = problem.variables[name]
    autograd, manual = (_filled(g[name], variable.tensor) for g in (backward.autograd, backward.manual))
    gap = (autograd - manual).abs().nan_to_num(nan=torch.inf)
    place = int(gap.argmax())
    scale = max(float(autograd.abs().max()), float(manual.abs().max()))
    tolerance = tolerance_of(backward)
    if float(gap[place]) <= tolerance * scale:
        return None
    value = autograd[place].item()
    parts = list(zip((value.real, value.imag), directions(variable.tensor.dtype), strict=False))
    rulings = [judge(part, look_closely(moves, name, place, d), tolerance * scale) for part, d in parts]
    wrong = [(r, d) for r, d in zip(rulings, directions(variable.tensor.dtype), strict=False) if r.status == "wrong"]
    if not wrong:
        return None
    by_hand = manual[place].item()
    ruling, direction = wrong[0]
    part = by_hand.imag if direction == 1j else by_hand.real
    if abs(part - ruling.numeric) > tolerance * scale + 4 * ruling.error:
        return None  # three answers: there is no derivative here, or none that this condition leaves
    blame, hint = blame_of(backward.reconciliation)
    return Finding(
        **about(variable),
        verdict="wrong",
        condition=condition,
        error=float(gap[place]) / scale if scale else 0.0,
        tolerance=tolerance,
        index=index_of(place, variable.tensor),
        numbers={"autograd": value, "manual": manual[place].item(), "numeric": ruling.numeric},
        errors={"numeric": ruling.error},
        off=int((gap > tolerance * scale).sum()),
        alone="autograd",
        blame=blame,
        hint=hint,
    )


def blame_of(reconciliation: Reconciliation | None) -> tuple[str, str]:
    """The operation to blame, in words, and the hint."""
    if reconciliation is None or reconciliation.ok:
        return "", ""
    culprit = reconciliation.culprit
    return (str(culprit), culprit.hint) if culprit else ("", reconciliation.note)


def _filled(gradient: Tensor | None, like: Tensor) -> Tensor:
    dtype = torch.complex128 if like.is_complex() else torch.float64
    if gradient is None:
        return torch.zeros(like.numel(), dtype=dtype)
    return dense(gradient).reshape(-1).to(dtype).cpu()
