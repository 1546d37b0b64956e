"""Whether a check can be made at all: what is wrong with a question is said before any work is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from gradlab.checking.targets import Target, is_step
from gradlab.errors import BadInput
from gradlab.nonfinite import explain_loss
from gradlab.witnesses import Problem
from gradlab.witnesses.problem import floating


def check_question(target: Target, arguments: Any, loss: Callable[[Any], Tensor] | None) -> None:
    """Refuses what no witness could look at.

    Raises:
        BadInput: a LightningModule comes without a batch, ``loss`` is no function, or a tensor holds no numbers.
    """
    leaves = tree_leaves(arguments)
    if is_step(target) and not leaves:
        raise BadInput(f"{target.name} is a LightningModule: give a batch too, check(model, batch)")
    if loss is not None and not callable(loss):
        raise BadInput(
            f"loss must be a function that maps the output to a scalar tensor, it is {loss!r}: such as "
            "loss=lambda output: torch.nn.functional.mse_loss(output, target)"
        )
    own = list(target.module.parameters()) if target.module is not None else []
    if any(t.is_meta for t in (*leaves, *own) if isinstance(t, Tensor)):
        raise BadInput(
            "a tensor lies on the meta device, which holds shapes and no numbers, so there is no slope to look at: "
            "give tensors on a device such as cpu (a module: .to_empty(device='cpu') and initialize it)"
        )


def chosen_witnesses(asked: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The witnesses by name.

    Raises:
        BadInput: one is unknown, or there is none to compare autograd with.

    Example:
        >>> chosen_witnesses("numeric", ("autograd", "numeric"))
        ('numeric',)
    """
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInput(f"there is no witness {unknown[0]!r}: choose from {', '.join(known)}")
    if not set(names) - {"autograd"}:
        others = ", ".join(name for name in known if name != "autograd")
        raise BadInput(f"autograd is who is checked, so at least one other witness is needed: choose from {others}")
    return names


def check_variables(problem: Problem) -> None:
    """Refuses a problem without anything to differentiate by.

    Raises:
        BadInput: there is nothing.
    """
    if problem.variables:
        return
    tensors = [leaf for leaf in problem.leaves if isinstance(leaf, Tensor)]
    sparse = [t for t in tensors if t.layout is not torch.strided]
    if sparse:
        what = "the input is sparse, and its entries cannot be moved one by one"
        instead = (
            "give the dense tensor, or a function of its values: lambda v: f(torch.sparse_coo_tensor(i, v, shape))"
        )
    elif hidden := hidden_tensors(problem.leaves):
        what = f"the tensors inside a {hidden[0]} are not looked at"
        instead = "pass them as arguments of their own, such as lambda x: f(Batch(x))"
    else:
        kinds = ", ".join(dict.fromkeys(str(t.dtype).removeprefix("torch.") for t in tensors))
        what = f"no floating-point tensor (the inputs are {kinds})" if kinds else "no tensor"
        what = f"there is {what} among the inputs, and no parameter that requires a gradient"
        instead = "pass the tensors to differentiate by as arguments, or call requires_grad_() on parameters"
    raise BadInput(f"nothing to check: {what}; {instead}")


def hidden_tensors(leaves: Sequence[Any]) -> list[str]:
    """The types of arguments that hold floating tensors where pytree does not find them: dataclasses, other objects.

    Example:
        >>> from types import SimpleNamespace
        >>> hidden_tensors([torch.ones(2), 3, SimpleNamespace(x=torch.ones(2))])
        ['SimpleNamespace']
    """
    objects = (leaf for leaf in leaves if not isinstance(leaf, Tensor) and not callable(leaf))
    return list(dict.fromkeys(type(leaf).__name__ for leaf in objects if floating(_held_by(leaf))))


def _held_by(leaf: Any) -> list[Any]:
    return list((leaf if isinstance(leaf, Mapping) else getattr(leaf, "__dict__", {})).values())


def check_finite(problem: Problem, value: float) -> None:
    """Refuses a point at which L is NaN or infinite: no witness has a slope there, so that none could disagree.

    Raises:
        BadInput: it is; the message names the operation that made the first such number.
    """
    if not math.isfinite(value):
        where = explain_loss(problem.value)
        raise BadInput(
            f"the output is {value} at this point, so that there is no slope to look at ({where}): check at a point "
            "where it is finite, or give loss=..., which makes a finite scalar of it"
        )


def explain_call(error: Exception, target: Target, problem: Problem) -> Exception:
    """A clearer error for a call that failed as calls in a check typically do; else the error itself."""
    text = str(error)
    name = "f" if " " in target.name else target.name
    if "leaf" in text and "in-place" in text:
        return BadInput(
            f"the function changes an argument in place, which autograd forbids for a tensor to differentiate by: "
            f"check a function that clones it first, such as lambda x: {name}(x.clone())"
        )
    given = {v.tensor.dtype for v in problem.variables.values() if v.kind == "input"}
    own = {p.dtype for p in target.module.parameters()} if target.module is not None else set()
    if "dtype" in text and given and own and not given & own:
        names = [" and ".join(sorted(str(d).removeprefix("torch.") for d in dtypes)) for dtypes in (own, given)]
        return BadInput(
            f"the module holds {names[0]} numbers and the inputs are {names[1]}: convert either, such as "
            "check(model.double(), x.double())"
        )
    return error
