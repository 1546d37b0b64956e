"""A formula as people write it, for torch and for sympy."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gradlab.errors import BadInput

if TYPE_CHECKING:
    import sympy


class Expression:
    """A formula in some variables.

    Args:
        text: such as ``sin(x) * exp(x/4)``; names of functions are sympy's (``Abs``, ``sqrt``, ``log``, ``tanh``,
            ``Max``, ``Heaviside``, …), and besides ``max``, ``min``, ``relu`` and ``sigmoid``.
        variables: their names, in order.

    Raises:
        BadInput: the text is no formula in these variables.

    Example:
        >>> f = Expression("x**2 + y", ["x", "y"])
        >>> f(torch.tensor(3.0), torch.tensor(1.0)).item(), str(f.derivative("x"))
        (10.0, '2*x')
    """

    def __init__(self, text: str, variables: Sequence[str]) -> None:
        import sympy
        from sympy.printing.codeprinter import PrintMethodNotImplementedError

        self.text = str(text)
        self.variables = tuple(variables)
        self.symbols = tuple(sympy.Symbol(name, real=True) for name in variables)
        known = _names() | {str(s): s for s in self.symbols}
        try:
            self.sympy: Any = sympy.sympify(self.text, locals=known)
        except (sympy.SympifyError, TypeError, AttributeError, SyntaxError) as error:
            raise BadInput(f"{self.text!r} is no formula: write it as in Python, such as x**2 * sin(x)") from error
        unknown = sorted(map(str, getattr(self.sympy, "free_symbols", set()) - set(self.symbols)))
        if unknown or not isinstance(self.sympy, sympy.Expr):
            what = f"{', '.join(unknown)} is no variable here" if unknown else "it is no number"
            raise BadInput(f"{self.text!r}: {what}; the variables are {', '.join(self.variables)}")
        try:
            self._torch = sympy.lambdify(self.symbols, _in_numbers(self.sympy), [_functions(), torch])
        except (PrintMethodNotImplementedError, AttributeError) as error:
            name = str(error).splitlines()[0].rpartition(" ")[2].strip("'")
            raise BadInput(f"{self.text!r}: {name} is no function that torch has") from None

    def __call__(self, *values: Tensor) -> Tensor:
        """Its value for tensors of one shape, by torch's operations."""
        try:
            return torch.as_tensor(self._torch(*values), dtype=values[0].dtype).expand(values[0].shape)
        except (NameError, AttributeError, TypeError) as error:
            raise BadInput(f"{self.text!r} uses a function that torch lacks ({error})") from error

    def derivative(self, variable: str) -> sympy.Expr:
        """∂/∂variable in closed form."""
        return self.sympy.diff(self.symbols[self.variables.index(variable)])


def _names() -> dict[str, Any]:
    """What people write and sympy does not know, in sympy's functions."""
    import sympy

    return {
        "max": sympy.Max,
        "min": sympy.Min,
        "relu": lambda x: sympy.Max(x, 0),
        "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
    }


def _in_numbers(formula: Any) -> Any:
    """The formula with a number for every part without a variable: torch has no √2, only a √ of tensors."""
    from sympy import Function, Pow

    return formula.replace(
        lambda part: isinstance(part, (Function, Pow)) and part.is_number, lambda part: part.evalf(17)
    )


def _functions() -> dict[str, Callable[..., Tensor]]:
    """Where torch calls a function otherwise than sympy's code for torch does, or takes no numbers."""
    return {
        "max": lambda a, b: _first_where(operator.ge, a, b),
        "min": lambda a, b: _first_where(operator.le, a, b),
        "heaviside": lambda x, at_0: torch.where(x == 0, 0 * x + at_0, (torch.sign(x) + 1) / 2),
        "ceil": torch.ceil,
    }


def _first_where(wins: Callable[[Any, Any], Any], a: Tensor | float, b: Tensor | float) -> Tensor:
    """``a`` where it wins against ``b``, else ``b``; its slope is that of one of them, also where both are equal."""
    return torch.where(wins(a, b), a, b)
