"""What becomes of a rule's answer: a gradient of the shape and dtype of its value, or an error that says why.

Both sweeps, the general one (`sweep`) and the plain one (`direct`), pass gradients on by these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, NoReturn

import torch
from torch import Tensor

from gradlab.backprop.errors import MissingRuleError, TapeError
from gradlab.backprop.modules import Scope
from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Op, Rule


def fitted(rule: Rule, g: Any, piece: Any, like: Tensor) -> Tensor:
    """A part of a rule's answer as a gradient of the shape and dtype of its value.

    Args:
        rule: for a pointwise one ``piece`` is a local derivative, else a downstream gradient.
        g: the upstream gradient.
        piece: the part of the answer.
        like: the value that the gradient is for.
    """
    gradient = times(g, piece, rule) if rule.is_pointwise else piece
    if gradient.shape != like.shape:
        gradient = sum_to(gradient, like.shape)  # undo broadcasting
    return gradient if gradient.dtype is like.dtype else converted(gradient, like.dtype)


def converted(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """A gradient in the dtype of its value, which type promotion changed; a real value takes the real part."""
    return (gradient.real if gradient.is_complex() and not dtype.is_complex else gradient).to(dtype)


def times(upstream: Any, local: Any, rule: Rule) -> Tensor:
    """upstream × local derivative; for complex numbers, PyTorch's convention conjugates the local one.

    Where the rule's local derivative is fresh, the product takes its memory.
    """
    if rule.is_fresh:
        return local.mul_(upstream) if not local.is_complex() else upstream * local.conj()
    if not isinstance(local, Tensor):
        return upstream if local == 1 else upstream * local.conjugate()
    return upstream * (local.conj() if local.is_complex() else local)


def fitted_late(
    part: Callable[[], Tensor | None], rule: Rule, g: Any, like: Tensor, op: Op, scope: Scope
) -> Tensor | None:
    """A contribution that was put aside, `fitted`; None where there is none."""
    try:
        piece = part()
        return None if piece is None else fitted(rule, g, piece, like)
    except RuntimeError as error:
        broken_rule(error, op, scope)


@torch.no_grad()
def total(sofar: Tensor | None, contributions: list[Callable[[], Tensor | None]]) -> Tensor | None:
    """Finishes a gradient that was put aside: the sum over the uses of its value; None where none has one."""
    pieces = [sofar, *(contribution() for contribution in contributions)]
    found = [piece for piece in pieces if piece is not None]
    return reduce(torch.add, found) if found else None


def no_rule(op: Op, scope: Scope) -> NoReturn:
    """The error where a gradient reaches an operation that has no handwritten rule."""
    raise MissingRuleError(
        f"no handwritten rule for the operation {op} (module: {scope.label}): "
        "a gradient reaches it, and guessing is not an option. "
        "Add its rule to gradlab/backprop/rules, or keep the operation out of the recorded forward pass."
    )


def broken_rule(error: RuntimeError, op: Op, scope: Scope) -> NoReturn:
    """The error where a handwritten rule cannot be applied, with its operation and the module."""
    if isinstance(error, (TapeError, torch.OutOfMemoryError)):
        raise error
    raise TapeError(f"the handwritten rule for the operation {op} (module: {scope.label}) failed: {error}") from error


def refuse_change(read: Tensor, version: int | None, rule: Rule, scope: Scope) -> None:
    """An error where a content that a rule reads is not the one that was recorded."""
    if version is not None and read._version != version:
        raise TapeError(
            f"a tensor of shape {tuple(read.shape)}, read by {rule.name} in module {scope.label}, "
            "was changed after it was recorded: sweep before the optimizer's step or any other update, "
            "and ask for the gradients of data before it too"
        )


def refuse_lost(tensor: Tensor, reason: str) -> None:
    """An error where a gradient ends in a tensor from which it should go on, and there is a reason why it cannot."""
    if reason:
        raise TapeError(f"the gradient of a tensor of shape {tuple(tensor.shape)} is lost: {reason}")
