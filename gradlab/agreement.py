"""The comparison of two witnesses for the same derivative, in numbers.

The relative error of one tensor in one backward pass is

    max|a − b| / max(max|a|, max|b|, 1e-3 · G)

where G is the largest entry among all tensors compared in that backward pass. The floor 1e-3 · G keeps a true zero,
which both witnesses compute as rounding noise, from looking like a disagreement; scaling the loss scales G with it,
so that it hides no real error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

from gradlab.tensors import dense, floats, pieces

LARGE = 1 << 13  # entries; below, one call for all tensors is quicker than one for each
FLOOR = 1e-3


@dataclass(frozen=True, slots=True)
class Agreement:
    """What comparing two gradients of one tensor gave.

    Attributes:
        name: the tensor's name.
        error: the relative error as defined above; 0.0 where both are None.
        tolerance: the largest error that rounding explains, see `tolerance_for`.
        partials: how many entries were compared.
        index: where the two differ most; None where nothing was compared.
        manual, autograd: the two numbers there (None: that witness says "not reached").
    """

    name: str
    error: float
    tolerance: float
    partials: int
    index: tuple[int, ...] | None = None
    manual: float | complex | None = None
    autograd: float | complex | None = None

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False for NaN

    @property
    def place(self) -> str:
        """The name with the index of the worst entry: ``0.weight[3,7]``."""
        return self.name + (f"[{','.join(map(str, self.index))}]" if self.index else "")


@cache
def tolerance_for(dtype: torch.dtype) -> float:
    """The relative error up to which two gradients of this dtype agree: √ε.

    Adding n numbers loses at most γₙ ≈ n·ε of the sum of their magnitudes (Higham, *Accuracy and Stability of
    Numerical Algorithms*, 2nd ed., §3.1 and §4.2). √ε allows n = 1/√ε such losses in a row, all in the worst
    direction: 2,896 in float32, 67 million in float64. A wrong formula is off by far more.

    Example:
        >>> import torch
        >>> f"{tolerance_for(torch.float32):.2e} {tolerance_for(torch.float64):.2e}"
        '3.45e-04 1.49e-08'
    """
    return math.sqrt(torch.finfo(dtype).eps)


Pair = tuple["Tensor | None", "Tensor | None"]


def coarsest(dtypes: Iterable[torch.dtype]) -> torch.dtype | None:
    """The floating dtype of the lowest precision; None where there is none.

    Example:
        >>> import torch
        >>> coarsest([torch.float32, torch.bfloat16, torch.int64])
        torch.bfloat16
    """
    floating = [dtype for dtype in dtypes if dtype.is_floating_point or dtype.is_complex]
    return max(floating, key=lambda dtype: torch.finfo(dtype).eps, default=None)


def compare(pairs: Mapping[str, Pair], through: torch.dtype | None = None) -> dict[str, Agreement]:
    """Compares (manual, autograd) gradients, all tensors of one backward pass together.

    Args:
        pairs: for each name the two gradients, of one shape and dtype; None means "not reached". None agrees with
            None, and with a gradient of zeros: of a custom Function with an unused output autograd returns zeros
            where the tape returns None.
        through: the dtype of lowest precision that the gradients went through on their way, as in mixed precision;
            None means their own.

    Returns:
        One `Agreement` for each name, with the worst entry located where the two disagree.

    Example:
        >>> import torch
        >>> a = torch.tensor([1.0, 2.0])
        >>> result = compare({"w": (a, a * torch.tensor([1.0, 1.01]))})["w"]
        >>> result.ok, result.place, round(result.error, 4)
        (False, 'w[1]', 0.0099)
    """
    if all(map(_are_same, pairs.values())):
        return {
            name: Agreement(name, 0.0, _tolerance(a, through), a.numel())
            for name, (a, _) in pairs.items()
            if a is not None
        }
    present = {name: _fill(pair) for name, pair in pairs.items() if pair[0] is not None or pair[1] is not None}
    errors = _errors(list(present.values()))
    result = {name: Agreement(name, 0.0, 0.0, 0) for name in pairs}
    for (name, filled), error in zip(present.items(), errors, strict=True):
        result[name] = _agreement(name, error, filled, pairs[name], through)
    return result


def _errors(pairs: list[tuple[Tensor, Tensor]]) -> list[float]:
    """The relative error of each pair."""
    numbers = _largest_entries(pairs)
    finite = [max(a, b) for a, b, _ in numbers if math.isfinite(max(a, b))]
    floor = FLOOR * max(finite, default=0.0)
    errors = []
    for (manual, autograd), (a, b, difference) in zip(pairs, numbers, strict=True):
        scale = max(a, b, floor)
        error = difference / scale if scale > 0 else 0.0
        if not math.isfinite(a + b):
            error = 0.0 if torch.equal(manual.nan_to_num(), autograd.nan_to_num()) else math.inf
        errors.append(error)
    return errors


def _are_same(pair: Pair) -> bool:
    """Whether no entry differs, where it costs little to ask: two backward passes of few roundings are often alike."""
    a, b = pair
    if a is None or b is None or not a.is_cpu or a.layout is not torch.strided or b.layout is not torch.strided:
        return False
    return a.dtype is b.dtype and torch.equal(a, b)


def _fill(pair: Pair) -> tuple[Tensor, Tensor]:
    manual, autograd = (None if t is None else dense(t) for t in pair)
    if manual is None:
        assert autograd is not None
        manual = torch.zeros_like(autograd)
    if autograd is None:
        autograd = torch.zeros_like(manual)
    return manual, autograd


Largest = tuple[float, float, float]  # max|a|, max|b|, max|a − b|


def _largest_entries(pairs: list[tuple[Tensor, Tensor]]) -> list[Largest]:
    with torch.no_grad():
        small = iter(_largest_of_small([pair for pair in pairs if not _is_large(pair[0])]))
        large = iter(floats(n for pair in pairs if _is_large(pair[0]) for n in _largest_of_large(*pair)))
    return [(next(large), next(large), next(large)) if _is_large(manual) else next(small) for manual, _ in pairs]


def _is_large(tensor: Tensor) -> bool:
    return tensor.numel() > LARGE and not tensor.is_complex()


def _largest_of_small(pairs: list[tuple[Tensor, Tensor]]) -> Iterable[Largest]:
    """All together in one row of numbers: to ask each tensor by itself takes three times as long."""
    found: list[Largest] = [(0.0, 0.0, 0.0)] * len(pairs)
    filled = [place for place, (manual, _) in enumerate(pairs) if manual.numel()]
    if not filled:
        return found
    manual = _in_a_row([pairs[place][0] for place in filled])
    autograd = _in_a_row([pairs[place][1] for place in filled])
    starts = [0, *accumulate(pairs[place][0].numel() for place in filled[:-1])]
    with np.errstate(all="ignore"):  # of what is not finite the result says so
        rows = [np.maximum.reduceat(abs(row), starts).tolist() for row in (manual, autograd, manual - autograd)]
    for place, *numbers in zip(filled, *rows, strict=True):
        found[place] = (numbers[0], numbers[1], numbers[2])
    return found


def _in_a_row(tensors: list[Tensor]) -> np.ndarray:
    """All entries, one tensor after the other, in a dtype that NumPy knows and that holds them exactly."""
    if len({tensor.device for tensor in tensors}) > 1:
        tensors = [tensor.cpu() for tensor in tensors]
    row = _flatten_dense_tensors(tensors)
    return (row.float() if row.dtype in (torch.bfloat16, torch.float16) else row).numpy(force=True)


def _largest_of_large(manual: Tensor, autograd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    apart = [_largest_entry(a - b) for a, b in pieces(manual, autograd)]
    return _largest_entry(manual), _largest_entry(autograd), torch.stack(apart).amax()


def _largest_entry(tensor: Tensor) -> Tensor:
    """As the infinity norm, NaN included, in a tenth of its time."""
    return torch.maximum(tensor.amin().abs(), tensor.amax().abs())


def _agreement(
    name: str, error: float, filled: tuple[Tensor, Tensor], pair: Pair, through: torch.dtype | None
) -> Agreement:
    manual, autograd = filled
    tolerance = _tolerance(manual, through)
    if error <= tolerance:
        return Agreement(name, error, tolerance, manual.numel())
    index = worst_index(manual, autograd)
    numbers = [t.to_dense()[index].item() if t is not None else None for t in pair]
    return Agreement(name, error, tolerance, manual.numel(), index, *numbers)


def _tolerance(gradient: Tensor, through: torch.dtype | None) -> float:
    own = tolerance_for(gradient.dtype)
    return own if through is None else max(own, tolerance_for(through))


def worst_index(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """The index at which two tensors differ most; a NaN counts as the largest difference.

    Example:
        >>> import torch
        >>> worst_index(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
        (1, 1)
    """
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(worst_place(a, b)), a.shape))


def worst_place(a: Tensor, b: Tensor) -> int:
    """As `worst_index`, counted over the flattened tensors."""
    cut = list(pieces(a, b))
    worst = int(torch.stack([_apart(*piece).amax() for piece in cut]).argmax())
    return sum(x.numel() for x, _ in cut[:worst]) + int(_apart(*cut[worst]).argmax())


def _apart(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().nan_to_num(nan=math.inf)
