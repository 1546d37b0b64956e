"""In-place operations and writes through views, turned into single assignment.

A write gives the tensor object a new value; what was recorded before keeps the old one. Three things follow.

1. *Old contents.* Entries whose rules read what is about to be overwritten get a copy first (copy on write).
2. *Aliases.* Other tensor objects in the same storage change too. The object that covers the whole storage, its
   *base*, receives ``as_strided_scatter(base, new value)``; every other alias is marked stale and, when it is next
   used, revived as ``as_strided(base)``. Two rules thus serve every kind of view.
3. *Writes that autograd does not see* (under ``no_grad``, through ``.data`` or ``detach()``) change contents and
   leave gradients alone: the gradient passes to the value before the write, unchanged. A write through a
   ``detach()`` is unseen by the original's graph and may be seen by its own. Under ``no_grad`` the same
   write is a real one inside a custom Function's forward; the sweep decides, so an entry keeps both ways.

The bookkeeping is brought up to date only when something is written: a forward pass without writes pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gradlab.backprop.ops import facts
from gradlab.backprop.rules.table import Op
from gradlab.backprop.values import Entry, Value, root, version_of

if TYPE_CHECKING:
    from gradlab.backprop.tape import Tape

aten = torch.ops.aten

LOST_VIEW = (
    "it shares memory with a tensor that was written during the recording, "
    "and no tensor that the tape has seen covers that memory"
)

LOST_TWINS = (
    "it shares memory with another tensor that entered the tape from outside, and was written during the recording: "
    "make the views inside the `with Tape()` block"
)


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a tensor object's value is out of date: its storage was written through another object.

    Attributes:
        base: the object that covers the whole storage and holds the new content.
        old: the value before the write.
    """

    base: Tensor
    old: Value


class Writes:
    """Runs operations that write, for one tape."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._storages: dict[int, dict[int, Tensor]] = {}
        self._exposed: dict[int, list[Value]] = {}
        self._written: set[int] = set()
        self._read: set[Value] = set()
        self._objects_seen = 0
        self._entries_seen = 0

    # --- one write ------------------------------------------------------------------------------------------

    def run(self, op: Op, args: tuple, kwargs: dict, written: Iterable[tuple[int, str]]) -> Any:
        """Runs ``op`` and records what it did, without writing, as an entry."""
        if torch.Tag.inplace_view in op.tags:
            return self._reshape_in_place(op, args, kwargs)
        tape = self.tape
        targets = list(_tensors(args[i] if i < len(args) else kwargs.get(name) for i, name in written))
        outs = {a.name for a in op._schema.arguments if a.is_out}
        entry = tape.entry(facts(op).functional, args, {k: v for k, v in kwargs.items() if k not in outs})
        old = {id(t): tape.value_of(t) for t in targets}
        for target in targets:
            old[id(target)].root_node = root(target).grad_fn
        is_seen = tape.everything or not entry.grad_mode or any(entry.is_open) or _tracked(targets)
        self._catch_up()
        for target in targets:
            self._settle(target, entry, is_seen)
        self._copy_what_is_read(targets, entry)
        result = op(*args, **kwargs)
        made = [r for r in _tensors([result]) if id(r) not in old] + targets
        tape.append(entry, made)
        entry.old = tuple(old.get(id(t)) for t in made)
        for target in targets:
            self._update_aliases(target, entry, is_seen)
        for value in entry.outputs:
            if value is not None:
                value.version = None  # autograd raises the version counter after this returns: note it at the next use
        return result

    def _reshape_in_place(self, op: Op, args: tuple, kwargs: dict) -> Any:
        """``transpose_`` and its like change the object's shape and no content: old values keep the old shape."""
        entry = self.tape.entry(facts(op).functional, args, kwargs)
        unchanged = args[0].detach()
        for _, value in self.tape.history:
            if value.tensor is args[0]:
                value.tensor, value.version = unchanged, None  # PyTorch counts a change, but the content has none
        result = op(*args, **kwargs)
        self.tape.append(entry, [args[0]])
        return result

    def _update_aliases(self, target: Tensor, entry: Entry, is_seen: bool) -> None:
        key = _storage(target)
        others = [t for t in self._storages.get(key, {}).values() if t is not target]
        if not is_seen:
            for other in others:
                self._pass_by(other, entry)
            return
        self._written.add(key)
        for other in others:
            if self._are_strangers(other, target, entry):
                if other.requires_grad:
                    self._pass_by(other, entry)
                else:
                    self.tape.set_current(other, Value(other))
        others = [t for t in others if not self._are_strangers(t, target, entry)]
        if not others and not target._is_view():
            return
        base = self._base(target, others)
        if base is None:
            for other in others:
                self._lose(other)
            return
        if base is not target:
            self._scatter(base, target, entry)
        for other in others:
            if other is not base:
                self._mark_stale(other, base)

    def _are_strangers(self, other: Tensor, target: Tensor, write: Entry) -> bool:
        """Whether autograd keeps two objects in one storage apart: one is a ``detach()`` or ``.data`` of the other."""
        return write.grad_mode and not self.tape.everything and root(other) is not root(target)

    def _scatter(self, base: Tensor, target: Tensor, write: Entry) -> None:
        """The base's new value: its old one with the written part replaced."""
        place = (target.size(), target.stride(), target.storage_offset())
        entry = self.tape.entry(aten.as_strided_scatter.default, (base, target, *place), {})
        entry.is_open = [entry.is_open[0], entry.inputs[1].is_differentiable]
        entry.old = (entry.inputs[0],)
        entry.inputs[0].root_node = root(base).grad_fn
        self._take_place_of(write, entry)
        self.tape.append(entry, [base])
        for before in write.old:
            if before in self.tape.sources and entry.inputs[0] in self.tape.sources:
                before.lost = LOST_TWINS

    def _mark_stale(self, other: Tensor, base: Tensor) -> None:
        before = self.tape.peek(other)
        assert before is not None
        if before.stale is None:
            before.root_node = root(other).grad_fn
        value = Value(other)
        value.stale = Stale(base, before.stale.old if before.stale is not None else before)
        self.tape.set_current(other, value)

    def _pass_by(self, other: Tensor, write: Entry) -> None:
        """The content changed unseen by autograd: a new value, whose gradient passes to the old one."""
        entry = self.tape.entry(aten.alias.default, (other,), {})
        entry.is_open = [entry.inputs[0].is_differentiable]
        self._take_place_of(write, entry)
        self.tape.append(entry, [other])

    def _lose(self, other: Tensor) -> None:
        value = Value(other)
        value.lost = LOST_VIEW
        self.tape.set_current(other, value)

    @staticmethod
    def _take_place_of(write: Entry, entry: Entry) -> None:
        entry.number, entry.grad_mode, entry.scope = write.number, write.grad_mode, write.scope

    # --- later uses -----------------------------------------------------------------------------------------

    def revive(self, tensor: Tensor, value: Value) -> Value:
        """The present value of a stale alias, read out of its base's."""
        base, old = value.stale.base, value.stale.old
        place = (tensor.size(), tensor.stride(), tensor.storage_offset())
        entry = self.tape.entry(aten.as_strided.default, (base, *place), {})
        entry.is_open = [entry.inputs[0].is_differentiable]
        entry.old = (old,)
        maker = entry.inputs[0].entry
        if maker is not None:
            self._take_place_of(maker, entry)
        self.tape.append(entry, [tensor])
        revived = entry.outputs[0]
        assert revived is not None
        return revived

    def is_written_elsewhere(self, tensor: Tensor) -> bool:
        """Whether a tensor that is new to the tape lives in memory that was written during the recording."""
        return bool(self._written) and _storage(tensor) in self._written

    # --- bookkeeping ----------------------------------------------------------------------------------------

    def _settle(self, target: Tensor, write: Entry, is_seen: bool) -> None:
        """Revives stale aliases first where this write is of another kind than the one that made them stale."""
        for other in list(self._storages.get(_storage(target), {}).values()):
            value = self.tape.peek(other)
            if value is None or value.stale is None:
                continue
            maker = self.tape.value_of(value.stale.base).entry
            is_other_kind = maker is None or maker.grad_mode != write.grad_mode
            if not is_seen or is_other_kind or self._are_strangers(other, target, write):
                self.revive(other, value)

    def _copy_what_is_read(self, targets: list[Tensor], entry: Entry) -> None:
        self._read.update(self._values_read_by(entry, with_outputs=False))
        for key in {_storage(t) for t in targets}:
            for value in self._exposed.pop(key, ()):
                if value in self._read:
                    value.tensor = value.tensor.clone()
                    value.version = version_of(value.tensor)

    def _catch_up(self) -> None:
        tape = self.tape
        for tensor, value in tape.history[self._objects_seen :]:
            key = _storage(tensor)
            self._storages.setdefault(key, {})[id(tensor)] = tensor
            self._exposed.setdefault(key, []).append(value)
        self._objects_seen = len(tape.history)
        for entry in tape.entries[self._entries_seen :]:
            self._read.update(self._values_read_by(entry, with_outputs=True))
        self._entries_seen = len(tape.entries)

    def _values_read_by(self, entry: Entry, with_outputs: bool) -> Iterator[Value]:
        rule = self.tape.rules.get(entry.op)
        if rule is None:
            yield from entry.inputs
        else:
            yield from entry.values_at(rule.reads)
        if with_outputs and (rule is None or rule.reads_output):
            yield from (value for value in entry.outputs if value is not None)

    def _base(self, target: Tensor, others: list[Tensor]) -> Tensor | None:
        """The object that covers the whole storage."""
        base = target._base
        candidates = [base] if base is not None else []
        return next((t for t in [*candidates, target, *others] if _covers_storage(t)), None)


def _tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from _tensors(argument)


def _tracked(tensors: list[Tensor]) -> bool:
    return any(t.requires_grad for t in tensors)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _covers_storage(tensor: Tensor) -> bool:
    full = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    return full and _is_dense(tensor)


def _is_dense(tensor: Tensor) -> bool:
    """Whether every place in a run of memory belongs to exactly one entry, in whatever order of dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.size(), strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True
