"""A formula operation by operation, as it is written: nothing is simplified, so that a tape sees all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gradlab.errors import BadInput
from gradlab.studies.operations import BINARY, CONSTANTS, FUNCTIONS, NEGATION, Operation, derivative, function, written

if TYPE_CHECKING:
    import sympy

RESULT = "f"
LETTERS = "abcdghkmnpqrsuvwz"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation.

    Attributes:
        name: of what it makes: a letter, and ``f`` for the last.
        formula: what it computes, in the names of what it uses, such as ``x·b``.
        inputs: the names that it uses, a name used twice standing there twice; constants are left out.
        tensor: its value.
        locals: the derivative by each of ``inputs``, in closed form.
    """

    name: str
    formula: str
    inputs: tuple[str, ...]
    tensor: Tensor
    locals: tuple[sympy.Expr, ...]


class Written:
    """A formula that computes itself step by step.

    A part that is written twice is computed once and used twice.

    Args:
        text: as in `gradlab.studies.expression.Expression`.
        variables: the names that stand for variables.

    Raises:
        BadInput: something in the text is no operation that is known here.

    Example:
        >>> written = Written("x*sin(x*y) + y", ["x", "y"])
        >>> steps = written.steps(torch.tensor(2.0), torch.tensor(-1.0))
        >>> [f"{step.name} = {step.formula}" for step in steps]
        ['a = x·y', 'b = sin(a)', 'c = x·b', 'f = c + y']
        >>> [str(local) for local in steps[1].locals]
        ['cos(a)']
    """

    def __init__(self, text: str, variables: Sequence[str]) -> None:
        self.text = str(text)
        self.variables = tuple(variables)
        try:
            self._tree = ast.parse(self.text.strip(), mode="eval").body
        except SyntaxError:
            raise BadInput(f"{self.text!r} is no formula: write it as in Python, such as x*sin(x*y) + y") from None
        ones = torch.ones((), dtype=torch.float64)
        if not self.steps(*(ones for _ in self.variables)):
            raise BadInput(f"{self.text!r} has no operation: there is no chain to follow")

    def steps(self, *values: Tensor) -> list[Step]:
        """Every operation in order, for these values of the variables; the last one makes the formula's value."""
        return _Computing(self.text, dict(zip(self.variables, values, strict=True))).run(self._tree)

    def __call__(self, *values: Tensor) -> Tensor:
        """The formula's value."""
        return self.steps(*values)[-1].tensor


def names_in(text: str) -> list[str]:
    """The names in a formula that are no functions, in the order in which they first stand there.

    Example:
        >>> names_in("sin(y) * x + y")
        ['y', 'x']
    """
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except SyntaxError:
        return []
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = sorted((n for n in nodes if isinstance(n, ast.Name) and id(n) not in called), key=_place)
    return list(dict.fromkeys(node.id for node in names if node.id not in CONSTANTS))


def _place(node: ast.Name) -> tuple[int, int]:
    return node.lineno, node.col_offset


class _Computing:
    """One pass through the formula: each part becomes a name in ``values``, or a number."""

    def __init__(self, text: str, values: Mapping[str, Tensor]) -> None:
        self._text = text
        self._values = dict(values)
        self._known: dict[str, str | float] = {}
        self._steps: list[Step] = []
        self._letters = self._free_names()

    def run(self, tree: ast.expr) -> list[Step]:
        self._part(tree, is_last=True)
        return self._steps

    def _part(self, node: ast.expr, is_last: bool = False) -> str | float:
        key = ast.dump(node)
        if key not in self._known:
            self._known[key] = self._compute(node, is_last)
        return self._known[key]

    def _compute(self, node: ast.expr, is_last: bool) -> str | float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in self._values:
                return name
            case ast.Name(id=name) if name in CONSTANTS:
                return CONSTANTS[name]
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return self._part(inner, is_last)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return self._apply(NEGATION, [self._part(inner)], is_last)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return self._apply(BINARY[type(op)], [self._part(left), self._part(right)], is_last)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                return self._apply(function(name), [self._part(each) for each in args], is_last)
        known = ", ".join(FUNCTIONS)
        raise BadInput(f"{self._text!r}: {ast.unparse(node)!r} cannot be followed; + − * / ** can, and {known}")

    def _apply(self, operation: Operation, parts: Sequence[str | float], is_last: bool) -> str | float:
        import sympy

        count = operation.form.count("{}")
        if len(parts) != count:
            raise BadInput(f"{self._text!r}: {operation.form.format(*['…'] * count)} takes {count} numbers here")
        inputs = [part for part in parts if isinstance(part, str)]
        try:
            if not inputs:
                return float(operation.sympy(*map(sympy.Float, parts)))
            made = operation.torch(*self._arguments(operation, parts))
        except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
            raise BadInput(f"{self._text!r}: {written(operation, parts)} cannot be computed: {error}") from None
        name = RESULT if is_last and RESULT not in self._values else next(self._letters)
        self._values[name] = made
        locals_ = tuple(derivative(operation, parts, i) for i, part in enumerate(parts) if isinstance(part, str))
        self._steps.append(Step(name, written(operation, parts), tuple(inputs), made, locals_))
        return name

    def _arguments(self, operation: Operation, parts: Sequence[str | float]) -> Iterator[Tensor | float]:
        for i, part in enumerate(parts):
            if isinstance(part, str):
                yield self._values[part]
            else:
                yield torch.tensor(part, dtype=torch.float64) if i in operation.as_tensors else part

    def _free_names(self) -> Iterator[str]:
        taken = {*self._values, RESULT}
        yield from (letter for letter in LETTERS if letter not in taken)
        yield from (f"v{i}" for i in range(1, 10**6) if f"v{i}" not in taken)
