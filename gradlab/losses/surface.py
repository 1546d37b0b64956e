"""A surface: a toy loss over a point θ, with known minimizers. Its formula is stated once and read twice.

A surface writes its formula in one method, ``formula(p, m)``, where ``p`` holds the coordinates and ``m`` the
functions (``m.exp``, ``m.cos``, ``m.sum`` over the coordinates, ...). Given a tensor and torch's functions it
is the loss that a run descends. Given a NumPy array of symbols and sympy's functions it is an expression,
whose derivatives are the closed forms that a run is compared with. Powers, products and indexing such as
``p[..., 0]`` mean the same in both.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import sympy

Point = tuple[float, ...]
Window = tuple[tuple[float, float], tuple[float, float]]

ANY_DIMENSION = "quadratic, rosenbrock, rastrigin, ackley, styblinski_tang"

TORCH_FUNCTIONS = SimpleNamespace(
    pi=math.pi,
    e=math.e,
    exp=torch.exp,
    cos=torch.cos,
    sqrt=torch.sqrt,
    sum=lambda values: values.sum(-1),
    constants=lambda values, p: values.to(p),
)


def sympy_functions() -> SimpleNamespace:
    """The same names as in ``TORCH_FUNCTIONS``, for NumPy arrays of sympy expressions."""
    import sympy

    return SimpleNamespace(
        pi=sympy.pi,
        e=sympy.E,
        exp=np.frompyfunc(sympy.exp, 1, 1),
        cos=np.frompyfunc(sympy.cos, 1, 1),
        sqrt=np.frompyfunc(sympy.sqrt, 1, 1),
        sum=lambda values: values.sum(-1),
        constants=lambda values, p: np.array([sympy.Float(v) for v in values.tolist()], dtype=object),
    )


class Surface(nn.Module):
    """A loss f(θ) over a point θ ∈ ℝⁿ, for ``loss(model(x), y)`` with ``model=point``.

    A subclass gives ``formula``, the dimensions it exists in (``smallest`` to ``largest``, ``None`` for no
    bound), ``default_start`` (one number for every coordinate, or all of them), and the attributes below.

    Args:
        dimension: the number n of coordinates.
        start: where a descent starts: one number for every coordinate, or n numbers; ``None``: as usual.

    Attributes:
        minimizers: the known global minimizers, each a tuple of n numbers; empty where there is none.
        minimum: the value there; −inf for a surface that is unbounded below, NaN where nobody stated it.
        bounds: a good window for a picture, ((x₀, x₁), (y₀, y₁)).
        start: where a descent starts, n numbers.

    Raises:
        ValueError: the surface does not exist in this dimension, or ``start`` does not have it.
    """

    smallest: ClassVar[int] = 1
    largest: ClassVar[int | None] = None
    default_start: ClassVar[float | Point] = 1.0

    minimizers: tuple[Point, ...] = ()
    minimum: float = math.nan
    bounds: Window = ((-2.0, 2.0), (-2.0, 2.0))

    def __init__(self, dimension: int = 2, start: float | Sequence[float] | None = None) -> None:
        super().__init__()
        self.dimension = self._checked_dimension(dimension)
        self.start = self._checked_start(self.default_start if start is None else start)

    @property
    def name(self) -> str:
        """The option's name on the command line: ``StyblinskiTang`` is ``styblinski_tang``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def box(self) -> tuple[tuple[float, float], ...]:
        """An interval for each coordinate: those of ``bounds``, the second one also for every further coordinate."""
        first, second = self.bounds
        return (first, *[second] * (self.dimension - 1))

    def formula(self, p: Any, m: Any) -> Any:
        """f(p) by the functions of ``m``: p has shape [..., n] and the result [...]."""
        raise NotImplementedError(f"{type(self).__name__} is a surface without a formula(p, m): write one")

    def forward(self, point: Tensor, target: Tensor | None = None) -> Tensor:
        """f at each point.

        Args:
            point: the coordinates, shape [..., dimension], floating.
            target: a surface has none; it is an argument because ``loss(model(x), y)`` gives one.

        Returns:
            The values, shape [...]: a scalar for a single point.

        Raises:
            ValueError: the last axis of ``point`` is not ``dimension`` long, or a target was given.
        """
        if target is not None:
            raise ValueError(
                f"{self.name} is a surface: its value depends on the point alone, and a target was given. "
                "Use model=point with data=none, or a loss that takes a target: "
                "loss=mse, huber, l1, cross_entropy or bce"
            )
        if point.ndim == 0 or point.shape[-1] != self.dimension:
            raise ValueError(
                f"{self.name} takes points of dimension {self.dimension}, got a prediction of shape "
                f"{list(point.shape)}: use model=point with data=none, and let model.dimension be "
                f"loss.dimension. {self._dimensions()}"
            )
        return self.formula(point, TORCH_FUNCTIONS)

    def expression(self) -> "tuple[tuple[sympy.Symbol, ...], sympy.Expr]":
        """The formula as sympy reads it.

        Returns:
            The symbols (x and y in two dimensions, x1, x2, ... in others) and the expression in them.
        """
        import sympy

        names = "x y" if self.dimension == 2 else f"x1:{self.dimension + 1}"
        symbols = sympy.symbols(names, real=True)
        value = self.formula(np.array(symbols, dtype=object), sympy_functions())
        return symbols, sympy.sympify(np.asarray(value, dtype=object).item())

    def gradient_at(self, point: Any) -> np.ndarray:
        """∇f in closed form: sympy differentiates the formula, NumPy evaluates the result.

        Args:
            point: n numbers, as a list, an array or a tensor.

        Returns:
            The gradient, shape [n], float64. NaN where f has no gradient (a kink).

        Raises:
            ValueError: ``point`` is not n numbers.
        """
        return self._evaluate(self._gradient, point)

    def hessian_at(self, point: Any) -> np.ndarray:
        """∇²f in closed form, shape [n, n], float64; otherwise as ``gradient_at``."""
        return self._evaluate(self._hessian, point)

    @cached_property
    def _gradient(self) -> Callable[..., Any]:
        import sympy

        symbols, f = self.expression()
        return sympy.lambdify([symbols], [f.diff(s) for s in symbols], "numpy")

    @cached_property
    def _hessian(self) -> Callable[..., Any]:
        import sympy

        symbols, f = self.expression()
        return sympy.lambdify([symbols], [[f.diff(s, t) for t in symbols] for s in symbols], "numpy")

    def _evaluate(self, function: Callable[..., Any], point: Any) -> np.ndarray:
        values = torch.as_tensor(point, dtype=torch.float64).detach().cpu().numpy()
        if values.shape != (self.dimension,):
            raise ValueError(
                f"{self.name} takes one point of {self.dimension} numbers here, got an array of shape "
                f"{list(values.shape)}"
            )
        # At a kink the closed form is 0/0; the NaN that comes of it is the answer.
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array(function(values), dtype=np.float64)

    def _dimensions(self) -> str:
        if self.largest is None:
            return f"{self.name} exists in every dimension from {self.smallest} on"
        return f"{self.name} exists in dimension {self.smallest} only; any dimension: loss={ANY_DIMENSION}"

    def _checked_dimension(self, dimension: int) -> int:
        whole = isinstance(dimension, int) and not isinstance(dimension, bool)
        largest = math.inf if self.largest is None else self.largest
        if not whole or not self.smallest <= dimension <= largest:
            raise ValueError(f"{self.name} has no dimension {dimension!r} (loss.dimension). {self._dimensions()}")
        return dimension

    def _checked_start(self, start: float | Sequence[float]) -> Point:
        values = (start,) * self.dimension if isinstance(start, (int, float)) else start
        if isinstance(values, str) or len(values) != self.dimension:
            raise ValueError(
                f"{self.name} has dimension {self.dimension}, and loss.start is {start}: give "
                f"{self.dimension} numbers, or a single number for every coordinate"
            )
        return tuple(float(value) for value in values)
