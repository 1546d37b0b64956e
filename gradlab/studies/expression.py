"""A formula as people write it, for torch and for sympy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gradlab.errors import BadInput

if TYPE_CHECKING:
    import sympy


class Expression:
    """A formula in some variables.

    Args:
        text: such as ``sin(x) * exp(x/4)``; names of functions are sympy's: ``Abs``, ``sqrt``, ``log``, ``tanh``, …
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

        self.text = str(text)
        self.variables = tuple(variables)
        self.symbols = tuple(sympy.Symbol(name, real=True) for name in variables)
        try:
            self.sympy: Any = sympy.sympify(self.text, locals={str(s): s for s in self.symbols})
        except (sympy.SympifyError, TypeError, AttributeError, SyntaxError) as error:
            raise BadInput(f"{self.text!r} is no formula: write it as in Python, such as x**2 * sin(x)") from error
        unknown = sorted(map(str, getattr(self.sympy, "free_symbols", set()) - set(self.symbols)))
        if unknown or not isinstance(self.sympy, sympy.Expr):
            what = f"{', '.join(unknown)} is no variable here" if unknown else "it is no number"
            raise BadInput(f"{self.text!r}: {what}; the variables are {', '.join(self.variables)}")
        self._torch = sympy.lambdify(self.symbols, self.sympy, [_functions(), torch])

    def __call__(self, *values: Tensor) -> Tensor:
        """Its value for tensors of one shape, by torch's operations."""
        try:
            return torch.as_tensor(self._torch(*values), dtype=values[0].dtype).expand(values[0].shape)
        except (NameError, TypeError) as error:
            raise BadInput(f"{self.text!r} uses a function that torch lacks ({error})") from error

    def derivative(self, variable: str) -> sympy.Expr:
        """∂/∂variable in closed form."""
        return self.sympy.diff(self.symbols[self.variables.index(variable)])


def _functions() -> dict[str, Any]:
    """Where torch calls a function otherwise than sympy does."""
    return {"Abs": torch.abs, "Max": torch.maximum, "Min": torch.minimum, "asin": torch.asin, "ceiling": torch.ceil}
