"""The operations of which formulas are made: as people write them, and as torch and sympy compute them."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    import sympy

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class Operation(NamedTuple):
    """How people write it, how torch computes it, and which positions want a tensor rather than a Python number."""

    form: str
    torch: Callable[..., Any]
    sympy: Callable[..., Any]
    as_tensors: tuple[int, ...] = ()


BINARY: dict[type[ast.operator], Operation] = {
    ast.Add: Operation("{} + {}", operator.add, operator.add),
    ast.Sub: Operation("{} − {}", operator.sub, operator.sub, (0,)),
    ast.Mult: Operation("{}·{}", operator.mul, operator.mul),
    ast.Div: Operation("{}/{}", operator.truediv, operator.truediv, (0,)),
    ast.Pow: Operation("{}^{}", operator.pow, operator.pow),
    ast.BitXor: Operation("{}^{}", operator.pow, operator.pow),
}
NEGATION = Operation("−{}", operator.neg, operator.neg)
PLAIN = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "sqrt")
TORCH_NAMES = {"ln": "log", "Abs": "abs", "abs": "abs", "Max": "maximum", "Min": "minimum"}
FUNCTIONS: dict[str, str] = {**{name: name for name in PLAIN}, **TORCH_NAMES}
CONSTANTS = {"pi": math.pi, "E": math.e}


def function(name: str) -> Operation:
    """The function of that name, one of `FUNCTIONS`."""
    import sympy

    two = name in ("Max", "Min")
    form = f"{name}({{}}, {{}})" if two else f"{name}({{}})"
    of_sympy = sympy.Abs if name == "abs" else getattr(sympy, name)
    return Operation(form, getattr(torch, FUNCTIONS[name]), of_sympy, (0, 1) if two else ())


def derivative(operation: Operation, parts: Sequence[str | float], place: int) -> sympy.Expr:
    """By one argument, as if all of them were different variables; then in the names of what stands there."""
    import sympy

    stand_ins = [sympy.Dummy(real=True) if isinstance(part, str) else _exact(part) for part in parts]
    named = {
        s: sympy.Symbol(part, real=True) for s, part in zip(stand_ins, parts, strict=True) if isinstance(part, str)
    }
    return operation.sympy(*stand_ins).diff(stand_ins[place]).subs(named)


def _exact(number: float) -> Any:
    import sympy

    return sympy.Integer(int(number)) if number == int(number) else sympy.Float(number)


def written(operation: Operation, parts: Sequence[str | float]) -> str:
    """The operation on these names and numbers as people write it.

    Example:
        >>> written(BINARY[ast.Sub], ["a", -1.0]), written(BINARY[ast.Pow], ["x", 2.0])
        ('a − (−1)', 'x²')
    """
    if operation.form == "{}^{}" and isinstance(parts[1], float) and parts[1] == int(parts[1]):
        return f"{parts[0]}{f'{parts[1]:.0f}'.translate(SUPERSCRIPTS)}"
    words = [part if isinstance(part, str) else f"{part:g}".replace("-", "−") for part in parts]
    return operation.form.format(*(f"({word})" if i and word.startswith("−") else word for i, word in enumerate(words)))
