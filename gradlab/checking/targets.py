"""From what a user wants checked (a function, a module, a Function, a LightningModule) to a `Problem`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from gradlab.checking.names import function_behind, name_of
from gradlab.checking.nearby import generators_in, near_to
from gradlab.errors import BadInput
from gradlab.witnesses.generators import Generator
from gradlab.witnesses.leaves import cast, twin
from gradlab.witnesses.problem import Problem, Variable
from gradlab.witnesses.surroundings import Surroundings

WHAT = "a function, an nn.Module, a torch.autograd.Function, or a LightningModule with a batch"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be checked, before it becomes a problem.

    Attributes:
        name: of the function or class.
        call: is called with the arguments.
        module: the module whose parameters are checked; its own copy where it can be copied.
        is_copy: whether ``module`` is a copy, which belongs to the check alone.
        prefix: see `Problem`.
        seen: the user's own modules that a call may reach: what they hold is put back.
        tensors: those that a call, or a Function's backward, may reach by name: their ``.grad`` is put back.
        generators: random generators of the user's own that a call may draw from: each sees them as at first.
        names: of the positional arguments.
    """

    name: str
    call: Callable[..., Any]
    module: nn.Module | None
    is_copy: bool
    prefix: str
    seen: tuple[nn.Module, ...]
    names: tuple[str, ...]
    tensors: tuple[Tensor, ...] = ()
    generators: tuple[Generator, ...] = ()


def target_of(target: Any) -> Target:
    """Recognizes what can be checked.

    Raises:
        BadInput: it is none of the four.
    """
    target = function_behind(target)
    if isinstance(target, nn.Module):
        return _module(getattr(target, "_orig_mod", target))  # a compiled module: the one that it was made from
    if inspect.isclass(target) and issubclass(target, torch.autograd.Function):
        names = _names(target.forward)
        skip = 0 if _has_setup_context(target) else 1
        near = near_to(target.forward, target.backward)
        return Target(target.__name__, target.apply, None, False, "", near.modules, names[skip:], *near.rest)
    if inspect.isclass(target) and issubclass(target, nn.Module):
        raise BadInput(f"{target.__name__} is a class: give an instance of it, such as {target.__name__}(...)")
    if not callable(target):
        raise BadInput(f"check needs {WHAT}; got a {type(target).__name__}")
    near = near_to(target)
    return Target(name_of(target), target, None, False, "", near.modules, _names(target), *near.rest)


def _module(module: nn.Module) -> Target:
    if isinstance(module, torch.jit.ScriptModule):
        raise BadInput("a TorchScript module keeps its parameters to itself: check the module that it was made from")
    if is_lightning(module) and not module.automatic_optimization:
        raise BadInput(
            f"the training_step of {type(module).__name__} calls backward itself (manual optimization), so that it is "
            "no function of the batch: check the module inside it, or a function that returns the loss"
        )
    try:
        own, is_copy = copy.deepcopy(module), True
    except Exception:  # whatever a module holds that cannot be copied: then it is used itself, and put back
        own, is_copy = module, False
    if is_copy:
        own.zero_grad()  # a gradient of the user's is no part of the check
        _copy_hooks(module, own)
    seen = () if is_copy else (module,)
    near = (), tuple(generators_in(own))
    if is_lightning(module):
        step = _Step(own)
        return Target(type(module).__name__, step, step, is_copy, "model.", seen, ("batch", "batch_index"), *near)
    return Target(type(module).__name__, own, own, is_copy, "", seen, _names(module.forward), *near)


def _copy_hooks(module: nn.Module, own: nn.Module) -> None:
    """What changes a parameter's gradient belongs to the module; a copied tensor has lost its hooks."""
    for parameter, copied in zip(module.parameters(), own.parameters(), strict=True):
        for hook in (parameter._backward_hooks or {}).values():
            copied.register_hook(hook)


def is_lightning(module: nn.Module) -> bool:
    """Whether a module is a LightningModule with a training step of its own; Lightning is not imported for it."""
    bases = [base for base in type(module).__mro__ if base.__name__ == "LightningModule"]
    return bool(bases) and type(module).training_step is not bases[0].training_step  # type: ignore[attr-defined]


def is_step(target: Target) -> bool:
    """Whether it is a LightningModule's training step."""
    return isinstance(target.module, _Step)


class _Step(nn.Module):
    """A LightningModule's training step as the forward pass of a module: batch in, loss out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.train(model.training)
        self._takes_index = len(_names(self.model.training_step)) > 1

    def forward(self, batch: Any, batch_index: int = 0) -> Any:
        result = self.model.training_step(batch, batch_index) if self._takes_index else self.model.training_step(batch)
        return result["loss"] if isinstance(result, Mapping) else result


def _has_setup_context(function: type[torch.autograd.Function]) -> bool:
    return function.setup_context is not torch.autograd.function._SingleLevelFunction.setup_context


def _names(function: Any) -> tuple[str, ...]:
    """The names of a function's positional parameters; empty where Python does not know them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in kinds)


# --- the problem ----------------------------------------------------------------------------------------------


def problem_of(
    target: Target,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    loss: Callable[[Any], Tensor] | None,
    captured: Iterable[Variable] = (),
    dtype: torch.dtype | None = None,
) -> Problem:
    """Gives each tensor to differentiate a name and, for an argument, a leaf of its own.

    Args:
        target: what is called.
        args, kwargs: the arguments. Of their floating tensors those are checked that require a gradient; all, where
            none does.
        loss: maps the output to a scalar, or None.
        captured: further tensors that the function uses.
        dtype: floating arguments become this dtype (complex ones its complex counterpart); None leaves them.
    """
    paths, spec = tree_flatten_with_path((args, dict(kwargs)))
    leaves = [leaf for _, leaf in paths]
    chosen = _chosen(leaves)
    names = _unique([_argument_name(path, target.names) for path, _ in paths], target)
    variables = []
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            leaves[position] = leaf = twin(leaf, dtype).requires_grad_(position in chosen)
            if position in chosen:
                variables.append(Variable(names[position], "input", leaf, position))
    variables += [Variable(name, "parameter", p) for name, p in _parameters(target)]
    modules = [m for m in (target.module, *target.seen) if m is not None]
    return Problem(
        target.call,
        leaves,
        spec,
        [*variables, *captured],
        loss,
        target.module,
        target.prefix,
        Surroundings(modules, generators=target.generators),
    )


def _parameters(target: Target) -> Iterator[tuple[str, nn.Parameter]]:
    if target.module is not None:
        named = target.module.named_parameters()
        yield from ((n.removeprefix(target.prefix), p) for n, p in named if p.requires_grad and _is_floating(p))


def _chosen(leaves: list[Any]) -> set[int]:
    """The positions of the arguments to check."""
    floating = {n for n, t in enumerate(leaves) if isinstance(t, Tensor) and _is_floating(t) and _is_dense(t)}
    asking = {n for n in floating if leaves[n].requires_grad}
    return asking or floating


def _is_floating(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _is_dense(tensor: Tensor) -> bool:
    """A sparse tensor has no entries that could be moved one by one."""
    return tensor.layout is torch.strided


def _argument_name(path: tuple, names: tuple[str, ...]) -> str:
    """``x``, ``x[0]``, ``batch['label']``: as the user would write it."""
    kind, *rest = path
    if kind.idx == 0:
        position = rest[0].idx
        name = names[position] if position < len(names) else f"argument {position}"
    else:
        name = str(rest[0].key)
    return name + keystr(tuple(rest[1:]))


def _unique(names: list[str], target: Target) -> list[str]:
    """An argument that is called like a parameter gets another name."""
    taken = {name for name, _ in _parameters(target)}
    return [f"{name} (argument)" if name in taken else name for name in names]


def in_dtype(target: Target, dtype: torch.dtype) -> Target:
    """The same target with a copy of its module in another floating dtype.

    Raises:
        BadInput: the module cannot be copied.
    """
    if target.module is None:
        return target
    if not target.is_copy:
        raise BadInput("the module cannot be copied")
    module = copy.deepcopy(target.module)._apply(lambda t: cast(t, dtype))
    return replace(target, call=module, module=module)
