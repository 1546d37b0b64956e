"""The reverse sweep: the chain rule, applied to a tape from its end to its beginning.

For each operation, from the last to the first:

    upstream gradient  ×  local derivative  =  downstream gradient

and a value that was used several times gets the sum over its uses (the path sum). Because the tape runs backwards,
every use of a value has been passed before the operation that made it, so the sum is complete when it is needed.

The sweep uses plain tensor operations with grad mode off: no autograd, no ``torch.func``, no backward kernel.
Where a gradient stops is decided in `stops`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, overload

from torch import Tensor

from gradlab.backprop.downstream import broken_rule, fitted, fitted_late, no_rule, refuse_change, refuse_lost, total
from gradlab.backprop.gradients import Gradient
from gradlab.backprop.rules.table import Op, Rule
from gradlab.backprop.stops import Stops
from gradlab.backprop.values import Entry, Value

Upstream = tuple["Tensor | None", ...]
Downstream = list[tuple[Value, Tensor]]


@dataclass(slots=True, eq=False)
class Term:
    """One operation of the chain rule: what came in from above, and what went on below.

    Where the rule says that the derivative is 0 everywhere, nothing goes on below, and ``downstream`` is empty.

    Attributes:
        entry: the recorded operation.
        rule: its handwritten rule; None where the gradient passed by a write that autograd did not see.
        upstream: the gradient of each output, None where nothing flows back.
        downstream: for each input that gets a gradient, the value and this operation's contribution to it.
    """

    entry: Entry
    rule: Rule | None
    upstream: Upstream
    downstream: Downstream


class Terms(Sequence[Term]):
    """The terms of a sweep, from the loss down, worked out when they are first looked at.

    Args:
        make: works them out.
        numbers: autograd's sequence numbers of all operations on the tape, whether a gradient passed them or not.
    """

    def __init__(self, make: Callable[[], list[Term]], numbers: Collection[int]) -> None:
        self.numbers = numbers
        self._make = make

    @cached_property
    def _all(self) -> list[Term]:
        return self._make()

    @overload
    def __getitem__(self, place: int) -> Term: ...

    @overload
    def __getitem__(self, place: slice) -> list[Term]: ...

    def __getitem__(self, place: int | slice) -> Term | list[Term]:
        return self._all[place]

    def __len__(self) -> int:
        return len(self._all)


class Sweep:
    """One pass over a tape, from its end to its beginning.

    Args:
        entries: the tape; the sweep takes entries off its end, so that memory is given back as it passes.
        rules: the table of handwritten rules.
        everything: whether the tape was entered with gradients disabled, to differentiate all that it saw.
        aside: values from outside whose gradients may be left to be finished when asked for.
        is_unchanged: whether all values are known to be as they were recorded; else each is looked at when it is read.
    """

    def __init__(
        self,
        entries: list[Entry],
        rules: Mapping[Op, Rule],
        everything: bool = False,
        aside: Collection[Value] = frozenset(),
        is_unchanged: bool = False,
    ) -> None:
        self._entries = entries
        self._rules = rules
        self._stops = Stops(entries, everything)
        self._aside = aside
        self._is_unchanged = is_unchanged
        self._gradients: dict[Value, Tensor] = {}
        self._later: dict[Value, list[Callable[[], Tensor | None]]] = defaultdict(list)

    def run(
        self, seeds: Sequence[tuple[Value, Tensor]], terms: list[Term] | None = None, let_go: bool = False
    ) -> dict[Value, Gradient]:
        """Passes gradients back through all operations.

        Args:
            seeds: the values to start from, each with its upstream gradient.
            terms: where given, receives one `Term` for each operation whose rule was asked.
            let_go: whether entries may be taken apart once they were passed.

        Returns:
            The gradients that were left over: of the values that no entry made. For those put aside, functions
            that finish them.

        Raises:
            MissingRuleError: names the operation and the module.
            TapeError: where a value that a rule reads was changed after it was recorded, or cannot be followed; where
                a rule fails, or gives a gradient that does not have the shape of its value.
        """
        self._accumulate(seeds)
        entries = self._entries
        while entries:
            entry = entries.pop()
            upstream = self._take(entry.outputs)
            if upstream is not None:
                try:
                    rule, downstream = self._pass_back(entry, upstream)
                except RuntimeError as error:
                    broken_rule(error, entry.op, entry.scope)
                self._accumulate(downstream)
                if terms is not None and (downstream or rule is not None):
                    terms.append(Term(entry, rule, upstream, downstream))
                del upstream, downstream  # or the next operation would find their memory still in use
            if let_go:
                entry.outputs = ()  # it and its outputs hold each other: free them now, not at some garbage collection
        self._stops.leave_function()
        return self._left_over()

    def _take(self, outputs: tuple[Value | None, ...]) -> Upstream | None:
        """The complete gradient of each output, which nothing else needs any more; None where none has one."""
        gradients = self._gradients
        if len(outputs) == 1:
            gradient = gradients.pop(outputs[0], None)  # type: ignore[arg-type]
            return None if gradient is None else (gradient,)
        upstream = tuple([gradients.pop(v, None) for v in outputs])  # type: ignore[arg-type]
        return upstream if any(g is not None for g in upstream) else None

    def _pass_back(self, entry: Entry, upstream: Upstream) -> tuple[Rule | None, Downstream]:
        """What the gradient of one operation's outputs makes of its inputs' gradients; nothing where it ends here."""
        wanted = self._stops.open_inputs(entry, upstream)
        if wanted:
            rule = self._rules.get(entry.facts.op) or no_rule(entry.op, entry.scope)
            return rule, self._downstream(entry, rule, upstream, wanted)
        if wanted is None:
            return None, _past_the_write(entry, upstream)
        ended = zip(entry.outputs, upstream, strict=True)
        self._gradients.update((v, g) for v, g in ended if v is not None and g is not None)
        return None, []

    def _accumulate(self, contributions: Sequence[tuple[Value, Tensor]]) -> None:
        gradients = self._gradients
        for value, gradient in contributions:
            sofar = gradients.get(value)
            gradients[value] = gradient if sofar is None else sofar + gradient

    def _downstream(self, entry: Entry, rule: Rule, upstream: Upstream, wanted: list[Value]) -> Downstream:
        """What one operation contributes to each of its inputs."""
        groups, outputs = entry.grouped(), entry.outputs
        if not self._is_unchanged:
            _refuse_changes(entry, rule, outputs)
        args, kwargs = entry.arguments()
        g: Any = upstream[0]
        y: Any = outputs[0] and outputs[0].tensor
        if len(outputs) > 1:
            g, y = upstream, tuple([v and v.tensor for v in outputs])
        parts = rule.function(y, *args, **kwargs) if rule.is_pointwise else rule.function(g, y, *args, **kwargs)
        downstream: Downstream = []
        for group, part in zip(groups, parts if type(parts) is tuple else (parts,)):  # noqa: B905 (0.1 µs)
            if part is None or group is None:
                continue
            if isinstance(group, list):
                downstream += _pieces(rule, g, group, part, wanted)
            elif group in self._aside and callable(part):
                self._later[group].append(partial(_finish, entry, rule, g, part, group, outputs))
            elif group in wanted:
                piece = part() if callable(part) else part
                if piece is not None:
                    downstream.append((group, fitted(rule, g, piece, group.tensor)))
        return downstream

    def _left_over(self) -> dict[Value, Gradient]:
        found: dict[Value, Gradient] = {**self._gradients}
        for value in self._gradients:
            refuse_lost(value.tensor, value.lost)
        for value, contributions in self._later.items():
            found[value] = partial(total, self._gradients.get(value), contributions)
        return found


# --- one operation ------------------------------------------------------------------------------------------


def _past_the_write(entry: Entry, upstream: Upstream) -> Downstream:
    pairs = zip(entry.old, upstream, strict=True)
    return [(old, g) for old, g in pairs if old is not None and g is not None]


def _pieces(rule: Rule, g: Any, group: list[Value | None], part: Any, wanted: list[Value]) -> Downstream:
    """For an argument that is a list of tensors: each wanted value with its piece of the rule's answer."""
    if not any(value in wanted for value in group):
        return []
    pieces = zip(group, part() if callable(part) else part, strict=True)
    return [
        (value, fitted(rule, g, piece, value.tensor))
        for value, piece in pieces
        if value is not None and value in wanted and piece is not None
    ]


def _refuse_changes(entry: Entry, rule: Rule, outputs: Sequence[Value | None]) -> None:
    """An error where a content that the rule reads is not the one that was recorded."""
    read = [*entry.values_at(rule.reads), *outputs] if rule.reads_output else entry.values_at(rule.reads)
    for value in read:
        if value is not None and value.version is not None:
            refuse_change(value.tensor, value.version, rule, entry.scope)


def _finish(
    entry: Entry, rule: Rule, g: Any, part: Callable, value: Value, outputs: Sequence[Value | None]
) -> Tensor | None:
    """One contribution to a gradient that was put aside."""
    _refuse_changes(entry, rule, outputs)
    return fitted_late(part, rule, g, value.tensor, entry.op, entry.scope)
