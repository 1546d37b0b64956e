"""The reverse sweep: the chain rule, applied to a tape from its end to its beginning.

For each operation, from the last to the first:

    upstream gradient  ×  local derivative  =  downstream gradient

and a value that was used several times gets the sum over its uses (the path sum). Because the tape runs backwards,
every use of a value has been passed before the operation that made it, so the sum is complete when it is needed.

The sweep uses plain tensor operations with grad mode off: no autograd, no ``torch.func``, no backward kernel.

*Where a gradient stops* is decided as autograd decides it. An operation recorded with gradients enabled passes them
to the inputs that required one. An operation recorded with gradients disabled passes them only inside the forward
of a custom ``autograd.Function``: from the first entry whose number is at least the node's, to the entry that made
its output. Values made inside are free; values from outside need ``requires_grad``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from gradlab.backprop.errors import MissingRuleError, TapeError
from gradlab.backprop.ops import SHAPE_ONLY, facts
from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Op, Rule
from gradlab.backprop.values import Entry, Value

DETACH = torch.ops.aten.detach.default


@dataclass(frozen=True, slots=True)
class Term:
    """One operation of the chain rule: what came in from above, and what went on below.

    Attributes:
        entry: the recorded operation.
        rule: its handwritten rule; None where the gradient passed by a write that autograd did not see.
        upstream: the gradient of each output, None where nothing flows back.
        downstream: for each input that gets a gradient, the value and this operation's contribution to it.
    """

    entry: Entry
    rule: Rule | None
    upstream: tuple[Tensor | None, ...]
    downstream: list[tuple[Value, Tensor]]


def sweep(
    entries: list[Entry],
    seeds: Sequence[tuple[Value, Tensor]],
    rules: Mapping[Op, Rule],
    everything: bool = False,
    terms: list[Term] | None = None,
) -> dict[Value, Tensor]:
    """Passes gradients back through recorded operations.

    Args:
        entries: the tape; the sweep takes entries off its end, so that memory is given back as it passes.
        seeds: the values to start from, each with its upstream gradient.
        rules: the table of handwritten rules.
        everything: whether the tape was entered with gradients disabled, to differentiate all that it saw.
        terms: where given, receives one `Term` for each operation that a gradient passed.

    Returns:
        The gradients that were left over: of the values that no entry made.

    Raises:
        MissingRuleError: names the operation and the module.
        TapeError: where a value that a rule reads was changed after it was recorded, or cannot be followed.
    """
    gradients: dict[Value, Tensor] = {}
    for value, gradient in seeds:
        _accumulate(gradients, value, gradient)
    stops = _Stops(entries, everything)
    while entries:
        entry = entries.pop()
        upstream = tuple([gradients.pop(v, None) for v in entry.outputs])  # type: ignore[arg-type]
        if all(g is None for g in upstream):
            continue
        wanted = stops.open_inputs(entry, upstream)
        if wanted is None:
            rule, downstream = None, _past_the_write(entry, upstream)
        elif wanted:
            rule = _rule_for(entry, rules)
            downstream = _downstream(entry, rule, upstream, wanted)
        else:
            gradients.update((v, g) for v, g in zip(entry.outputs, upstream, strict=True) if v and g is not None)
            continue
        for value, gradient in downstream:
            _accumulate(gradients, value, gradient)
        if terms is not None:
            terms.append(Term(entry, rule, upstream, downstream))
    stops.leave_function()
    for value in gradients:
        if value.lost:
            raise TapeError(f"the gradient of a tensor of shape {tuple(value.tensor.shape)} is lost: {value.lost}")
    return gradients


class _Stops:
    """Decides, entry by entry from the last to the first, to which inputs a gradient passes."""

    def __init__(self, entries: list[Entry], everything: bool) -> None:
        self._entries = entries
        self._everything = everything
        self._inside_from = len(entries)  # the entries of open Functions begin here
        self._function = ""  # the outermost open Function
        self._is_connected = False  # whether a gradient passed from its result to anything outside it
        self._ends_in = ""  # what took the gradient up inside it, and entered the tape there

    def open_inputs(self, entry: Entry, upstream: tuple[Tensor | None, ...]) -> list[Value] | None:
        """The inputs that get a gradient; None where the gradient passes by a write that autograd did not see."""
        if entry.index < self._inside_from:
            self.leave_function()
        wanted = [v for v, is_open in zip(entry.inputs, entry.is_open, strict=True) if is_open]
        if entry.op in SHAPE_ONLY or (entry.op is DETACH and entry.grad_mode and entry.index < self._inside_from):
            wanted = []
        if self._everything or (entry.grad_mode and wanted and entry.index < self._inside_from):
            return wanted
        if entry.index < self._inside_from and not self._enters_function(entry, upstream):
            if entry.grad_mode:
                return wanted
            self._refuse_function_on_views(entry, upstream)
            return None if any(entry.old) else []
        return [] if entry.op in SHAPE_ONLY else self._open_inside(entry)

    def _open_inside(self, entry: Entry) -> list[Value]:
        wanted = []
        for value, is_open in zip(entry.inputs, entry.is_open, strict=True):
            is_made_inside = value.entry is not None and value.entry.index >= self._inside_from
            if is_open or (is_made_inside and value.is_differentiable):
                wanted.append(value)
                self._is_connected = self._is_connected or not is_made_inside
            elif value.entry is None and value.since >= self._inside_from and value.is_differentiable:
                self._ends_in = f"a tensor of shape {tuple(value.tensor.shape)}"
        return wanted

    def leave_function(self) -> None:
        """Called when the sweep has passed the beginning of a Function's forward: did the gradient get through?

        Raises:
            TapeError: where it ended in a tensor that came from nowhere, such as the result of NumPy.
        """
        if self._ends_in and not self._is_connected:
            raise TapeError(
                f"the gradient is lost in the forward of the custom Function of {self._function}: it ends in "
                f"{self._ends_in} that no recorded operation made. Compute it with PyTorch, not with NumPy"
            )
        self._function, self._is_connected, self._ends_in = "", False, ""

    def _enters_function(self, entry: Entry, upstream: tuple[Tensor | None, ...]) -> bool:
        """Whether this entry made the result of a custom Function; its forward is open from now on."""
        for place, (value, gradient) in enumerate(zip(entry.outputs, upstream, strict=True)):
            if value is None or gradient is None:
                continue
            node = value.grad_fn or (value.tensor.grad_fn if value.tensor.requires_grad else None)
            if not isinstance(node, BackwardCFunction):
                continue
            before = entry.old[place] if entry.old else None
            if before is not None and before.grad_fn is node:
                continue  # written under no_grad after the Function had made it
            self._inside_from = min(self._inside_from, self._first_of(entry, node._sequence_nr()))
            self._function = type(node).__name__
            return True
        return False

    @staticmethod
    def _refuse_function_on_views(entry: Entry, upstream: tuple[Tensor | None, ...]) -> None:
        """A write under ``no_grad`` leaves autograd's node alone; if that changed, a Function has written in place."""
        if not entry.old:
            return
        for value, old, gradient in zip(entry.outputs, entry.old, upstream, strict=True):
            if value is None or old is None or gradient is None or value.root_node is None:
                continue
            if value.root_node is not old.root_node:
                raise TapeError(
                    f"a tensor of shape {tuple(value.tensor.shape)} was written by a custom Function in place "
                    f"(ctx.mark_dirty) while views shared its memory (module: {entry.scope.label})"
                )

    def _first_of(self, entry: Entry, number: int) -> int:
        index = entry.index
        while index > 0 and self._entries[index - 1].number >= number:
            index -= 1
        return index


def _past_the_write(entry: Entry, upstream: tuple[Tensor | None, ...]) -> list[tuple[Value, Tensor]]:
    pairs = zip(entry.old, upstream, strict=True)
    return [(old, g) for old, g in pairs if old is not None and g is not None]


def _rule_for(entry: Entry, rules: Mapping[Op, Rule]) -> Rule:
    rule = rules.get(entry.op)
    if rule is None:
        raise MissingRuleError(
            f"no handwritten rule for the operation {entry.op} (module: {entry.scope.label}): "
            "a gradient reaches it, and guessing is not an option. "
            "Add its rule to gradlab/backprop/rules, or keep the operation out of the recorded forward pass."
        )
    return rule


def _downstream(
    entry: Entry, rule: Rule, upstream: tuple[Tensor | None, ...], wanted: list[Value]
) -> list[tuple[Value, Tensor]]:
    """What one operation contributes to each of its inputs."""
    _refuse_changed(entry, rule)
    args = [_content(a) for a in entry.args]
    kwargs = {k: _content(a) for k, a in entry.kwargs.items()} if entry.kwargs else {}
    several = len(entry.outputs) > 1
    y = tuple(v.tensor if v is not None else None for v in entry.outputs) if several else _content(entry.outputs[0])
    g = upstream if several else upstream[0]
    parts = rule.function(y, *args, **kwargs) if rule.is_pointwise else rule.function(g, y, *args, **kwargs)
    downstream: list[tuple[Value, Tensor]] = []
    for place, part in zip(facts(entry.op).tensor_arguments, parts if type(parts) is tuple else (parts,), strict=False):
        argument = entry.argument(*place)
        values = argument if isinstance(argument, list) else [argument]
        if part is None or not any(v in wanted for v in values):
            continue
        part = part() if callable(part) else part
        each = part if isinstance(argument, list) else [part]
        for value, piece in zip(values, each, strict=True):
            if value in wanted and piece is not None:
                downstream.append((value, _fit(_times(g, piece) if rule.is_pointwise else piece, value.tensor)))
    return downstream


def _refuse_changed(entry: Entry, rule: Rule) -> None:
    read = [*entry.values_at(rule.reads), *(entry.outputs if rule.reads_output else ())]
    for value in read:
        if value is not None and value.version is not None and value.tensor._version != value.version:
            raise TapeError(
                f"a tensor of shape {tuple(value.tensor.shape)}, read by {rule.name} in module {entry.scope.label}, "
                "was changed after it was recorded: sweep before the optimizer's step or any other update"
            )


def _content(argument: Any) -> Any:
    if type(argument) is Value:
        return argument.tensor
    if type(argument) is list:
        return [_content(a) for a in argument]
    return argument


def _times(upstream: Any, local: Any) -> Tensor:
    """upstream × local derivative; for complex numbers, PyTorch's convention conjugates the local one."""
    if isinstance(local, Tensor):
        return upstream * (local.conj() if local.is_complex() else local)
    return upstream if local == 1 else upstream * local


def _fit(gradient: Tensor, like: Tensor) -> Tensor:
    """A gradient has the shape and dtype of its value: sum over broadcasting, undo type promotion."""
    gradient = sum_to(gradient, like.shape)
    if gradient.dtype == like.dtype:
        return gradient
    if gradient.is_complex() and not like.is_complex():
        gradient = gradient.real
    return gradient.to(like.dtype)


def _accumulate(gradients: dict[Value, Tensor], value: Value, gradient: Tensor) -> None:
    sofar = gradients.get(value)
    gradients[value] = gradient if sofar is None else sofar + gradient
