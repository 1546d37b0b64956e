"""The witness `symbolic`: sympy differentiates the expression itself.

The operations that a tape recorded are carried out again on arrays whose moved entry is a symbol and whose other
entries are numbers. L is then an expression in one symbol; sympy gives its derivative, and evaluates it with thirty
digits.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gradlab.backprop import Entry, Tape, TapeError
from gradlab.backprop.values import Value
from gradlab.witnesses.base import CannotSay
from gradlab.witnesses.moves import index_of
from gradlab.witnesses.problem import Problem, Variable
from gradlab.witnesses.symbols import OPERATIONS, as_objects

MOST_OPERATIONS = 60
MOST_NUMBERS = 4_000  # made by all operations together
MOST_TERMS = 3_000  # in the expression of L
DIGITS = 30


class Symbolic:
    """∂L by single entries, in closed form, for small expressions.

    Args:
        problem: what is looked at.

    Example:
        >>> from gradlab.checking.targets import problem_of, target_of
        >>> x = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> problem = problem_of(target_of(torch.exp), (x,), {}, torch.sum)
        >>> float(Symbolic(problem).slopes("argument 0", torch.tensor([1]))[0]) == torch.e
        True
    """

    name: ClassVar[str] = "symbolic"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._recorded: tuple[list[Entry], Value] | None = None

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        found = self._problem.variables[variable]
        if found.tensor.is_complex():
            raise CannotSay("an expression of real variables is needed")
        return torch.tensor([self._slope(found, place) for place in places.tolist()], dtype=torch.float64)

    def _slope(self, variable: Variable, place: int) -> float:
        import sympy

        symbol = sympy.Symbol("x", real=True)
        expression = self._expression(variable, place, symbol)
        point = variable.tensor.detach()[index_of(place, variable.tensor)].item()
        try:
            return float(sympy.diff(expression, symbol).subs(symbol, sympy.Float(point, DIGITS)).evalf(DIGITS))
        except TypeError as error:  # the derivative has no number there
            raise CannotSay("the closed form has no value at this point") from error

    def _expression(self, variable: Variable, place: int, symbol: Any) -> Any:
        entries, output = self._record()
        own = variable.tensor
        known: dict[Value, Any] = {}

        def content(value: Value) -> np.ndarray:
            if value not in known:
                known[value] = as_objects(value.tensor)
                if value.entry is None and value.users_tensor is own:
                    known[value] = known[value].copy()
                    known[value][index_of(place, own)] = symbol
            return known[value]

        for entry in entries:
            made = _replay(entry, content)
            if made is not None and entry.outputs[0] is not None:
                known[entry.outputs[0]] = made
        import sympy

        expression = sympy.sympify(np.asarray(content(output), dtype=object).item())
        if expression.count_ops() > MOST_TERMS:
            raise CannotSay("the expression is too large")
        return expression

    def _record(self) -> tuple[list[Entry], Value]:
        if self._recorded is None:
            try:
                with torch.enable_grad(), Tape() as tape:  # under no_grad the tape takes `detach` for a constant
                    value = self._problem.value()
            except TapeError as error:
                raise CannotSay(str(error)) from error
            made = sum(v.tensor.numel() for e in tape.entries for v in e.outputs if v is not None)
            if len(tape.entries) > MOST_OPERATIONS or made > MOST_NUMBERS:
                size = f"{len(tape.entries)} operations that make {made:,} numbers"
                raise CannotSay(f"the expression is too large: {size}")
            self._recorded = list(tape.entries), tape.value_of(value)
        return self._recorded


def _replay(entry: Entry, content: Any) -> np.ndarray | None:
    """One operation again, on objects; None where it depends on no symbol, and its recorded numbers do."""
    groups = dict(zip(entry.facts.tensor_arguments, entry.grouped(), strict=True))
    inputs = {key: _contents(group, content) for key, group in groups.items() if group is not None}
    is_constant = all(v is None or not v.is_differentiable for v in entry.outputs)  # a comparison, an index
    if is_constant or not any(_has_symbol(array) for array in inputs.values()):
        return None
    if entry.name not in OPERATIONS or len(entry.outputs) != 1:
        raise CannotSay(f"{entry.name} is not in the table of symbolic operations")
    args, kwargs = list(entry.args), dict(entry.kwargs)
    for (position, name), array in inputs.items():
        if position < len(args):
            args[position] = array
        else:
            kwargs[name] = array
    kwargs = {k: v for k, v in kwargs.items() if k not in ("layout", "device", "pin_memory", "memory_format", "dtype")}
    return np.asarray(OPERATIONS[entry.name](*args, **kwargs), dtype=object)


def _contents(group: Any, content: Any) -> Any:
    return [content(v) for v in group if v is not None] if isinstance(group, list) else content(group)


def _has_symbol(array: Any) -> bool:
    import sympy

    parts = array if isinstance(array, list) else [array]
    return any(isinstance(x, sympy.Expr) and x.free_symbols for part in parts for x in part.flat)
