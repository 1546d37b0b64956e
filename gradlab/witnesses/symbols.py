"""PyTorch's primitive operations on arrays of numbers and sympy expressions: the table of `symbolic`.

Each line gives the function itself, never a derivative: that is sympy's part. An array holds an expression where the
symbol takes part, and a plain number elsewhere. For entries in which it takes no part an operation gives None: there
stands what was recorded.

Importing this file imports sympy, which takes a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
import sympy

from gradlab.witnesses.base import CannotSay

Operation = Callable[..., Any]

DIGITS = 30  # of every number in an expression; a double has 17
MOST_PRODUCTS = 20_000  # in one matrix product, of those that the symbol takes part in


def is_symbolic(entry: Any) -> bool:
    return isinstance(entry, sympy.Basic)


def exact(number: Any) -> Any:
    """A number as one of sympy's, with all of its digits; a whole one becomes whole, so that x² is a polynomial.

    Example:
        >>> exact(2.0), exact(0.1)
        (2, 0.100000000000000005551115123126)
    """
    if is_symbolic(number):
        return number
    whole = isinstance(number, int) or float(number).is_integer()
    return sympy.Integer(int(number)) if whole else sympy.Float(number, DIGITS)


def symbolic_at(array: Any) -> np.ndarray:
    """Where an array holds expressions: booleans of its shape."""
    return np.asarray(np.frompyfunc(is_symbolic, 1, 1)(array), dtype=bool)


# --- families ---------------------------------------------------------------------------------------------------


def _each(function: Operation) -> Operation:
    """Entry by entry, with broadcasting."""

    def apply(*arrays: Any, **options: Any) -> np.ndarray:
        def one(*entries: Any) -> Any:
            return function(*map(exact, entries), **options) if any(map(is_symbolic, entries)) else None

        return np.asarray(np.frompyfunc(one, len(arrays), 1)(*arrays), dtype=object)

    return apply


def _rows(function: Operation) -> Operation:
    """Row by row along one dimension; a row with a symbol is symbolic as a whole."""

    def apply(x: np.ndarray, dim: int, *rest: Any) -> np.ndarray:
        rows = np.moveaxis(x, dim, -1)
        made = np.full(rows.shape, None, dtype=object)
        for index in np.ndindex(rows.shape[:-1]):
            if symbolic_at(rows[index]).any():
                made[index] = function([exact(entry) for entry in rows[index]])
        return np.moveaxis(made, -1, dim)

    return apply


def _inner(a: Iterable[Any], b: Iterable[Any]) -> Any:
    """Σ aₖ·bₖ; what the symbol takes no part in is added up as numbers, with all digits."""
    pairs = list(zip(a, b, strict=True))
    symbolic = [is_symbolic(x) or is_symbolic(y) for x, y in pairs]
    with mpmath.workdps(DIGITS):
        number = mpmath.fdot(pair for pair, has in zip(pairs, symbolic, strict=True) if not has)
    products = [exact(x) * exact(y) for (x, y), has in zip(pairs, symbolic, strict=True) if has]
    return sympy.Add(*products, sympy.Float(number, DIGITS)) if number else sympy.Add(*products)


def _matmul(a: np.ndarray, b: np.ndarray, wanted: Any = False) -> np.ndarray:
    """A @ B of matrices or batches of them.

    Args:
        wanted: where numbers are needed as well, because an expression is to be added.
    """
    rows, columns = np.asarray(symbolic_at(a).any(-1)), np.asarray(symbolic_at(b).any(-2))
    needed = rows[..., :, None] | columns[..., None, :] | wanted
    if needed.sum() * a.shape[-1] > MOST_PRODUCTS:
        raise CannotSay(f"the expression is too large: a matrix product of {needed.sum() * a.shape[-1]:,} terms")
    made = np.full(needed.shape, None, dtype=object)
    for *batch, i, j in np.argwhere(needed).tolist():
        place = tuple(batch)
        made[(*place, i, j)] = _inner(a[(*place, i)], b[place][:, j])
    return made


def _addmm(c: np.ndarray, a: np.ndarray, b: np.ndarray, beta: float = 1, alpha: float = 1) -> np.ndarray:
    c = np.broadcast_to(c, (*a.shape[:-1], b.shape[-1]))

    def one(entry: Any, product: Any) -> Any:
        return None if product is None else exact(beta) * exact(entry) + exact(alpha) * product

    return np.asarray(np.frompyfunc(one, 2, 1)(c, _matmul(a, b, symbolic_at(c))), dtype=object)


def _sum(x: np.ndarray, dims: Any = None, keepdim: bool = False, mean: bool = False) -> np.ndarray:
    dims = [dims] if isinstance(dims, int) else dims
    axes = sorted(dim % max(1, x.ndim) for dim in dims) if dims and x.ndim else list(range(x.ndim))
    kept = [n for axis, n in enumerate(x.shape) if axis not in axes]
    rows = np.moveaxis(x, axes, range(-len(axes), 0)).reshape(*kept, -1)
    made = np.full(kept, None, dtype=object)
    for index in np.ndindex(*kept):
        if symbolic_at(row := rows[index]).any():
            made[index] = _inner(row, np.ones(len(row), dtype=object)) / (len(row) if mean else 1)
    return np.expand_dims(made, tuple(axes)) if keepdim else made


def _softmax(row: list[Any]) -> list[Any]:
    powers = [sympy.exp(entry) for entry in row]
    return [power / sympy.Add(*powers) for power in powers]


def _log_softmax(row: list[Any]) -> list[Any]:
    total = sympy.log(sympy.Add(*map(sympy.exp, row)))
    return [entry - total for entry in row]


def _mse_loss(a: np.ndarray, b: np.ndarray, reduction: int = 1) -> np.ndarray:
    squares = _each(lambda x, y: (x - y) ** 2)(a, b)
    if reduction == 0:
        return squares
    rest = np.frompyfunc(lambda s, x, y: float(x - y) ** 2 if s is None else s, 3, 1)(squares, a, b)
    return _sum(np.asarray(rest, dtype=object), mean=reduction == 1)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + sympy.exp(-x))


# --- shapes -----------------------------------------------------------------------------------------------------


def _slice(x: np.ndarray, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> np.ndarray:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _split(x: np.ndarray, sizes: Any, dim: int = 0) -> list[np.ndarray]:
    cuts = range(sizes, x.shape[dim], sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1]
    return np.split(x, list(cuts), axis=dim)


def _squeeze(x: np.ndarray, dims: Any = None) -> np.ndarray:
    dims = range(x.ndim) if dims is None else [dims] if isinstance(dims, int) else dims
    return x.squeeze(tuple({dim % max(1, x.ndim) for dim in dims if x.ndim and x.shape[dim] == 1}))


def _expand(x: np.ndarray, shape: Any, implicit: bool = False) -> np.ndarray:
    offset = len(shape) - x.ndim
    return np.broadcast_to(x, [n if n != -1 else x.shape[i - offset] for i, n in enumerate(shape)])


def _index(x: np.ndarray, indices: Any) -> np.ndarray:
    return x[tuple(slice(None) if i is None else _plain(i) for i in indices)]


def _plain(index: np.ndarray) -> np.ndarray:
    """Numbers as an index, or as a mask."""
    return np.asarray(index.tolist(), dtype=bool if index.size and isinstance(index.flat[0], bool) else int)


def _where(condition: np.ndarray, a: Any, b: Any) -> np.ndarray:
    return np.where(condition.astype(bool), np.asarray(a, dtype=object), np.asarray(b, dtype=object))


def _transpose(x: np.ndarray, a: int = 0, b: int = 1) -> np.ndarray:
    return np.swapaxes(x, a, b) if x.ndim > 1 else x


def _as_vector(function: Operation) -> Operation:
    """A product with vectors by one with matrices of one column."""
    return lambda a, b: function(np.atleast_2d(a), b[:, None])[:, 0].reshape(a.shape[:-1])


OPERATIONS: dict[str, Operation] = {
    **{n: _each(getattr(sympy, n)) for n in ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{n: _each(getattr(sympy, n)) for n in ("atan", "asin", "acos", "asinh", "acosh", "atanh", "erf", "erfc")},
    "lgamma": _each(sympy.loggamma),
    "sigmoid": _each(_sigmoid),
    "silu": _each(lambda x: x * _sigmoid(x)),
    "softplus": _each(lambda x, beta=1, threshold=20: sympy.log(1 + sympy.exp(beta * x)) / beta),
    "square": _each(lambda x: x**2),
    "rsqrt": _each(lambda x: 1 / sympy.sqrt(x)),
    "reciprocal": _each(lambda x: 1 / x),
    "neg": _each(lambda x: -x),
    "exp2": _each(lambda x: 2**x),
    "expm1": _each(lambda x: sympy.exp(x) - 1),
    "log1p": _each(lambda x: sympy.log(1 + x)),
    "log2": _each(lambda x: sympy.log(x, 2)),
    "log10": _each(lambda x: sympy.log(x, 10)),
    "add": _each(lambda a, b, alpha=1: a + exact(alpha) * b),
    "sub": _each(lambda a, b, alpha=1: a - exact(alpha) * b),
    "rsub": _each(lambda a, b, alpha=1: b - exact(alpha) * a),
    "mul": _each(lambda a, b: a * b),
    "div": _each(lambda a, b: a / b),
    "pow": _each(lambda a, b: a**b),
    "atan2": _each(sympy.atan2),
    "addcmul": _each(lambda c, a, b, value=1: c + exact(value) * a * b),
    "addcdiv": _each(lambda c, a, b, value=1: c + exact(value) * a / b),
    "_softmax": _rows(_softmax),
    "_log_softmax": _rows(_log_softmax),
    "mse_loss": _mse_loss,
    "sum": _sum,
    "mean": lambda x, dims=None, keepdim=False: _sum(x, dims, keepdim, mean=True),
    "mm": _matmul,
    "bmm": _matmul,
    "mv": _as_vector(_matmul),
    "dot": _as_vector(_matmul),
    "addmm": _addmm,
    "baddbmm": _addmm,
    "t": _transpose,
    "transpose": _transpose,
    "permute": lambda x, dims: x.transpose(dims),
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), lambda x, shape: x.reshape(shape)),
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
    "squeeze": _squeeze,
    "expand": _expand,
    "select": lambda x, dim, index: np.asarray(x.take(index, axis=dim), dtype=object),
    "slice": _slice,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), _split),
    "unbind": lambda x, dim=0: [x.take(index, axis=dim) for index in range(x.shape[dim])],
    "flip": lambda x, dims: np.flip(x, dims),
    "index": _index,
    "index_select": lambda x, dim, index: x.take(_plain(index), axis=dim),
    "stack": lambda parts, dim=0: np.stack(parts, axis=dim),
    "cat": lambda parts, dim=0: np.concatenate(parts, axis=dim),
    "where": _where,
    "masked_fill": lambda x, mask, value: _where(np.broadcast_to(mask, x.shape), value, x),
    "copy": lambda x, source, non_blocking=False: np.broadcast_to(source, x.shape),
    **dict.fromkeys(("clone", "detach", "alias", "_to_copy", "lift_fresh"), lambda x, *rest, **options: x),
}
