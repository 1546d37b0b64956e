"""The witness `symbolic`: sympy differentiates the expression itself.

The operations that a tape recorded are carried out again on arrays in which the moved entry is a symbol and all others
are numbers. L is then an expression in one symbol; sympy gives its derivative, and evaluates it with thirty digits. Of
a piecewise function, such as ReLU, the piece counts in which the point lies.

The expression is a function like any other: `detach` leaves it as it is. Whether it is the whole function is seen at
the point and at one nearby: what left PyTorch on the way (``item()``, NumPy) is a constant in the expression only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gradlab.backprop import Entry, Tape, TapeError, Value
from gradlab.witnesses.base import CannotSay
from gradlab.witnesses.forward import copied_buffers
from gradlab.witnesses.moves import Moves, flat, index_of
from gradlab.witnesses.numeric import scale_of
from gradlab.witnesses.problem import Problem, Variable

MOST_OPERATIONS = 200
MOST_NUMBERS = 200_000  # in the arrays that the symbol reaches
MOST_TERMS = 400  # in the expressions that one operation makes
ROUNDINGS = 2**10  # by which L may differ from its expression, in units of the largest number on the way
OPTIONS = ("layout", "device", "pin_memory", "memory_format", "dtype")  # that mean nothing to an expression
# Functions of a and b (0 where there is none) that are one function where a > b, and another where a < b.
PIECES: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "relu": (lambda a, b: a, lambda a, b: 0),
    "abs": (lambda a, b: a, lambda a, b: -a),
    "sign": (lambda a, b: 1, lambda a, b: -1),
    **dict.fromkeys(("maximum", "clamp_min"), (lambda a, b: a, lambda a, b: b)),
    **dict.fromkeys(("minimum", "clamp_max"), (lambda a, b: b, lambda a, b: a)),
    **dict.fromkeys(("gt", "ge"), (lambda a, b: True, lambda a, b: False)),
    **dict.fromkeys(("lt", "le"), (lambda a, b: False, lambda a, b: True)),
    "eq": (lambda a, b: False, lambda a, b: False),
    "ne": (lambda a, b: True, lambda a, b: True),
}


class Symbolic:
    """∂L by single entries, in closed form, for small expressions in real variables.

    Args:
        problem: what is looked at; it is left as it was.

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
        self._largest = 0.0
        self._moves: Moves | None = None

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        """∂L by some entries, see `gradlab.witnesses.base.Witness`.

        Raises:
            CannotSay: the expression is too large, an operation is not in the table, the point is at a kink, or the
                recorded operations are not the whole function.
        """
        found = self._problem.variables[variable]
        if found.tensor.is_complex():
            raise CannotSay("an expression in real variables is needed")
        if torch.finfo(found.tensor.dtype).eps > torch.finfo(torch.float32).eps:
            raise CannotSay("the numbers beside the symbol are too coarse in half precision")
        return torch.tensor([self._slope(found, place) for place in places.tolist()], dtype=torch.float64)

    def _slope(self, variable: Variable, place: int) -> float:
        import sympy

        # Without assumptions: a real one makes |x| of √x², whose derivative sympy takes for 0 at 0.
        symbol = sympy.Symbol("x")
        try:
            expression = self._expression(variable, place, symbol)
            self._check_whole(expression, symbol, variable, place)
            return _number(sympy.diff(expression, symbol), symbol, flat(variable.tensor)[place])
        except RecursionError:  # its traceback of a thousand frames tells nothing
            raise CannotSay("the expression is too large: its functions are nested too deeply for sympy") from None

    def _expression(self, variable: Variable, place: int, symbol: Any) -> Any:
        import sympy

        entries, output = self._record()
        own = variable.tensor
        arrays: dict[Value, np.ndarray] = {}
        sizes: dict[Any, int] = {}

        def content(value: Value) -> np.ndarray:
            if value not in arrays:
                arrays[value] = _numbers(value)
                if value.entry is None and value.users_tensor is own:
                    arrays[value][index_of(place, own)] = symbol
            return arrays[value]

        reached: set[Value] = {v for e in entries for v in e.inputs if v.entry is None and v.users_tensor is own}
        for entry in entries:
            if reached.isdisjoint(entry.inputs) or entry.facts.is_shape_only:
                continue
            for value, array in _replay(entry, content):
                arrays[value] = array
                expressions = [x for x in array.flat if isinstance(x, sympy.Basic)]
                if _size_of(expressions, sizes) > MOST_TERMS:
                    raise CannotSay(f"the expression is too large: more than {MOST_TERMS:,} terms after {entry.name}")
                if expressions:
                    reached.add(value)
        return sympy.sympify(content(output).item())

    def _record(self) -> tuple[list[Entry], Value]:
        if self._recorded is None:
            self._problem.settle()
            buffers = copied_buffers(self._problem)  # later evaluations write into the module's own
            try:
                # With gradients, or the tape takes `detach` for a constant; without rules, so that it keeps every
                # content that an operation read.
                with torch.enable_grad(), Tape(rules={}) as tape:
                    value = self._problem.value(parameters=buffers)
            except TapeError as error:
                raise CannotSay(str(error)) from error
            if len(tape.entries) > MOST_OPERATIONS:
                raise CannotSay(f"the expression is too large: {len(tape.entries):,} operations")
            values = [v for e in tape.entries for v in (*e.inputs, *e.outputs) if v is not None]
            if any(v.tensor.layout is not torch.strided for v in values):
                raise CannotSay("sparse tensors take part")
            self._recorded = list(tape.entries), tape.value_of(value)
            self._largest = max(map(_size, values), default=0.0)
        return self._recorded

    def _check_whole(self, expression: Any, symbol: Any, variable: Variable, place: int) -> None:
        """Whether L is what the expression says, at the point and at one of two beside it."""
        try:
            self._moves = self._moves or Moves(self._problem)
        except RuntimeError as error:  # a function that itself calls autograd
            raise CannotSay("L cannot be evaluated without gradients, and so the expression not be checked") from error
        epsilon, x = torch.finfo(variable.tensor.dtype).eps, flat(variable.tensor)
        step = float(scale_of(x)[place]) * epsilon**0.25  # far more than rounding, and less than to the next kink
        points = (x[place].double() + torch.tensor([0.0, step, -step])).to(x.dtype)
        values = self._moves.at(variable.name, torch.full((3,), place), points, one_by_one=True)

        def same(k: int) -> bool:
            gap = abs(_number(expression, symbol, points[k]) - float(values[k]))
            return gap <= ROUNDINGS * epsilon * self._largest

        if not math.isfinite(values[0]):
            raise CannotSay("L is not finite")
        if not same(0) or not any(math.isfinite(values[k]) and same(k) for k in (1, 2)):
            raise CannotSay(
                "L is not what its operations say: numbers leave PyTorch on the way, or roundings are large"
            )


def _size_of(expressions: Sequence[Any], known: dict[Any, int]) -> int:
    """How many terms expressions have when written out, each shared part as often as it occurs."""
    total = 0
    for expression in expressions:
        if expression not in known:
            known[expression] = 1 + _size_of(expression.args, known)
        total += known[expression]
    return total


def _by_piece(name: str, arguments: Sequence[Any], numbers: Sequence[Any]) -> np.ndarray:
    """A function of `PIECES` by the piece in which the point lies.

    Args:
        name: of the operation.
        arguments: one or two arrays or numbers.
        numbers: what they are at the point.

    Raises:
        CannotSay: the point lies between the pieces.
    """
    from gradlab.witnesses.symbols import exact, is_symbolic

    above, below = PIECES[name]

    def one(a: Any, b: Any, x: Any, y: Any) -> Any:
        if not (is_symbolic(a) or is_symbolic(b)):
            return None
        if x == y:
            raise CannotSay(f"the point is at a kink or a jump of {name}")
        return (above if x > y else below)(exact(a), exact(b))

    (a, b, *_), (x, y, *_) = (*arguments, 0), (*numbers, 0)
    return np.asarray(np.frompyfunc(one, 4, 1)(a, b, x, y), dtype=object)


def _replay(entry: Entry, content: Callable[[Value], np.ndarray]) -> list[tuple[Value, np.ndarray]]:
    """What one operation makes of expressions; for the rest of its entries stands what was recorded."""
    from gradlab.witnesses.symbols import OPERATIONS

    if entry.name not in OPERATIONS and entry.name not in PIECES:
        raise CannotSay(f"{entry.name} is not in the table of symbolic operations")
    args, kwargs = _arguments(entry, content)
    try:
        if entry.name in PIECES:
            made: Any = _by_piece(entry.name, args, _arguments(entry, _numbers)[0])
        else:
            made = OPERATIONS[entry.name](*args, **kwargs)
        arrays = made if isinstance(made, list) else [made]
        return [(v, _filled(entry, v, array)) for v, array in zip(entry.outputs, arrays, strict=True) if v is not None]
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise CannotSay(f"the table of symbolic operations does not cover this use of {entry.name}") from error


def _arguments(entry: Entry, content: Callable[[Value], np.ndarray]) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = list(entry.args), {k: v for k, v in entry.kwargs.items() if k not in OPTIONS}
    for (position, name), group in zip(entry.facts.tensor_arguments, entry.grouped(), strict=True):
        if group is None:
            continue
        array = [v and content(v) for v in group] if isinstance(group, list) else content(group)
        if position < len(args):
            args[position] = array
        else:
            kwargs[name] = array
    return args, kwargs


def _filled(entry: Entry, value: Value, array: np.ndarray) -> np.ndarray:
    from gradlab.witnesses.symbols import symbolic_at

    if array.shape != value.tensor.shape:
        raise ValueError(f"{array.shape} for {value.tensor.shape}")
    if not value.tensor.is_floating_point() and symbolic_at(array).any():
        raise CannotSay(f"{entry.name} makes whole numbers of an expression")
    return np.asarray(np.frompyfunc(lambda x, n: n if x is None else x, 2, 1)(array, _numbers(value)), dtype=object)


def _numbers(value: Value) -> np.ndarray:
    """A content as an array of Python's own numbers."""
    tensor = value.tensor.detach().cpu()
    if tensor.is_complex():
        raise CannotSay("complex numbers take part")
    if tensor.numel() > MOST_NUMBERS:
        raise CannotSay(f"the expression is too large: {tensor.numel():,} numbers in one tensor")
    return np.array((tensor.double() if tensor.is_floating_point() else tensor).numpy(), dtype=object)


def _number(expression: Any, symbol: Any, point: Tensor) -> float:
    """An expression's value; as precise as a double can hold."""
    import sympy

    from gradlab.witnesses.symbols import DIGITS

    try:
        at = {symbol: sympy.Float(point.item(), 2 * DIGITS)}
        number = float(_valued(expression, at).evalf(DIGITS))
    except (TypeError, ValueError, ZeroDivisionError) as error:  # none, an infinite or a complex one
        raise CannotSay("the closed form has no real value at this point") from error
    if not math.isfinite(number):
        raise CannotSay("the closed form has no finite value at this point")
    return number


def _valued(expression: Any, known: dict[Any, Any]) -> Any:
    """An expression in numbers, each shared part once: sympy's own evaluation takes 2ⁿ steps for n nested functions."""
    if expression not in known:
        parts = expression.args
        known[expression] = expression.func(*(_valued(part, known) for part in parts)) if parts else expression
    return known[expression]


def _size(value: Value) -> float:
    """The largest finite number in a content."""
    if not value.tensor.is_floating_point() or not value.tensor.numel():
        return 0.0
    return float(value.tensor.detach().double().nan_to_num(0.0, 0.0, 0.0).abs().max())
