"""PyTorch's primitive operations on NumPy arrays of numbers and sympy expressions: the table of `symbolic`.

Each entry gives the function itself, never a derivative: that is sympy's part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

Operation = Callable[..., Any]


def _each(name: str) -> Operation:
    """A function of sympy's, entry by entry."""

    def apply(x: np.ndarray, *rest: Any) -> np.ndarray:
        import sympy

        return np.frompyfunc(getattr(sympy, name), 1, 1)(x)

    return apply


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + _each("exp")(-x))


def _relu(x: Any) -> Any:
    import sympy

    return sympy.Max(x, 0)


def _softmax(x: np.ndarray, dim: int, half: bool) -> np.ndarray:
    power = _each("exp")(x)
    return power / power.sum(axis=dim, keepdims=True)


def _mse_loss(a: np.ndarray, b: np.ndarray, reduction: int = 1) -> Any:
    square = (a - b) ** 2
    return square if reduction == 0 else _mean(square) if reduction == 1 else _sum(square)


def _add(a: Any, b: Any, alpha: float = 1) -> Any:
    return a + alpha * b


def _sub(a: Any, b: Any, alpha: float = 1) -> Any:
    return a - alpha * b


def _addmm(c: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    return beta * c + alpha * (a @ b)


def _sum(x: np.ndarray, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    axes = None if not dims and dims != 0 else tuple(dims) if isinstance(dims, (list, tuple)) else dims
    return np.asarray(x.sum(axis=axes, keepdims=keepdim), dtype=object)


def _mean(x: np.ndarray, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    total = _sum(x, dims, keepdim)
    return total / (x.size // max(1, total.size))


def _transpose(x: np.ndarray, a: int = 0, b: int = 1) -> np.ndarray:
    return np.swapaxes(x, a, b) if x.ndim > 1 else x


def _slice(x: np.ndarray, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> np.ndarray:
    end = None if end is not None and end > x.shape[dim] else end
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _select(x: np.ndarray, dim: int, index: int) -> np.ndarray:
    return np.asarray(x.take(index, axis=dim), dtype=object)


def _expand(x: np.ndarray, shape: Any, implicit: bool = False) -> np.ndarray:
    offset = len(shape) - x.ndim
    whole = [n if n != -1 else x.shape[i - offset] for i, n in enumerate(shape)]
    return np.broadcast_to(x, whole)


def _where(condition: np.ndarray, a: Any, b: Any) -> np.ndarray:
    return np.where(np.asarray(condition, dtype=bool), a, b)


def _same(x: np.ndarray, *rest: Any, **options: Any) -> np.ndarray:
    return x


OPERATIONS: dict[str, Operation] = {
    **{n: _each(n) for n in ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "erf")},
    **{n: _each(n) for n in ("atan", "asin", "acos", "asinh", "acosh", "atanh")},
    "abs": _each("Abs"),
    "lgamma": _each("loggamma"),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": lambda x, beta=1, threshold=20: _each("log")(1 + _each("exp")(beta * x)) / beta,
    "relu": lambda x: np.frompyfunc(_relu, 1, 1)(x),
    "_softmax": _softmax,
    "_log_softmax": lambda x, dim, half: _each("log")(_softmax(x, dim, half)),
    "mse_loss": _mse_loss,
    "square": lambda x: x * x,
    "rsqrt": lambda x: 1 / _each("sqrt")(x),
    "reciprocal": lambda x: 1 / x,
    "neg": lambda x: -x,
    "exp2": lambda x: 2**x,
    "expm1": lambda x: _each("exp")(x) - 1,
    "log1p": lambda x: _each("log")(1 + x),
    "log2": lambda x: _each("log")(x) / math.log(2),
    "log10": lambda x: _each("log")(x) / math.log(10),
    "add": _add,
    "sub": _sub,
    "rsub": lambda a, b, alpha=1: b - alpha * a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "mm": lambda a, b: a @ b,
    "bmm": lambda a, b: a @ b,
    "mv": lambda a, b: a @ b,
    "dot": lambda a, b: np.asarray(a @ b, dtype=object),
    "addmm": _addmm,
    "sum": _sum,
    "mean": _mean,
    "t": _transpose,
    "transpose": _transpose,
    "permute": lambda x, dims: x.transpose(dims),
    "view": lambda x, shape: x.reshape(shape),
    "_unsafe_view": lambda x, shape: x.reshape(shape),
    "reshape": lambda x, shape: x.reshape(shape),
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
    "squeeze": lambda x, dim=None: x.squeeze(tuple(dim) if isinstance(dim, list) else dim),
    "expand": _expand,
    "select": _select,
    "slice": _slice,
    "stack": lambda parts, dim=0: np.stack(parts, axis=dim),
    "cat": lambda parts, dim=0: np.concatenate(parts, axis=dim),
    "where": _where,
    **dict.fromkeys(("clone", "detach", "alias", "_to_copy", "lift_fresh"), _same),
}


def as_objects(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers as an array of Python's own."""
    return np.asarray(tensor.detach().cpu().double().numpy(), dtype=object)
