"""The numbers of a breakdown: small tensors entry by entry, large ones by their statistics, read in batches."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Union

import torch
from torch import Tensor

from gradlab.backprop.chain.graph import Block, Use
from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Rule
from gradlab.backprop.sweep import Term
from gradlab.backprop.values import Entry, Value

Numbers = Union[float, complex, bool, "list[Numbers]"]
LOW_PRECISION = (torch.float16, torch.bfloat16)
LARGE = 1 << 13  # entries: above it two operations take less time than one for both


@dataclass(frozen=True, slots=True)
class Local:
    """A local derivative: one number for each entry, or a Jacobian (the output's dimensions, then the input's)."""

    tensor: Tensor
    is_jacobian: bool


# --- contents -----------------------------------------------------------------------------------------------


def content_of(value: Value) -> Tensor | None:
    """What a value held when it was recorded; None where it was overwritten since."""
    if value.holder is not None:  # a copy of the tape's own
        return value.tensor
    if not _is_unchanged(value):
        return None
    family = value.family
    if family is not None and family.memory.may_have_changed(value.tensor, value.since_write):
        return None
    return value.tensor


def _is_unchanged(value: Value) -> bool:
    return value.version is None or value.tensor._version == value.version


# --- local derivatives --------------------------------------------------------------------------------------


def local_derivatives(block: Block, readable: int) -> dict[tuple[int, int], Local]:
    """The local derivatives of an operation by the place of the argument, where the tensors are small.

    Of a pointwise rule it is what the rule says. Of any other the Jacobian is found by the rule itself: upstream
    gradients that are 1 at one entry of the output and 0 elsewhere bring back one row each.
    """
    if not block.is_single:
        return {}
    (term,) = block.terms
    live = [at for at, g in enumerate(term.upstream) if g is not None]
    uses = [u for u in block.uses if u.gradient is not None and _is_small(u.argument.tensor, readable)]
    if len(live) != 1 or not uses or not _is_small(_upstream(term, live[0]), readable):
        return {}
    if term.rule is None:
        return {use.place: Local(torch.ones(()), False) for use in uses}
    if not _can_be_read(term.entry, term.rule):
        return {}
    if term.rule.is_pointwise:
        return {u.place: Local(local, False) for u in uses if (local := _entrywise(term, term.rule, u)) is not None}
    return _jacobians(term, term.rule, live[0], uses)


def _is_small(tensor: Tensor, readable: int) -> bool:
    return 0 < tensor.numel() <= readable and tensor.layout is torch.strided


def _upstream(term: Term, at: int) -> Tensor:
    gradient = term.upstream[at]
    assert gradient is not None
    return gradient


def _can_be_read(entry: Entry, rule: Rule) -> bool:
    """Whether the contents that the rule looks at are still there."""
    read = [*entry.values_at(rule.reads), *(entry.outputs if rule.reads_output else ())]
    return all(value is None or _is_unchanged(value) for value in read)


def _entrywise(term: Term, rule: Rule, use: Use) -> Tensor | None:
    part = _part(_answer(term, rule, term.upstream), use)
    if part is None or isinstance(part, Tensor):
        return part
    return torch.tensor(part, dtype=torch.complex128 if isinstance(part, complex) else torch.float64)


def _jacobians(term: Term, rule: Rule, at: int, uses: list[Use]) -> dict[tuple[int, int], Local]:
    upstream = _upstream(term, at)
    if upstream.is_complex() or any(use.argument.tensor.is_complex() for use in uses):
        return {}  # with a complex number there are two derivatives
    rows: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
    for unit in torch.eye(upstream.numel(), dtype=upstream.dtype, device=upstream.device):
        units = tuple(unit.view(upstream.shape) if i == at else None for i in range(len(term.upstream)))
        answer = _answer(term, rule, units)
        for use in uses:
            part = _part(answer, use)
            if part is not None:
                argument = use.argument.tensor
                rows[use.place].append(sum_to(part, argument.shape).to(argument.dtype))
    shapes = {use.place: (*upstream.shape, *use.argument.tensor.shape) for use in uses}
    return {place: Local(torch.stack(found).view(shapes[place]), True) for place, found in rows.items()}


def _answer(term: Term, rule: Rule, upstream: Sequence[Tensor | None]) -> Any:
    args, kwargs = term.entry.arguments()
    outputs = tuple(v and v.tensor for v in term.entry.outputs)
    g, y = (upstream[0], outputs[0]) if len(outputs) == 1 else (tuple(upstream), outputs)
    parts = rule.function(y, *args, **kwargs) if rule.is_pointwise else rule.function(g, y, *args, **kwargs)
    return parts if type(parts) is tuple else (parts,)


def _part(parts: Sequence[Any], use: Use) -> Any:
    number, at = use.place
    part = parts[number] if number < len(parts) else None
    part = part() if callable(part) else part
    return part[at] if isinstance(part, (list, tuple)) else part


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statistics:
    l2: float
    linf: float
    mean: float


class Readings:
    """Statistics and entries of many tensors, each kind in one transfer from the device."""

    def __init__(
        self, gradients: Iterable[Tensor], contents: Iterable[Tensor], locals_: Iterable[Tensor], readable: int
    ) -> None:
        kept = {id(t): t for t in gradients}
        self._statistics = _statistics(list(kept.values()))
        kept |= {id(t): t for t in contents}
        small = {i: t for i, t in kept.items() if t.numel() <= readable and t.layout is torch.strided}
        small |= {id(t): t for t in locals_}
        self._kept = kept | small  # alive, so that ids stay their own
        self._numbers = dict(zip(small, _entries(list(small.values())), strict=True))

    def statistics(self, gradient: Tensor) -> Statistics:
        return self._statistics[id(gradient)]

    def numbers(self, tensor: Tensor | None) -> Numbers | None:
        """The entries, nested as the tensor's dimensions are; None where they are too many."""
        return None if tensor is None else self._numbers.get(id(tensor))


def lengths(tensors: list[Tensor]) -> dict[int, float]:
    """The L2 norm of each, by its id, with one transfer from the device; keep the tensors while you ask."""
    kept = {id(t): t for t in tensors}
    filled = [_plain(t) for t in kept.values() if t.numel()]
    read = iter(_floats(list(torch._foreach_norm(filled))) if filled else ())
    return {key: next(read) if t.numel() else 0.0 for key, t in kept.items()}


def _statistics(tensors: list[Tensor]) -> dict[int, Statistics]:
    found = {id(t): Statistics(0.0, 0.0, 0.0) for t in tensors if not t.numel()}
    filled = [t for t in tensors if t.numel()]
    if filled:
        plain = [_plain(t) for t in filled]
        means = [t.mean().abs() if t.is_complex() else t.mean() for t in plain]
        read = _floats([*torch._foreach_norm(plain), *means, *(bound for t in plain for bound in _bounds(t))])
        l2, mean, bounds = read[: len(filled)], read[len(filled) : 2 * len(filled)], read[2 * len(filled) :]
        linf = [max(abs(low), abs(high)) for low, high in zip(bounds[::2], bounds[1::2], strict=True)]
        rows = zip(filled, l2, linf, mean, strict=True)
        found |= {id(t): Statistics(length, largest, middle) for t, length, largest, middle in rows}
    return found


def _bounds(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest entry: found in a tenth of the time of an infinity norm."""
    real = tensor.abs() if tensor.is_complex() else tensor
    if real.numel() > LARGE:
        return real.amin(), real.amax()  # in two thirds of the time
    low, high = torch.aminmax(real)
    return low, high


def _plain(gradient: Tensor) -> Tensor:
    """Every entry spelled out, in a precision in which norms do not overflow."""
    gradient = gradient if gradient.layout is torch.strided else gradient.to_dense()
    return gradient.float() if gradient.dtype in LOW_PRECISION else gradient


def _floats(numbers: list[Tensor]) -> list[float]:
    device = numbers[0].device
    return torch.stack([number.to(device, torch.float64) for number in numbers]).tolist()


def _entries(tensors: list[Tensor]) -> list[Numbers]:
    """The entries of each tensor, nested; all that are real come in two transfers."""
    real = {i: t for i, t in enumerate(tensors) if not t.is_complex()}
    whole = {i for i, t in real.items() if not t.is_floating_point()}
    found: dict[int, Numbers] = {i: t.tolist() for i, t in enumerate(tensors) if t.is_complex()}
    for places, dtype in ((whole, torch.int64), (set(real) - whole, torch.float64)):
        group = [(i, real[i]) for i in sorted(places)]
        flat = iter(_flat([t for _, t in group], dtype))
        for i, t in group:
            entries: list[Any] = list(islice(flat, t.numel()))
            found[i] = _nested([bool(e) for e in entries] if t.dtype is torch.bool else entries, tuple(t.shape))
    return [found[i] for i in range(len(tensors))]


def _flat(tensors: list[Tensor], dtype: torch.dtype) -> list[float]:
    if not tensors:
        return []
    device = tensors[0].device
    return torch.cat([t.reshape(-1).to(device, dtype) for t in tensors]).tolist()


def _nested(entries: list[Any], shape: tuple[int, ...]) -> Numbers:
    """A flat list in the shape of a tensor.

    Example:
        >>> _nested([1, 2, 3, 4], (2, 2)), _nested([7], ())
        ([[1, 2], [3, 4]], 7)
    """
    if not shape:
        return entries[0]
    step = math.prod(shape[1:])
    return [_nested(entries[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
