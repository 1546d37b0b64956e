"""What the tape writes down of an operation while it runs: as little as possible.

While nothing is overwritten, a tensor object holds one content for good. Then the object itself says which operation
made it and which ones used it, and a *note* (the operation, its arguments, its result, the module) is all that a sweep
needs. Values and entries, which tell one content of an object from the next, are made of the notes only where somebody
asks for them: a write, a breakdown, a second sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from gradlab.backprop.modules import Scope
from gradlab.backprop.ops import OpFacts
from gradlab.backprop.release import LARGE, WIDEST
from gradlab.backprop.values import versions_of

# The operation, its arguments, its result, the module, autograd's sequence number, and the positional arguments again,
# with None in the place of each to which no gradient passes; None where it passes to none of them.
Note = tuple[OpFacts, Sequence, "dict[str, Any]", Any, Scope, int, "Sequence | None"]

MANY = LARGE // WIDEST  # entries


class Versions:
    """The version that each of several tensors had; the tensors themselves are not kept.

    Attributes:
        ids: of the tensors.
        all: their versions, in the same order.
    """

    __slots__ = ("ids", "all")

    def __init__(self, ids: list[int], versions: list[int | None]) -> None:
        self.ids = ids
        self.all = versions

    def by_id(self) -> dict[int, int | None]:
        """Of tensors that were alive ever since, or an id may be another's."""
        return dict(zip(self.ids, self.all, strict=True))


class Met:
    """The tensors that the notes of a forward pass speak of, and their versions when it ended.

    Attributes:
        sources: by id, those that entered from outside: used before any operation made them.
        are_small: whether no result is so large that its memory counts.
        versions: the version that each had.
    """

    __slots__ = ("sources", "are_small", "versions", "_tensors")

    def __init__(self, notes: Iterable[Note]) -> None:
        tensors: dict[int, Tensor] = {}
        sources: dict[int, Tensor] = {}
        are_small = True
        for known, args, kwargs, result, _, _, _ in notes:
            for argument in known.tensors(args, kwargs) if kwargs or known.has_lists else args:
                key = id(argument)
                if key not in tensors and isinstance(argument, Tensor):
                    tensors[key] = sources[key] = argument
            if isinstance(result, Tensor):
                tensors[id(result)] = result
                if result.numel() >= MANY:
                    are_small = False
            else:
                several = tensors_in(result)
                tensors.update({id(t): t for t in several})
                are_small = are_small and all(t.numel() < MANY for t in several)
        self.sources = sources
        self.are_small = are_small
        self._tensors = tensors
        self.versions = Versions(list(tensors), versions_of(tensors.values()))

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) in self._tensors

    def have_changed(self) -> bool:
        """Whether any of them was written since."""
        return self.versions.all != versions_of(self._tensors.values())


def open_ones(args: Sequence) -> list[Any] | None:
    """The arguments that require a gradient, with None in the place of each other one; None where none does.

    Example:
        >>> import torch
        >>> w, x = torch.ones(1, requires_grad=True), torch.ones(1)
        >>> open_ones([x, 2, [x, w]]), open_ones([x])
        ([None, None, [None, tensor([1.], requires_grad=True)]], None)
    """
    found = [
        (a if a.requires_grad else None)
        if isinstance(a, Tensor)
        else open_ones(a)
        if type(a) in (list, tuple)
        else None
        for a in args
    ]
    return found if any([a is not None for a in found]) else None  # noqa: C419 (faster)


def tensors_in(results: Any) -> list[Tensor]:
    """The tensors among what an operation returned, where that is no tensor itself."""
    return [t for t in results if isinstance(t, Tensor)] if isinstance(results, (list, tuple)) else []
