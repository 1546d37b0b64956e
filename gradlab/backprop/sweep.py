"""The reverse sweep: the chain rule, applied to a tape from its end to its beginning.

For each operation, from the last to the first:

    upstream gradient  ×  local derivative  =  downstream gradient

and a value that was used several times gets the sum over its uses (the path sum). Because the tape runs backwards,
every use of a value has been passed before the operation that made it, so the sum is complete when it is needed.

The sweep uses plain tensor operations with grad mode off: no autograd, no ``torch.func``, no backward kernel.
Where a gradient stops is decided in `stops`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gradlab.backprop.errors import MissingRuleError, TapeError
from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Op, Rule
from gradlab.backprop.stops import Stops
from gradlab.backprop.values import Entry, Group, Value


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
    let_go: bool = False,
) -> dict[Value, Tensor]:
    """Passes gradients back through recorded operations.

    Args:
        entries: the tape; the sweep takes entries off its end, so that memory is given back as it passes.
        seeds: the values to start from, each with its upstream gradient.
        rules: the table of handwritten rules.
        everything: whether the tape was entered with gradients disabled, to differentiate all that it saw.
        terms: where given, receives one `Term` for each operation that a gradient passed.
        let_go: whether entries may be taken apart once they were passed.

    Returns:
        The gradients that were left over: of the values that no entry made.

    Raises:
        MissingRuleError: names the operation and the module.
        TapeError: where a value that a rule reads was changed after it was recorded, or cannot be followed.
    """
    gradients: dict[Value, Tensor] = {}
    for value, gradient in seeds:
        _accumulate(gradients, value, gradient)
    stops = Stops(entries, everything)
    while entries:
        entry = entries.pop()
        upstream = tuple([gradients.pop(v, None) for v in entry.outputs])  # type: ignore[arg-type]
        if any([g is not None for g in upstream]):
            term = _pass_back(entry, upstream, gradients, stops, rules)
            if terms is not None and term is not None:
                terms.append(term)
        if let_go:
            entry.outputs = ()  # it and its outputs hold each other: free them now, not at some garbage collection
    stops.leave_function()
    for value in gradients:
        if value.lost:
            raise TapeError(f"the gradient of a tensor of shape {tuple(value.tensor.shape)} is lost: {value.lost}")
    return gradients


def _pass_back(
    entry: Entry,
    upstream: tuple[Tensor | None, ...],
    gradients: dict[Value, Tensor],
    stops: Stops,
    rules: Mapping[Op, Rule],
) -> Term | None:
    """Passes the gradient of one operation's outputs on to its inputs; None where it ends here."""
    wanted = stops.open_inputs(entry, upstream)
    if wanted is None:
        rule, downstream = None, _past_the_write(entry, upstream)
    elif wanted:
        rule = _rule_for(entry, rules)
        downstream = _downstream(entry, rule, upstream, wanted)
    else:
        gradients.update((v, g) for v, g in zip(entry.outputs, upstream, strict=True) if v and g is not None)
        return None
    for value, gradient in downstream:
        _accumulate(gradients, value, gradient)
    return Term(entry, rule, upstream, downstream)


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
    groups = entry.grouped()
    _refuse_changes(entry, rule, groups)
    args, kwargs = entry.arguments()
    outputs = entry.outputs
    if len(outputs) > 1:
        g: Any = upstream
        y: Any = tuple([v and v.tensor for v in outputs])
    else:
        g = upstream[0]
        y = outputs[0] and outputs[0].tensor
    parts = rule.function(y, *args, **kwargs) if rule.is_pointwise else rule.function(g, y, *args, **kwargs)
    downstream: list[tuple[Value, Tensor]] = []
    for group, part in zip(groups, parts if type(parts) is tuple else (parts,), strict=False):
        if part is None or group is None:
            continue
        if type(group) is not Value:
            pieces = _pieces(group, part, wanted)
        elif group in wanted:
            pieces = [(group, part() if callable(part) else part)]
        else:
            continue
        for value, piece in pieces:
            if piece is not None:
                gradient = _times(g, piece) if rule.is_pointwise else piece
                downstream.append((value, _fit(gradient, value.tensor)))
    return downstream


def _pieces(group: list[Value | None], part: Any, wanted: list[Value]) -> list[tuple[Value, Any]]:
    """For an argument that is a list of tensors: each wanted value with its piece of the rule's answer."""
    if not any(value in wanted for value in group):
        return []
    pieces = part() if callable(part) else part
    return [(value, piece) for value, piece in zip(group, pieces, strict=True) if value in wanted]


def _refuse_changes(entry: Entry, rule: Rule, groups: Sequence[Group]) -> None:
    """An error where a content that the rule reads is not the one that was recorded."""
    place_of = entry.facts.groups
    for position in rule.reads:
        group = groups[place_of[position]] if position in place_of else None
        for value in (group,) if type(group) is Value else group or ():
            if value is not None and value.version is not None and value.tensor._version != value.version:
                raise _changed(value, entry, rule)
    for value in entry.outputs if rule.reads_output else ():
        if value is not None and value.version is not None and value.tensor._version != value.version:
            raise _changed(value, entry, rule)


def _changed(value: Value, entry: Entry, rule: Rule) -> TapeError:
    return TapeError(
        f"a tensor of shape {tuple(value.tensor.shape)}, read by {rule.name} in module {entry.scope.label}, "
        "was changed after it was recorded: sweep before the optimizer's step or any other update"
    )


def _times(upstream: Any, local: Any) -> Tensor:
    """upstream × local derivative; for complex numbers, PyTorch's convention conjugates the local one."""
    if isinstance(local, Tensor):
        return upstream * (local.conj() if local.is_complex() else local)
    return upstream if local == 1 else upstream * local


def _fit(gradient: Tensor, like: Tensor) -> Tensor:
    """A gradient has the shape and dtype of its value: sum over broadcasting, undo type promotion."""
    if gradient.shape != like.shape:
        gradient = sum_to(gradient, like.shape)
    if gradient.dtype is like.dtype:
        return gradient
    if gradient.is_complex() and not like.is_complex():
        gradient = gradient.real
    return gradient.to(like.dtype)


def _accumulate(gradients: dict[Value, Tensor], value: Value, gradient: Tensor) -> None:
    sofar = gradients.get(value)
    gradients[value] = gradient if sofar is None else sofar + gradient
