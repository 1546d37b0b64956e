"""What the tape writes down of an operation while it runs: as little as possible.

While nothing is overwritten, a tensor object holds one content for good. Then the object itself says which operation
made it and which ones used it, and a *note* (the operation, its arguments, its result, the module) is all that a sweep
needs. Values and entries, which tell one content of an object from the next, are made of the notes only where somebody
asks for them: a write, a breakdown, a second sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from torch import Tensor

from gradlab.backprop.modules import Scope
from gradlab.backprop.ops import DETACH, OpFacts
from gradlab.backprop.release import LARGE, WIDEST
from gradlab.backprop.values import versions_of

Flags = Iterable["bool | list[bool]"]
# The operation, its arguments, its result, the module, autograd's sequence number, and for each positional argument
# whether a gradient passes to it (for a list of tensors a list, or False for none of them).
Note = tuple[OpFacts, Sequence, "dict[str, Any]", Any, Scope, int, Flags]

TO_ALL: Flags = repeat(True)  # on a tape that differentiates everything

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
        are_plain: whether autograd's graph is what the notes say, operation by operation.
        versions: the version that each had.
    """

    __slots__ = ("sources", "are_small", "are_plain", "versions", "_tensors")

    def __init__(self, notes: Iterable[Note]) -> None:
        tensors: dict[int, Tensor] = {}
        sources: dict[int, Tensor] = {}
        are_small = are_plain = True
        for known, args, kwargs, result, _, _, is_open in notes:
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
            if known.is_autograds and is_open is not TO_ALL and _is_connected_unseen(known, is_open, result):
                are_plain = False
        self.sources = sources
        self.are_small = are_small
        self.are_plain = are_plain
        self._tensors = tensors
        self.versions = Versions(list(tensors), versions_of(tensors.values()))

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) in self._tensors

    def have_changed(self) -> bool:
        """Whether any of them was written since."""
        return self.versions.all != versions_of(self._tensors.values())


def open_flags(args: Sequence) -> list[bool | list[bool]]:
    """Whether each argument requires a gradient, for a list of tensors as a list; False for what is no tensor."""
    return [a.requires_grad if isinstance(a, Tensor) else type(a) in (list, tuple) and _open_ones(a) for a in args]


def _open_ones(several: Sequence) -> list[bool] | bool:
    found = [isinstance(each, Tensor) and each.requires_grad for each in several]
    return found if True in found else False


def _is_connected_unseen(known: OpFacts, is_open: Flags, result: Any) -> bool:
    """Whether autograd connects the result of an operation that it ran for itself by a way of its own.

    A result that it keeps is a detached copy, with the node of the original once it is handed back; what it writes
    out requires no gradient although the input does.
    """
    if known.op is DETACH:
        return bool(result.requires_grad and not result.is_leaf)
    return any(is_open) and not result.requires_grad


def tensors_in(results: Any) -> list[Tensor]:
    """The tensors among what an operation returned, where that is no tensor itself."""
    return [t for t in results if isinstance(t, Tensor)] if isinstance(results, (list, tuple)) else []
