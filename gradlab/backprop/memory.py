"""Which tensor objects share memory, and where in it they lie."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gradlab.backprop.values import Value


class Memory:
    """One storage that was written during the recording: how often, and whose it is.

    Attributes:
        writes: how many writes there have been; a value recorded at a smaller count is out of date.
        families: by the base's id.
        exposed: the values that some rule reads, and that the next write may overwrite.
        targets: the tensor that each write went to.
    """

    __slots__ = ("writes", "families", "exposed", "targets", "_extents", "_apart")

    def __init__(self) -> None:
        self.writes = 0
        self.families: dict[int, Family] = {}
        self.exposed: list[Value] = []
        self.targets: list[Tensor] = []
        self._extents: dict[int, Extent] = {}
        self._apart: dict[tuple[int, int], bool] = {}  # the same tensors are asked for again and again

    def family_of(self, tensor: Tensor) -> Family:
        """The family of a tensor in this memory."""
        base = base_of(tensor)
        family = self.families.get(id(base))
        if family is None:
            family = self.families[id(base)] = Family(base, self)
        return family

    def note_write(self, target: Tensor) -> None:
        self.writes += 1
        self.targets.append(target)

    def forget_places(self) -> None:
        """Call before a tensor object is given another shape in place."""
        self._extents.clear()
        self._apart.clear()

    def may_have_changed(self, tensor: Tensor, since: int) -> bool:
        """Whether any write after the first ``since`` ones may have met a tensor."""
        return not self.is_apart(tensor, self.targets[since:])

    def is_apart(self, tensor: Tensor, others: Iterable[Tensor]) -> bool:
        """Whether a tensor certainly has no element in common with others in this memory."""
        known, own = self._apart, id(tensor)
        for other in others:
            if other is tensor:
                return False
            key = own, id(other)
            is_apart = known.get(key)
            if is_apart is None:
                is_apart = known[key] = self._extent(tensor).is_apart_from(self._extent(other))
            if not is_apart:
                return False
        return True

    def _extent(self, tensor: Tensor) -> Extent:
        """Worked out once for each tensor object."""
        extent = self._extents.get(id(tensor))
        if extent is None:
            extent = self._extents[id(tensor)] = Extent.of(tensor)
        return extent


@dataclass(eq=False, slots=True)
class Family:
    """The tensor objects that autograd counts as views of one base; a tensor that is no view is its own base."""

    base: Tensor
    memory: Memory


def base_of(tensor: Tensor) -> Tensor:
    """The tensor of which autograd takes this one for a view, or itself."""
    base = tensor._base
    return tensor if base is None else base


def storage_of(tensor: Tensor) -> int:
    """A key for the memory; a sparse tensor has none of its own to share."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def place_of(tensor: Tensor) -> tuple:
    """Where it lies in its memory: the arguments of ``as_strided``."""
    return tensor.size(), tensor.stride(), tensor.storage_offset()


class Extent(NamedTuple):
    """Which places in memory a tensor goes through: all from ``start`` to ``end``, or fewer.

    ``strides`` and ``step``, the largest of them, say how; ``inner_start`` and ``inner_end`` are its first place and
    the end of its last one between two steps.

    Example:
        >>> import torch
        >>> whole = torch.zeros(4, 6)
        >>> whole, left, right = map(Extent.of, (whole, whole[:, :3], whole[:, 3:]))
        >>> left.is_apart_from(right), whole.is_apart_from(right)
        (True, False)
    """

    start: int
    end: int
    strides: Sequence[int]
    step: int
    inner_start: int
    inner_end: int

    @classmethod
    def of(cls, tensor: Tensor) -> Extent:
        """The extent of a tensor; of one without strides nothing is known, so that it is apart from none."""
        if tensor.layout is not torch.strided:
            return cls(0, sys.maxsize, (), 0, 0, 0)
        sizes, strides, start = place_of(tensor)
        if tensor.numel() == 0:
            return cls(start, start, strides, 0, start, start)
        step = max(strides, default=0)
        reach = inner_reach = 1
        for size, stride in zip(sizes, strides, strict=True):
            reach += (size - 1) * stride
            if stride != step:
                inner_reach += (size - 1) * stride
        inner_start = start % step if step else start
        return cls(start, start + reach, strides, step, inner_start, inner_start + inner_reach)

    def is_apart_from(self, other: Extent) -> bool:
        """Whether they certainly have no place in common, as chunks of a tensor along a dimension have none."""
        if self.end <= other.start or other.end <= self.start or self.start == self.end or other.start == other.end:
            return True
        # Where both go through memory in the same steps, what counts is where they lie between two of the largest.
        if self.strides != other.strides or self.step <= 1 or max(self.inner_end, other.inner_end) > self.step:
            return False
        return self.inner_end <= other.inner_start or other.inner_end <= self.inner_start


def why_unplaceable(view: Tensor, base: Tensor) -> str:
    """Why a view cannot be found in its base by strides; empty where it can."""
    if (view.dtype, view.is_conj(), view.is_neg()) != (base.dtype, base.is_conj(), base.is_neg()):
        return (
            f"its memory was written during the recording, and is seen as {view.dtype} and as {base.dtype}"
            f"{', conjugate or negative' if view.dtype == base.dtype else ''}: write through one kind of view only"
        )
    if is_expanded(base):
        return "its memory was written during the recording, and an expanded tensor was detached from it: clone that"
    return ""


def is_expanded(tensor: Tensor) -> bool:
    """Whether several of its entries are one place in memory."""
    strides = zip(tensor.size(), tensor.stride(), strict=True)
    return tensor.numel() > 0 and any(stride == 0 and size > 1 for size, stride in strides)


def copy_of(tensor: Tensor, keep_place: bool) -> Tensor:
    """A copy of a content; where a rule looks at its place in memory, it lies at the same place in new memory."""
    if not keep_place:
        return tensor.clone()
    length = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.as_strided((length,), (1,), 0).clone().as_strided(*place_of(tensor))
