"""In-place operations and writes through views, turned into single assignment.

A write gives the tensor object a new value; what was recorded before keeps the old one. Three things follow.

1. *Old contents.* Entries whose rules read what is about to be overwritten get a copy first (copy on write).
2. *Views.* Autograd counts a tensor and its views as one *family* with one *base*, and so does the tape: a write
   through a view gives the base a new value, ``as_strided_scatter(base, view)``, and every view in the family is
   out of date until its next use, when it becomes ``as_strided(base)``. Two rules thus serve every kind of view.
3. *Writes that autograd does not see* (under ``no_grad``, through ``.data`` or ``detach()``) change contents and
   leave gradients alone: the gradient passes to the value before the write, unchanged. Inside the forward of a
   custom Function the same write is a real one, also for the other families in the same memory. The sweep decides,
   so such an entry keeps both ways: its inputs, and the value before (`Entry.old`).

The bookkeeping is brought up to date only when something is written: a forward pass without writes pays nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C._autograd import _get_sequence_nr as next_sequence_number
from torch.autograd.function import BackwardCFunction

from gradlab.backprop.memory import Family, Memory, copy_of, is_expanded, place_of, storage_of, why_unplaceable
from gradlab.backprop.ops import ALIAS, OpFacts, facts
from gradlab.backprop.rules.table import Op
from gradlab.backprop.values import NO_NODE, PLACED, Entry, Value, node_of, version_of

if TYPE_CHECKING:
    from gradlab.backprop.tape import Tape

aten = torch.ops.aten

EXPANDED = (
    "an expanded tensor was written in place, of which several entries are one place in memory: write to what was "
    "expanded, or to a clone"
)
WRITTEN = -1  # the value that a write gave to a view: the base takes it over, and the view reads it from there


class Writes:
    """Runs operations that write, for one tape."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.taken: set[int] = set()  # numbers of nodes that autograd made for an operation's arguments, after its own
        self._memories: dict[int, Memory] = {}
        self._untouched: dict[int, list[Value]] = defaultdict(list)  # by storage: recorded since its last write
        self._read: set[Value] = set()
        self._placed: set[Value] = set()  # values of which a rule looks at the place in memory
        self._unnoted: list[Value] = []  # beside which something was written: the version counter may be theirs too
        self._objects_seen = 0
        self._entries_seen = 0

    @property
    def have_happened(self) -> bool:
        return bool(self._memories)

    def close(self) -> None:
        """Takes apart what holds each other, so that memory is given back now and not at some garbage collection."""
        for memory in self._memories.values():
            memory.families.clear()
            memory.exposed.clear()
        self._memories.clear()

    # --- one write ------------------------------------------------------------------------------------------

    def run(self, known: OpFacts, args: tuple, kwargs: dict, written: Iterable[tuple[int, str]]) -> Any:
        """Runs an operation and records what it did, without writing, as an entry."""
        tape = self.tape
        targets = [t for i, name in written for t in _tensors(args[i] if i < len(args) else kwargs.get(name))]
        if not tape.everything:
            self._notice_saved_copy()
        given = {k: v for k, v in kwargs.items() if k not in known.outs} if known.outs else kwargs
        entry = tape.entry(facts(known.functional), args, given)
        old = [tape.value_of(t) for t in targets]
        if known.is_inplace_view:
            return self._reshape(known, args, kwargs, entry, targets[0])
        for target in targets:
            if target._base is not None:
                tape.value_of(target._base)
        self._catch_up([t for t, v in zip(targets, old, strict=True) if v.family is None])
        self._expose(entry.inputs_read_by(tape.rules.get(entry.facts.op)))
        families = [self._family(t) if v.family is None else v.family for t, v in zip(targets, old, strict=True)]
        self._copy_what_is_read(targets, families)
        result = known.run(*args, **kwargs)
        overwritten = {id(t) for t in targets}
        made = [] if id(result) in overwritten else [r for r in _tensors(result) if id(r) not in overwritten]
        tape.append(entry, made + targets)
        is_seen = tape.everything or (entry.grad_mode and any(entry.is_open))
        if not is_seen:
            entry.old = (*[None] * len(made), *old)
        for target, family in zip(targets, families, strict=True):
            self._spread(target, family, is_seen)
        return result

    def _notice_saved_copy(self) -> None:
        """Autograd clones the target of ``y.mul_(w)`` before the write, since it will read it: a node after its own."""
        for last in self.tape.entries[-1:]:
            is_newest = last.number == next_sequence_number() - 1
            if last.op is aten.clone.default and last.grad_mode and last.is_open[0] and is_newest:
                self.taken.add(last.number)

    def _reshape(self, known: OpFacts, args: tuple, kwargs: dict, entry: Entry, target: Tensor) -> Any:
        """``t_()`` and its like give the tensor object another shape; the values before keep theirs."""
        self._catch_up([target])
        before = target.detach()
        self._family(target).memory.forget_places()
        for value in self.tape.history:
            if value.tensor is target:
                value.holder, value.tensor = target, before
        entry.grad_mode = True  # where autograd does not see it, the gradient still has to have the old shape
        result = known.run(*args, **kwargs)
        self.tape.append(entry, [target])
        memory = self._family(target).memory
        for value in self.tape.history:
            if value.family is not None and value.family.memory is memory:
                value.version = None  # autograd counts it as a change, which it is not
        return result

    def _spread(self, target: Tensor, family: Family, is_seen: bool) -> None:
        """What a write to ``target`` means for the other tensor objects in its memory."""
        memory = family.memory
        changed = [family] if is_seen else list(memory.families.values())
        for each in changed:
            if each.base is not target:
                self._scatter(each.base, target, is_seen)
        memory.note_write(target)
        if target is not family.base:
            self._join(target, family, since=WRITTEN)  # out of date
        for each in changed:
            self._join(each.base, each, since=memory.writes)

    def _scatter(self, base: Tensor, target: Tensor, is_seen: bool) -> None:
        """The base's new value: its old one with the written part replaced."""
        tape = self.tape
        before = tape.value_of(base)
        entry = tape.entry(facts(aten.as_strided_scatter.default), (base, target, *place_of(target)), {})
        entry.number = next_sequence_number() if is_seen and entry.grad_mode else NO_NODE
        entry.inputs[1].version = None
        if not is_seen:
            entry.old = (before,)
        elif not tape.everything:
            entry.is_open[1] = entry.inputs[1].is_differentiable
        reason = why_unplaceable(target, base) or (EXPANDED if is_expanded(target) else "")
        if reason:
            lost = Value(base)
            lost.lost = reason
            number, entry = entry.number, self._alias(lost, entry.old)
            entry.number = number
        tape.append(entry, [base])

    # --- later uses -----------------------------------------------------------------------------------------

    def is_out_of_date(self, value: Value) -> bool:
        """Whether the content was overwritten through another tensor object since the value was recorded."""
        family = value.family
        if family is None or value.since_write == family.memory.writes:
            return False
        if value.since_write == WRITTEN or not self._counts_alone(value):
            return True
        if family.memory.may_have_changed(value.users_tensor, value.since_write):
            return True
        value.since_write, value.version = family.memory.writes, version_of(value.tensor)
        return False

    def _counts_alone(self, value: Value) -> bool:
        """Whether a write beside it does not concern it. Autograd makes all views of a base anew, wherever it went."""
        return self.tape.everything or value.users_tensor._base is None

    def renew(self, tensor: Tensor, value: Value) -> Value:
        """The present value of a tensor object whose value is out of date."""
        tape, family = self.tape, value.family
        assert family is not None
        # Where it is a base, another family was written: for this one autograd saw nothing.
        is_base = tensor is family.base
        entry = self._alias(value, ()) if is_base else self._view(tensor, value, family.base)
        tape.append(entry, [tensor])
        renewed = entry.outputs[0]
        assert renewed is not None
        return renewed

    def _view(self, tensor: Tensor, value: Value, base: Tensor) -> Entry:
        whole = self.tape.value_of(base)
        # Autograd looks at the version counter: where it stands still, its graph has the view as it was.
        is_still = value.since_write != WRITTEN and value.version == version_of(tensor)
        is_noticed = self.tape.everything or not is_still
        node = None if self.tape.everything else node_of(tensor)
        if not is_noticed:
            value.grad_fn = node
        old = () if is_noticed else (value,)
        reason = why_unplaceable(tensor, base)
        if reason:
            whole = Value(tensor)
            whole.lost = reason
            return self._alias(whole, old)
        entry = self._entry(aten.as_strided.default, whole, *place_of(tensor))
        entry.is_open = [self.tape.everything or base.requires_grad]
        entry.old = old
        if isinstance(node, BackwardCFunction):
            whole.grad_fn, entry.is_open = node, [True]  # a Function returned a view and wrote through another
        elif is_noticed and node is not None:
            entry.number = node._sequence_nr()
            self.taken.add(entry.number)
        return entry

    def _alias(self, value: Value, old: tuple[Value | None, ...]) -> Entry:
        entry = self._entry(ALIAS, value)
        entry.old = old
        return entry

    def _entry(self, op: Op, value: Value, *rest: Any) -> Entry:
        entry = self.tape.entry(facts(op), rest, {})
        entry.args, entry.inputs, entry.is_open = (value.tensor, *rest), [value], [True]
        entry.number, entry.grad_mode = NO_NODE, True
        return entry

    def family_from_before(self, tensor: Tensor) -> Family | None:
        """For a view made before the recording and new to the tape: its family, where that was written since."""
        memory = self._memories.get(storage_of(tensor)) if tensor._is_view() else None
        return memory.families.get(id(tensor._base)) if memory is not None and memory.writes else None

    # --- bookkeeping ----------------------------------------------------------------------------------------

    def _family(self, tensor: Tensor) -> Family:
        return self._memories[storage_of(tensor)].family_of(tensor)

    def _join(self, tensor: Tensor, family: Family, since: int) -> None:
        value = self.tape.peek(tensor)
        assert value is not None
        value.family, value.since_write = family, since

    def _copy_what_is_read(self, targets: list[Tensor], families: list[Family]) -> None:
        for memory in {id(f.memory): f.memory for f in families}.values():
            if not self.tape.everything:
                self._note_nodes(memory)
            exposed, memory.exposed = memory.exposed, []
            for value in exposed:
                if self._counts_alone(value) and memory.is_apart(value.tensor, targets):
                    memory.exposed.append(value)
                    self._unnoted.append(value)
                    value.version = None
                else:
                    value.holder = value.users_tensor
                    value.tensor = copy_of(value.tensor, value in self._placed)
                    value.version = version_of(value.tensor)

    def _note_nodes(self, memory: Memory) -> None:
        for family in memory.families.values():
            value = self.tape.peek(family.base)
            if value is not None and family.base.requires_grad:
                value.grad_fn = family.base.grad_fn

    def _catch_up(self, targets: Iterable[Tensor]) -> None:
        """Looks at what was recorded since the last write; what shares memory with the targets joins its family."""
        tape, memories, rules = self.tape, self._memories, self.tape.rules
        for value in self._unnoted:
            value.version = version_of(value.tensor)
        self._unnoted.clear()
        history, entries = tape.history, tape.entries
        for value in history[self._objects_seen :]:
            if value.family is not None and tape.everything:
                continue  # at home already, since it was written
            key = storage_of(value.users_tensor)
            if key in memories:
                self._bring_home(value, memories[key])
            else:
                self._untouched[key].append(value)
        self._objects_seen = len(history)
        for entry in entries[self._entries_seen :]:
            self._expose(entry.read_by(rules.get(entry.facts.op)))
            if entry.facts.op in PLACED:
                self._placed.update(v for v in (entry.inputs[0], entry.outputs[0]) if v is not None)
        self._entries_seen = len(entries)
        for target in targets:
            key = storage_of(target)
            if key not in memories:
                memory = memories[key] = Memory()
                for value in self._untouched.pop(key, ()):
                    self._bring_home(value, memory)

    def _bring_home(self, value: Value, memory: Memory) -> None:
        """A value joins the family that it belongs to in a memory that is written."""
        if value.family is None:
            value.family = memory.family_of(value.users_tensor)
            value.since_write = memory.writes
            if value in self._read:
                memory.exposed.append(value)
        if value.version is None and not self.tape.everything:
            value.version = version_of(value.tensor)

    def _expose(self, values: Iterable[Value]) -> None:
        """From now on a write to their memory has to copy these first."""
        for value in values:
            if value not in self._read:
                self._read.add(value)
                if value.family is not None:
                    value.family.memory.exposed.append(value)


def _tensors(argument: Any) -> Sequence[Tensor]:
    if isinstance(argument, Tensor):
        return (argument,)
    return [t for each in argument for t in _tensors(each)] if isinstance(argument, (list, tuple)) else []
