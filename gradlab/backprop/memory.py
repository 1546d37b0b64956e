"""Which tensor objects share memory, and where in it they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import end_of

if TYPE_CHECKING:
    from gradlab.backprop.values import Value


@dataclass(eq=False, slots=True)
class Memory:
    """One storage: how often it was written during the recording, and whose it is.

    Attributes:
        writes: how many writes there have been; a value recorded at a smaller count is out of date.
        families: by the base's id.
        exposed: the values that some rule reads, and that the next write may overwrite.
        targets: the tensor that each write went to.
    """

    writes: int = 0
    families: dict[int, Family] = field(default_factory=dict)
    exposed: list[Value] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    _apart: dict[tuple[int, int], bool] = field(default_factory=dict)

    def note_write(self, target: Tensor) -> None:
        self.writes += 1
        self.targets.append(target)

    def forget_places(self) -> None:
        """Call before a tensor object is given another shape in place."""
        self._apart.clear()

    def may_have_changed(self, tensor: Tensor, since: int) -> bool:
        """Whether any write after the first ``since`` ones may have met a tensor."""
        return not all(self.are_apart(tensor, target) for target in self.targets[since:])

    def are_apart(self, a: Tensor, b: Tensor) -> bool:
        """`are_apart`, worked out once for each pair of tensor objects."""
        if a is b:
            return False
        key = (id(a), id(b))
        known = self._apart.get(key)
        if known is None:
            known = self._apart[key] = are_apart(a, b)
        return known


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


def are_apart(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors in one memory certainly have no element in common: chunks of a tensor along a dimension.

    Example:
        >>> import torch
        >>> whole = torch.zeros(4, 6)
        >>> left, right = whole[:, :3], whole[:, 3:]
        >>> are_apart(left, right), are_apart(whole, right)
        (True, False)
    """
    if a.layout is not torch.strided or b.layout is not torch.strided:
        return False
    if a.numel() == 0 or b.numel() == 0:
        return True
    (sizes, strides, start), (other_sizes, other_strides, other_start) = place_of(a), place_of(b)
    if end_of(sizes, strides, start) <= other_start or end_of(other_sizes, other_strides, other_start) <= start:
        return True
    # Where both go through memory in the same steps, what counts is where they lie between two of the largest.
    step = max(strides, default=0)
    if strides != other_strides or step <= 1:
        return False
    end = end_of([1 if t == step else n for n, t in zip(sizes, strides, strict=True)], strides, start % step)
    inner = [1 if t == step else n for n, t in zip(other_sizes, other_strides, strict=True)]
    other_end = end_of(inner, other_strides, other_start % step)
    return max(end, other_end) <= step and (end <= other_start % step or other_end <= start % step)


def why_unplaceable(view: Tensor, base: Tensor) -> str:
    """Why a view cannot be found in its base by strides; empty where it can."""
    if (view.dtype, view.is_conj(), view.is_neg()) != (base.dtype, base.is_conj(), base.is_neg()):
        return (
            f"its memory was written during the recording, and is seen as {view.dtype} and as {base.dtype}"
            f"{', conjugate or negative' if view.dtype == base.dtype else ''}: write through one kind of view only"
        )
    if any(stride == 0 and size > 1 for size, stride in zip(base.size(), base.stride(), strict=True)):
        return "its memory was written during the recording, and an expanded tensor was detached from it: clone that"
    return ""


def copy_of(tensor: Tensor, keep_place: bool) -> Tensor:
    """A copy of a content; where a rule looks at its place in memory, it lies at the same place in new memory."""
    if not keep_place:
        return tensor.clone()
    length = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.as_strided((length,), (1,), 0).clone().as_strided(*place_of(tensor))
