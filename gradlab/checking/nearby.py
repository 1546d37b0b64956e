"""What a function reaches without being given it: modules, tensors, generators in its closure and globals."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gradlab.witnesses.generators import KINDS, Generator


@dataclass(frozen=True, slots=True)
class Near:
    """What some functions reach by name."""

    modules: tuple[nn.Module, ...]
    tensors: tuple[Tensor, ...]
    generators: tuple[Generator, ...]

    @property
    def rest(self) -> tuple[tuple[Tensor, ...], tuple[Generator, ...]]:
        return self.tensors, self.generators


def near_to(*functions: Callable[..., Any]) -> Near:
    """What these functions see by name, each thing once; of a module also what it holds.

    Example:
        >>> import torch
        >>> generator = torch.Generator()
        >>> near_to(lambda x: x * torch.rand(3, generator=generator)).generators == (generator,)
        True
    """
    values = [value for function in functions for _, value in surrounding_values(function)]
    modules = [value for value in values if isinstance(value, nn.Module)]
    held = [value for value in values if isinstance(value, KINDS)]
    held += [g for value in values for g in generators_in(value)]
    tensors = [value for value in values if isinstance(value, Tensor)]
    return Near(tuple(modules), tuple(tensors), tuple({id(g): g for g in held}.values()))


def generators_in(owner: Any) -> Iterator[Generator]:
    """The random generators that an object, or any module in it, keeps as an attribute."""
    parts = owner.modules() if isinstance(owner, nn.Module) else [owner]
    for part in parts:
        attributes = vars(part).values() if hasattr(part, "__dict__") and not inspect.ismodule(part) else ()
        yield from (value for value in attributes if isinstance(value, KINDS))


def surrounding_values(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function sees by name without being given it: closure, globals, ``partial``'s arguments, ``self``."""
    while isinstance(function, functools.partial):
        yield from ((f"argument {n}", value) for n, value in enumerate(function.args))
        yield from function.keywords.items()
        function = function.func
    if (owner := getattr(function, "__self__", None)) is not None:
        yield "self", owner
    if not inspect.isfunction(plain := getattr(function, "__func__", function)):
        yield from vars(function).items() if hasattr(function, "__dict__") else ()
        plain = vars(type(function)).get("__call__")
    if inspect.isfunction(plain):
        found = inspect.getclosurevars(plain)
        yield from {**found.globals, **found.nonlocals}.items()


def name_captured(function: Any, leaves: Iterable[Tensor]) -> list[str]:
    """Names for tensors that a function found by itself, as a reader of its source would call them.

    Example:
        >>> import torch
        >>> w = torch.ones(2, requires_grad=True)
        >>> name_captured(lambda x: x * w, [w, torch.ones(3)])
        ['w', 'tensor 1 of shape (3,)']
    """
    known: dict[int, str] = {}
    for name, value in surrounding_values(function):
        if isinstance(value, Tensor):
            known.setdefault(id(value), name)
        elif isinstance(value, nn.Module):
            for path, parameter in value.named_parameters():
                known.setdefault(id(parameter), f"{name}.{path}")
        elif name == "self" and hasattr(value, "__dict__"):
            known.update({id(v): f"self.{n}" for n, v in vars(value).items() if isinstance(v, Tensor)})
    return [known.get(id(t), f"tensor {n} of shape {tuple(t.shape)}") for n, t in enumerate(leaves)]
