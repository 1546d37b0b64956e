"""The tape: every primitive operation of one forward pass, recorded underneath autograd.

PyTorch calls a dispatch mode for each primitive (ATen) operation after autograd has noted it and before it runs.
`Tape` is such a mode. The same forward pass therefore serves two backward passes, autograd's and the handwritten
one: same dropout masks, same batch statistics, same numbers.

The tape is in *single assignment* form. A tensor object may be overwritten in place; a `Value` is one content, made
by one `Entry` and never changed. Which value a tensor object holds at the moment is kept in a dictionary; what a
write does to it, and to the views that share its storage, is the business of `mutation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from sys import _getframe as getframe
from typing import Any

import torch
from torch import Tensor, is_grad_enabled
from torch._C import _AutoDispatchBelowAutograd as BelowAutograd
from torch._C import _len_torch_dispatch_stack as len_torch_dispatch_stack
from torch._C._autograd import _get_sequence_nr as next_sequence_number
from torch.utils._python_dispatch import TorchDispatchMode

from gradlab.backprop.below import is_connected_unseen, ran_below_autograd, saved_result
from gradlab.backprop.direct import DirectSweep
from gradlab.backprop.downstream import refuse_lost
from gradlab.backprop.errors import TapeError
from gradlab.backprop.gradients import Gradient, Gradients
from gradlab.backprop.lost import Lost
from gradlab.backprop.modules import CallStack, OtherThreads, is_anything_compiled, users_line
from gradlab.backprop.mutation import Writes
from gradlab.backprop.notes import Met, Note, open_ones
from gradlab.backprop.ops import DETACH, KNOWN, OpFacts, facts, undeclared_writes
from gradlab.backprop.release import release_unread
from gradlab.backprop.rules import RULES, Rule
from gradlab.backprop.rules.table import Op
from gradlab.backprop.sweep import Sweep, Term, Terms
from gradlab.backprop.values import NO_NODE, Entry, Value, have_changed, is_leaf, node_of, note_versions

ASK: Any = object()  # instead of what was noted of an argument: ask the tensor itself whether it requires a gradient
UNSEEN = (
    "backward was asked for a tensor that this tape has not seen: "
    "compute it inside the `with Tape()` block, from there on without .detach(), .numpy() or a copy"
)


class Tape(TorchDispatchMode):
    """Records one forward pass and sweeps it backwards by handwritten rules.

    Entered with grad mode on, gradients stop where autograd's do (``detach``, ``no_grad``, tensors that do not
    require a gradient). Entered under ``torch.no_grad()``, every floating tensor is differentiated.

    The sweep is itself a sequence of tensor operations, so a tape around it gives second derivatives. Enter both under
    ``torch.no_grad()``: the sweep runs with gradients disabled, and a tape entered with grad mode on stops there.

    Args:
        rules: the table of handwritten rules, by default all that gradlab has. Give another to test one.
        lines: whether to note beside each operation the line of the user's code that ran it.

    Example:
        >>> import torch
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> with Tape() as tape:
        ...     y = x * x
        >>> float(tape.backward(y)[x])
        6.0
        >>> with torch.no_grad(), Tape() as outer:
        ...     with Tape() as inner:
        ...         y = x * x * x
        ...     slope = inner.backward(y)[x]  # 3·x²
        >>> float(outer.backward(slope)[x])  # 6·x
        18.0
    """

    def __init__(self, rules: Mapping[Op, Rule] = RULES, lines: bool = False) -> None:
        super().__init__()
        self.rules = rules
        self.lines = lines
        self.history: list[Value] = []  # all that were ever held by a tensor object, which it keeps alive
        self.everything = False
        self._notes: list[Note] | None = None  # while nothing more is needed than these, see `notes`
        self._met: Met | None = None
        self._entries: list[Entry] = []
        self._sources: dict[Value, Tensor] = {}
        self._current: dict[int, Value] = {}
        self._stack = CallStack()
        self._other_threads: OtherThreads | None = None
        self._eager: Any = None
        self._lost = Lost(0)
        self._is_open = False
        self._is_consumed = False

    @cached_property
    def _writes(self) -> Writes:
        return Writes(self)  # only where they are asked for: most tapes need none, and the two hold each other

    @property
    def entries(self) -> list[Entry]:
        """The recorded operations, from the first to the last."""
        self._read_notes()
        return self._entries

    @property
    def sources(self) -> dict[Value, Tensor]:
        """The values that entered the tape from outside, each with its tensor."""
        self._read_notes()
        return self._sources

    # --- recording ------------------------------------------------------------------------------------------

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spares the guard against compilation that PyTorch puts around every call of a mode: a third of its cost.

        Nothing is compiled while the tape is open: see `__enter__`.
        """
        return False

    def __enter__(self) -> Tape:
        if torch.is_inference_mode_enabled():
            raise TapeError("a tape cannot record under torch.inference_mode(): use torch.no_grad() instead")
        if self._is_open or self._is_consumed or self._notes or self._entries:
            raise TapeError("a tape records one forward pass: make a new Tape() for the next one")
        self.everything = not torch.is_grad_enabled()
        self._lost = Lost(next_sequence_number())
        self._is_open = True
        self._notes = None if self.lines else []
        if is_anything_compiled():
            self._eager = torch.compiler.set_stance("force_eager")
        if not self.everything:  # else no gradient is lost that would be missed
            self._other_threads = OtherThreads()
        self._stack.open(getframe(1))
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._stack.forget()
        if self._other_threads is not None:
            self._other_threads.close()
        if self._eager is not None:
            self._eager.__exit__(*exception)
        self._is_open = False
        if self._notes is None:
            note_versions(self.history)
        else:
            self._met = Met(self._notes)

    def __torch_dispatch__(self, func: Op, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        known = KNOWN.get(id(func)) or facts(func)
        frame, stack = getframe(1), self._stack
        if frame is not stack.asked_from:
            stack.move_to(frame)
        if not known.is_plain:
            return self._record_special(known, args, kwargs or {})
        notes = self._notes
        # What follows is `_record` and `_note` for the commonest cases, written out: a call takes 0.1 µs.
        if notes is None:
            entry = self.entry(known, args, kwargs or {})
            result = known.run(*args, **kwargs) if kwargs else known.run(*args)
            self.append(entry, (result,) if isinstance(result, Tensor) else _as_tuple(result))
            return result
        if not self.everything:
            return self._note(known, args, kwargs or {})
        result = known.run(*args, **kwargs) if kwargs else known.run(*args)
        notes.append((known, args, kwargs or {}, result, stack.scope, NO_NODE, args))
        return result

    def _record_special(self, known: OpFacts, args: tuple, kwargs: dict) -> Any:
        if known.is_without_tensors:
            return known.run(*args, **kwargs)
        if self._notes is not None:
            if known.op is DETACH:
                return self._note(known, args, kwargs)
            self._read_notes()
        written = known.written or undeclared_writes(known.op, args)
        return self._writes.run(known, args, kwargs, written) if written else self._record(known, args, kwargs)

    def _note(self, known: OpFacts, args: tuple, kwargs: dict) -> Any:
        assert self._notes is not None
        number = NO_NODE
        wanting: Sequence | None = args
        if not self.everything:
            if not is_grad_enabled() or (kwargs and any(isinstance(a, Tensor) for a in kwargs.values())):
                self._read_notes()
                return self._record(known, args, kwargs)
            number, wanting = next_sequence_number() - 1, open_ones(args)
        result = known.run(*args, **kwargs)
        self._notes.append((known, args, kwargs, result, self._stack.scope, number, wanting))
        return result

    def _read_notes(self) -> None:
        """Makes entries and values of the notes, and takes no more notes."""
        notes, self._notes = self._notes, None
        for note in notes or ():
            known, args, kwargs, result, _, _, _ = note
            self._append_result(self.entry(known, args, kwargs, note), result)
        if self._met is not None:
            recorded, self._met = self._met.versions.by_id(), None
            for value in self.history:
                value.version = recorded[id(value.tensor)]

    def _record(self, known: OpFacts, args: tuple, kwargs: dict) -> Any:
        entry = self.entry(known, args, kwargs)
        result = known.run(*args, **kwargs)
        self._append_result(entry, result)
        return result

    def _append_result(self, entry: Entry, result: Any) -> None:
        if self.everything and entry.facts.op is DETACH:
            self.set_current(result, Value(result))  # a constant
        else:
            self.append(entry, (result,) if isinstance(result, Tensor) else _as_tuple(result))

    def entry(self, known: OpFacts, args: Sequence, kwargs: dict[str, Any], note: Note | None = None) -> Entry:
        """A new entry for an operation with its inputs bound to their present values; not yet on the tape.

        Args:
            known, args, kwargs: the operation and its arguments.
            note: what was noted of it when it ran; None where it is about to run.
        """
        given, current, everything = len(args), self._current, self.everything
        inputs: list[Value] = []
        is_open: list[bool] = []
        for position, name in known.tensor_arguments:
            argument = args[position] if position < given else kwargs.get(name)
            value = current.get(id(argument))
            if (
                everything
                and value is not None
                and (value.family is None or value.family.memory.writes == value.since_write)
            ):
                inputs.append(value)
            elif argument is not None:
                wanting = ASK
                if note is not None and position < given:
                    wanting = note[-1] and note[-1][position]
                self._bind(argument, wanting, inputs, is_open)
        if note is not None:
            _, _, _, _, scope, number, _ = note
            return Entry(known, args, kwargs, inputs, is_open, number, not everything, scope)
        number, grad_mode = NO_NODE, False
        if not everything:
            # Asked for now, since to bind a view that was written may take some.
            number, grad_mode = next_sequence_number() - 1, is_grad_enabled()
            while number in self._writes.taken:
                number -= 1
        return Entry(known, args, kwargs, inputs, is_open, number, grad_mode, self._stack.scope)

    def append(self, entry: Entry, outputs: Sequence) -> None:
        """Puts an entry on the tape; each tensor in ``outputs`` holds a new value that the entry made."""
        current, history = self._current, self.history
        made: list[Value | None] = []
        for output in outputs:
            if isinstance(output, Tensor):
                value = current[id(output)] = Value(output, entry)
                history.append(value)
                made.append(value)
            else:
                made.append(None)
        if self.lines:
            entry.line = users_line()
        entry.outputs = tuple(made)
        entry.index = len(self._entries)
        self._entries.append(entry)

    def value_of(self, tensor: Tensor) -> Value:
        """The value that a tensor object holds at the moment; a tensor never seen before enters from outside."""
        if self._notes is not None:
            self._read_notes()
        value = self._current.get(id(tensor))
        if value is None:
            value = self._add_source(tensor)
        elif value.family is not None and self._writes.is_out_of_date(value):
            value = self._writes.renew(tensor, value)
        if not self.everything and value.entry is not None and value.entry.op is DETACH and tensor.requires_grad:
            return saved_result(tensor, value)
        return value

    def peek(self, tensor: Tensor) -> Value | None:
        """The value that a tensor object holds, or None where the tape has not seen the object."""
        if self._notes is not None:
            self._read_notes()
        return self._current.get(id(tensor))

    def set_current(self, tensor: Tensor, value: Value) -> None:
        """From now on the tensor object holds this value. The object is kept alive, so that its id stays its own."""
        self._current[id(tensor)] = value
        self.history.append(value)

    def _bind(self, argument: Any, wanting: Any, inputs: list[Value], is_open: list[bool]) -> None:
        if isinstance(argument, Tensor):
            value = self.value_of(argument)
            inputs.append(value)
            if not self.everything:
                is_required = argument.requires_grad if wanting is ASK else wanting is not None
                is_open.append(self._requires_grad(argument, value, is_required))
        elif isinstance(argument, (list, tuple)):
            for place, each in enumerate(argument):
                self._bind(each, wanting[place] if isinstance(wanting, list) else wanting, inputs, is_open)

    def _requires_grad(self, argument: Tensor, value: Value, is_required: bool) -> bool:
        entry = value.entry
        if entry is None:
            return is_required
        if not is_required:
            return value.is_differentiable and ran_below_autograd(entry)
        if not entry.grad_mode:
            value.grad_fn = node_of(argument)
        return True

    def _add_source(self, tensor: Tensor) -> Value:
        value = Value(tensor)
        if self._writes.have_happened:
            value.family = self._writes.family_from_before(tensor)
            if value.family is not None:
                return self._writes.renew(tensor, value)
        if not self.everything:
            value.since = len(self._entries)
            value.lost = self._why_lost(tensor)
        self._sources[value] = tensor
        self.set_current(tensor, value)
        return value

    def _why_lost(self, tensor: Tensor) -> str:
        """Why the gradient of a tensor that is new to the tape cannot be followed; empty where it can."""
        assert self._other_threads is not None
        return self._lost.why(tensor, self._other_threads.module)

    # --- sweeping -------------------------------------------------------------------------------------------

    def backward(
        self,
        outputs: Tensor | Sequence[Tensor],
        grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
        *,
        retain_tape: bool = False,
        terms: list[Term] | None = None,
    ) -> Gradients:
        """The gradients of ``outputs``, weighted by ``grad_outputs``, for all that entered the tape from outside.

        Args:
            outputs: one or several tensors that the forward pass made.
            grad_outputs: the upstream gradient of each, shaped like it; 1 where it is left out, which only a
                single number allows.
            retain_tape: keep the tape for another sweep. By default the sweep lets go of it as it passes.
            terms: a list that receives one `Term` for each operation at which a gradient arrived that autograd would
                pass on.

        Returns:
            A mapping from tensor to gradient, see `Gradients`.

        Raises:
            MissingRuleError: where a gradient reaches an operation without a handwritten rule.
            TapeError: where the tape is open, used up, or has not seen ``outputs``; where a tensor that a rule
                reads was changed after the recording.
        """
        if self._is_open:
            raise TapeError("the tape is still recording: leave its `with` block before calling backward")
        if self._is_consumed:
            raise TapeError("this tape was used up by an earlier backward: call backward(..., retain_tape=True)")
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        upstream = (grad_outputs,) if isinstance(grad_outputs, Tensor) else grad_outputs
        upstream = (None,) * len(outputs) if upstream is None else tuple(upstream)
        if len(upstream) != len(outputs):
            raise TapeError(f"{len(outputs)} outputs need as many grad_outputs, got {len(upstream)}")
        let_go = not retain_tape and terms is None
        if let_go and self._is_plain:
            return self._sweep_directly(self._notes or [], outputs, upstream)
        seeds = [(self._output_value(t), _seed(t, g)) for t, g in zip(outputs, upstream, strict=True)]
        aside = self._aside() if let_go else frozenset()
        is_unchanged = not have_changed(self.history)
        entries = list(self.entries) if retain_tape else self._give_up_entries()
        with torch.no_grad():
            if let_go:
                release_unread(entries, self.rules)
            found = Sweep(entries, self.rules, self.everything, aside, is_unchanged).run(seeds, terms, let_go)
        return self._gradients(found)

    def sweep(self, output: Tensor) -> tuple[Gradients, Sequence[Term]]:
        """The gradients of one number, and the terms for whoever looks at them, soon: before the next update.

        Where the forward pass allows it the terms are worked out by a second sweep when they are looked at. That saves
        a third of the time where nobody does.
        """

        def with_terms() -> tuple[Gradients, list[Term]]:
            found: list[Term] = []
            return self.backward(output, terms=found), found

        if not self._is_plain:
            return with_terms()
        notes = list(self._notes or ())
        numbers = {number for _, _, _, _, _, number, _ in notes}
        gradients = self._sweep_directly(notes, (output,), (None,))
        return gradients, Terms(lambda: with_terms()[1], numbers)

    @property
    def _is_plain(self) -> bool:
        """Whether the notes alone are enough for a sweep."""
        met = self._met
        if met is None or not met.are_small or met.have_changed():
            return False
        return self.everything or not any(map(is_connected_unseen, self._notes or ()))

    def _sweep_directly(
        self, notes: list[Note], outputs: Sequence[Tensor], upstream: Sequence[Tensor | None]
    ) -> Gradients:
        """The sweep over notes alone, see `direct`.

        It uses the notes up, and the tape with them where they are its own.
        """
        met = self._met
        assert met is not None
        seeds = []
        for output, gradient in zip(outputs, upstream, strict=True):
            if output not in met:
                raise TapeError(UNSEEN)
            seeds.append((output, _seed(output, gradient)))
        if notes is self._notes:
            self._notes, self._met, self._is_consumed = None, None, True
        sweep = DirectSweep(self.rules, met, self.everything and _puts_data_aside(met.sources.values()))
        # Below autograd nothing is noted for it, which takes a tenth of a small operation's time; but a mode that looks
        # on (another tape, say) would see composite operations in one piece there.
        with torch.no_grad() if len_torch_dispatch_stack() else BelowAutograd():
            found = sweep.run(notes, seeds)
        if not self.everything:
            found = {key: g for key, g in found.items() if self._is_followed(met.sources.get(key))}
        return Gradients(met.sources | sweep.leaves, found)

    def _is_followed(self, source: Tensor | None) -> bool:
        """Whether a gradient that arrived at a source is for its owner; a leaf frozen meanwhile has none.

        Raises:
            TapeError: where it should go on from there, and cannot.
        """
        if source is None or source.is_leaf:
            return source is None or source.requires_grad
        refuse_lost(source, self._why_lost(source))
        return True

    def _aside(self) -> frozenset[Value]:
        if not self.everything or not _puts_data_aside(self.sources.values()):
            return frozenset()
        return frozenset(value for value, tensor in self.sources.items() if not tensor.requires_grad)

    def _gradients(self, found: Mapping[Value, Gradient]) -> Gradients:
        tensors, gradients = {id(t): t for t in self.sources.values()}, {}
        for value, gradient in found.items():
            tensor = self.sources.get(value)
            if tensor is None:
                # What autograd treats as a leaf although the tape saw it made: `torch.zeros(3).requires_grad_()`.
                tensor = value.users_tensor
                if not is_leaf(tensor):
                    continue
                tensors[id(tensor)] = tensor
            elif not (self.everything or tensor.requires_grad):
                continue  # a leaf frozen meanwhile has none, as with autograd
            gradients[id(tensor)] = gradient
        return Gradients(tensors, gradients)

    def _output_value(self, output: Tensor) -> Value:
        if self.peek(output) is None:
            raise TapeError(UNSEEN)
        value = self.value_of(output)
        if output.requires_grad and value.entry is not None and not value.entry.grad_mode:
            value.grad_fn = node_of(output)
        return value

    def _give_up_entries(self) -> list[Entry]:
        self._is_consumed = True
        entries, self._entries = self.entries, []
        self._current.clear()
        self.history.clear()
        if "_writes" in self.__dict__:
            self._writes.close()
            del self._writes
        return entries


def _puts_data_aside(sources: Iterable[Tensor]) -> bool:
    """Whether the gradients of data wait until they are asked for: hardly anybody does, if there are parameters.

    Inside another tape they are not put off, since it would not see them being made.
    """
    return not len_torch_dispatch_stack() and any(tensor.requires_grad for tensor in sources)


def _as_tuple(result: Any) -> tuple:
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


def _seed(output: Tensor, gradient: Tensor | None) -> Tensor:
    if gradient is None:
        if output.numel() != 1:
            raise TapeError(
                f"an output of shape {tuple(output.shape)} needs grad_outputs: only a single number has 1 for it"
            )
        return torch.ones_like(output)
    if gradient.shape != output.shape:
        raise TapeError(f"grad_outputs of shape {tuple(gradient.shape)} for an output {tuple(output.shape)}")
    return gradient
