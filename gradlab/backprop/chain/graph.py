"""Who uses which value: the chain rule of one sweep as a graph of operations, or of modules.

A sweep leaves a list of terms, one for each operation. Here they become blocks (operations, later modules) that are
connected by uses of values. Operations that only show the same numbers in another shape (views, transposes, clones)
are no blocks: whoever uses such a view uses the value behind it, and its contribution goes back to that value by the
view's own rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from inspect import Parameter, signature

import torch
from torch import Tensor

from gradlab.backprop.modules import OUTSIDE, Scope
from gradlab.backprop.ops import DETACH
from gradlab.backprop.rules import RULES
from gradlab.backprop.rules import shape as shapes
from gradlab.backprop.rules.table import Rule
from gradlab.backprop.sweep import Term
from gradlab.backprop.values import Entry, Value

# What a folded operation did to the value, by its rule.
FOLDED: dict[Callable, str] = {
    shapes.view: "reshaped",
    shapes.identity: "",
    shapes.to_copy: "",
    shapes.t: "transposed",
    shapes.transpose: "transposed",
    shapes.permute: "permuted",
    shapes.expand: "expanded",
}
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(slots=True, eq=False)
class Use:
    """One use of a value: an edge of the graph.

    Attributes:
        block: who uses it; None where the backward pass was started at the value itself.
        value: the value, behind all that was folded.
        gradient: what this use contributes to the value's gradient; None where no gradient goes that way.
        argument: the value as the operation got it, in front of what was folded.
        symbol: what the operation's formula calls it.
        how: what was folded, from the value to the argument: ``("transposed",)``; and whether it was broadcast.
        place: which argument it is: the argument's number, and the number in it where that is a list.
    """

    block: Block | None
    value: Value
    gradient: Tensor | None
    argument: Value
    symbol: str = ""
    how: tuple[str, ...] = ()
    place: tuple[int, int] = (0, 0)


@dataclass(slots=True, eq=False)
class Block:
    """An operation, or several that were collapsed into a module.

    Attributes:
        terms: its operations, from the loss down.
        scope: the module.
        outputs: the values it makes, each with its upstream gradient.
        uses: the values it uses, in the order of its arguments.
        is_module: whether it stands for a module, be it for a single operation.
    """

    terms: list[Term]
    scope: Scope
    outputs: list[tuple[Value, Tensor | None]]
    uses: list[Use]
    is_module: bool = False

    @property
    def is_single(self) -> bool:
        return len(self.terms) == 1


@dataclass(slots=True, eq=False)
class Graph:
    """The chain rule of one sweep.

    Attributes:
        blocks: operations or modules, from the loss down.
        uses: the uses of each value that contribute to its gradient.
        sums: the path sum of each value: its gradient.
    """

    blocks: list[Block]
    uses: dict[Value, list[Use]]
    sums: dict[Value, Tensor]

    def collapsed(self, key: Callable[[Block], tuple[Scope, Hashable] | None]) -> Graph:
        """The same graph with blocks of one key joined into one, which runs in the key's scope of the first.

        What a joined block contributes to a value is the sum over its operations. Values that nobody outside uses
        are gone; of those used inside and outside, the path sum is over the uses outside.

        Args:
            key: the scope and whatever else tells the groups apart; None for a block that stays by itself.
        """
        groups: dict[Hashable, list[Block]] = defaultdict(list)
        scopes: dict[Hashable, Scope] = {}
        for place, block in enumerate(self.blocks):
            scope, name = key(block) or (OUTSIDE, ("alone", place))
            groups[name].append(block)
            scopes.setdefault(name, scope)
        joined = {name: _joined(blocks, scopes[name]) for name, blocks in groups.items()}
        new = {b: joined[name] for name, blocks in groups.items() for b in blocks}
        makers = {value: new[b] for b in self.blocks for value, _ in b.outputs}
        graph = Graph(list(joined.values()), {}, {})
        for value, uses in self.uses.items():
            outside = [u for u in uses if u.block is None or new[u.block] is not makers.get(value)]
            if outside:
                graph.uses[value] = _summed(outside, new)
                graph.sums[value] = self.sums[value] if len(outside) == len(uses) else _sum(u.gradient for u in outside)
        graph._connect(self, new)
        return graph

    def _connect(self, old: Graph, new: dict[Block, Block]) -> None:
        """Gives each new block its outputs and uses, in the order of the operations."""
        for block in old.blocks:
            owner = new[block]
            for value, upstream in block.outputs:
                if owner.is_single or value in self.sums:
                    owner.outputs.append((value, self.sums.get(value, upstream)))
        gradients = {(u.block, u.value): u for uses in self.uses.values() for u in uses if u.block is not None}
        for block in old.blocks:
            owner = new[block]
            for use in block.uses:
                found = gradients.pop((owner, use.value), None)
                if owner.is_single:
                    owner.uses.append(_moved(use, owner))
                elif found is not None:
                    owner.uses.append(found)
                elif use.value.entry is None and all(u.value is not use.value for u in owner.uses):
                    owner.uses.append(_moved(use, owner))


def graph_of(terms: Iterable[Term]) -> Graph:
    """The graph of a sweep's terms, views and transposes folded."""
    graph = Graph([], defaultdict(list), {})
    passed: dict[Value, list[Tensor]] = defaultdict(list)
    for term in terms:
        if not term.downstream:
            continue
        for value, upstream in _live(term):
            start = _start(upstream, passed[value])
            if start is not None:
                graph.uses[value].append(Use(None, value, start, value))
            graph.sums[value] = upstream
        if is_folded(term):
            _fold(term, graph)
        else:
            _add_block(term, graph)
        for value, gradient in term.downstream:
            passed[value].append(gradient)
    for value in graph.uses:
        if value not in graph.sums:  # it entered from outside
            graph.sums[value] = _sum(passed[value])
    order: dict[Block | None, int] = {block: place for place, block in enumerate(graph.blocks)}
    order[None] = -1
    for uses in graph.uses.values():
        uses.sort(key=lambda use: order[use.block])  # what passed a view came later than its user's turn
    return graph


def is_folded(term: Term) -> bool:
    return term.rule is not None and term.rule.function in FOLDED and len(term.downstream) == 1


# --- from terms to blocks -----------------------------------------------------------------------------------


def _live(term: Term) -> Iterator[tuple[Value, Tensor]]:
    for value, upstream in zip(term.entry.outputs, term.upstream, strict=True):
        if value is not None and upstream is not None:
            yield value, upstream


def _start(upstream: Tensor, passed: list[Tensor]) -> Tensor | None:
    """What backward was started with at a value: the part of its gradient that no operation passed to it."""
    if not passed:
        return upstream
    if len(passed) == 1 and passed[0] is upstream:
        return None
    rest = upstream - _sum(passed)  # summed in the sweep's order: exactly 0 where nothing else came
    return rest if bool(rest.nan_to_num().any()) else None


def _fold(term: Term, graph: Graph) -> None:
    """Whoever used the view uses the value behind it."""
    ((value, passed),) = term.downstream
    (view,) = term.entry.outputs
    assert view is not None
    del graph.sums[view]
    uses = graph.uses.pop(view)
    for use in uses:
        assert use.gradient is not None
        use.gradient = passed if len(uses) == 1 else _back(term, use.gradient, value)
        use.value = value
        use.how = _described(term.entry, value, view, use.how)
    graph.uses[value] += uses


def _back(term: Term, gradient: Tensor, value: Value) -> Tensor:
    """One contribution, passed through a folded operation by its rule."""
    assert term.rule is not None
    args, kwargs = term.entry.arguments()
    (view,) = term.entry.outputs
    back = term.rule.function(gradient, view and view.tensor, *args, **kwargs)
    return back.to(value.tensor.dtype)


def _described(entry: Entry, value: Value, view: Value, how: tuple[str, ...]) -> tuple[str, ...]:
    word = FOLDED.get(RULES[entry.op].function, "") if entry.op in RULES else ""
    if view.tensor.dtype is not value.tensor.dtype:
        word = "as " + str(view.tensor.dtype).removeprefix("torch.")
    return how if word in ("", *how[:1]) else (word, *how)


def _add_block(term: Term, graph: Graph) -> None:
    outputs = [(v, g) for v, g in zip(term.entry.outputs, term.upstream, strict=True) if v is not None]
    block = Block([term], term.entry.scope, outputs, [])
    block.uses += _uses_past_the_write(term, block) if term.rule is None else _uses(term, term.rule, block)
    graph.blocks.append(block)
    for use in block.uses:
        if use.gradient is not None:
            graph.uses[use.value].append(use)


def _uses_past_the_write(term: Term, block: Block) -> Iterator[Use]:
    for value, gradient in term.downstream:
        yield Use(block, value, gradient, value, "x")


def _uses(term: Term, rule: Rule, block: Block) -> Iterator[Use]:
    """The uses of all tensors among the arguments; those that got a gradient come in the order of `downstream`."""
    rest = iter(term.downstream)
    given = next(rest, None)
    made = next(upstream.shape for _, upstream in _live(term))
    for place, value, symbol in _arguments(term.entry, rule):
        gradient = None
        if given is not None and given[0] is value:
            gradient, given = given[1], next(rest, None)
        behind, how = (value, ()) if gradient is not None else _behind(value)
        if rule.is_pointwise and value.tensor.shape != made:
            how += ("broadcast",)
        yield Use(block, behind, gradient, value, symbol, how, place)


def _arguments(entry: Entry, rule: Rule) -> Iterator[tuple[tuple[int, int], Value, str]]:
    for number, (group, (position, name)) in enumerate(zip(entry.grouped(), entry.facts.tensor_arguments, strict=True)):
        symbol = symbol_of(rule, position, name)
        if isinstance(group, Value):
            yield (number, 0), group, symbol
        elif group is not None:
            for at, value in enumerate(group):
                if value is not None:
                    yield (number, at), value, _symbol_in_list(rule, symbol, at)


def _behind(value: Value) -> tuple[Value, tuple[str, ...]]:
    """The value behind the views of an argument that gets no gradient."""
    how: tuple[str, ...] = ()
    while (entry := value.entry) is not None and entry.op in RULES and RULES[entry.op].function in FOLDED:
        how = ("detached", *how) if entry.op is DETACH else _described(entry, entry.inputs[0], value, how)
        value = entry.inputs[0]
    return value, tuple(dict.fromkeys(how)) if value.entry is not None else tuple(h for h in how if h != "detached")


@cache
def parameters_of(rule: Rule) -> list[Parameter]:
    """The parameters of a rule's function that stand for the operation's arguments."""
    return list(signature(rule.function).parameters.values())[1 if rule.is_pointwise else 2 :]


def symbol_of(rule: Rule, position: int, name: str) -> str:
    """What a rule's formula calls an argument: matrices are capital there."""
    named = parameters_of(rule)
    if position < len(named) and named[position].kind is Parameter.POSITIONAL_OR_KEYWORD:
        name = named[position].name
    words = words_of(rule.formula) | words_of(rule.local)
    return name.upper() if len(name) == 1 and name not in words and name.upper() in words else name


def _symbol_in_list(rule: Rule, symbol: str, at: int) -> str:
    letter = next((letter for letter in "xA" if f"{letter}₁" in rule.formula), "")
    return letter + str(at + 1).translate(SUBSCRIPT) if letter else f"{symbol}[{at}]"


@cache
def words_of(text: str) -> frozenset[str]:
    """The words and symbols of a formula."""
    return frozenset("".join(c if c.isalnum() else " " for c in text).split())


def _sum(gradients: Iterable[Tensor | None]) -> Tensor:
    return reduce(torch.add, [g for g in gradients if g is not None])


# --- from operations to modules -----------------------------------------------------------------------------


def _joined(blocks: list[Block], scope: Scope) -> Block:
    return Block([term for block in blocks for term in block.terms], scope, [], [], scope.module is not None)


def _moved(use: Use, owner: Block) -> Use:
    return Use(owner, use.value, use.gradient, use.argument, use.symbol, use.how, use.place)


def _summed(uses: list[Use], new: dict[Block, Block]) -> list[Use]:
    """One use for each block; an operation that stays by itself keeps each of its own."""
    groups: dict[Hashable, list[Use]] = defaultdict(list)
    for use in uses:
        owner = None if use.block is None else new[use.block]
        groups[use if owner is not None and owner.is_single else owner].append(use)
    found = []
    for group in groups.values():
        first = group[0]
        owner = None if first.block is None else new[first.block]
        if len(group) == 1 and owner is not None:
            found.append(_moved(first, owner))
        else:
            found.append(Use(owner, first.value, _sum(u.gradient for u in group), first.value))
    return found
