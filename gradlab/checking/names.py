"""What a target is called in a report."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import torch

LAMBDA = "<lambda>"


def function_behind(target: Any) -> Any:
    """The custom Function whose ``apply`` this is, since its forward has names for the arguments; else the target.

    Example:
        >>> class Twice(torch.autograd.Function): ...
        >>> function_behind(Twice.apply) is Twice, function_behind(torch.sin) is torch.sin
        (True, True)
    """
    owner = getattr(target, "__self__", None)
    is_custom = inspect.isclass(owner) and issubclass(owner, torch.autograd.Function)
    return owner if is_custom and getattr(target, "__name__", "") == "apply" else target


def name_of(function: Any) -> str:
    """As its author would call it: a lambda by the place where it stands, a method with its class.

    Example:
        >>> name_of(torch.tanh), name_of(functools.partial(torch.sum, dim=0)), name_of(Path.exists)
        ('tanh', 'sum', 'Path.exists')
    """
    while isinstance(function, functools.partial):
        function = function.func
    is_python = inspect.isfunction(function) or inspect.ismethod(function)
    name = getattr(function, "__qualname__" if is_python else "__name__", type(function).__name__)
    name = name.rpartition("<locals>.")[2]
    if not name.endswith(LAMBDA):
        return name
    code = function.__code__
    return f"the lambda at {Path(code.co_filename).name}:{code.co_firstlineno}"
