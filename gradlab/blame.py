"""Which operation is to blame where two backward passes differ.

Going from the loss downwards, it is the first node of autograd's whose upstream gradients agree with the tape's and
whose downstream ones do not.
"""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from gradlab.agreement import Agreement, compare
from gradlab.backprop import Entry, Term, Value
from gradlab.backprop.modules import NO_MODULE
from gradlab.backprop.sweep import Sweep
from gradlab.graph import GraphWatch, Node, is_leaf
from gradlab.hints import WRITTEN, Evidence, hint_for

HOOK = "BackwardHookFunction"  # what a module's full backward hooks run in
# A reentrant checkpoint runs a backward pass of its own, in which the leaves' gradients go past the outer graph.
CHECKPOINT = "CheckpointFunctionBackward"


@dataclass(frozen=True, slots=True)
class Culprit:
    """The operation at which the two backward passes part.

    Attributes:
        node: the name of autograd's node, such as ``TanhBackward0``.
        operations: what the tape recorded for it, such as ``("tanh",)``.
        function: the class name of a custom ``autograd.Function``; empty for an operation of PyTorch's own.
        module: the path of the module it ran in.
        agreement: the comparison of the downstream gradient that differs, with index and both numbers.
        hint: what the pattern of the error suggests; empty where it suggests nothing.
        source: file and line of the custom Function's ``backward``; empty for an operation of PyTorch's own.
        line: file and line that ran the operation, where the tape was asked for lines; else empty.
    """

    node: str
    operations: tuple[str, ...]
    function: str
    module: str
    agreement: Agreement
    hint: str
    source: str = ""
    line: str = ""

    def __str__(self) -> str:
        if self.function == HOOK:
            return f"a backward hook on module {self.module}" + (f", called at {self.line}" if self.line else "")
        operations = ", ".join(self.operations)
        places = "".join(f", {word} {p}" for word, p in (("called at", self.line), ("backward at", self.source)) if p)
        where = "" if self.module == NO_MODULE else f" in module {self.module}"
        if self.function:
            return f"the custom Function {self.function}{where} (its forward: {operations}){places}"
        return f"{operations}{where} (autograd's node: {self.node}){places}"


@dataclass(frozen=True, slots=True)
class Passed:
    """A gradient that a node of autograd's passes down, and the same by hand.

    Attributes:
        agreement: the comparison of the two.
        terms: the operations of that node, from the loss down.
        value: whose gradient it is.
        manual, autograd: the gradient; None where there is none.
        function, source: as in `Culprit`.
    """

    agreement: Agreement
    terms: tuple[Term, ...]
    value: Value
    manual: Tensor | None
    autograd: Tensor | None
    function: str = ""
    source: str = ""


@dataclass(slots=True)
class _Flow:
    """What one node sends to one place.

    Attributes:
        autograd: the sum that autograd sends there; None where it sends nothing.
        manual: the tape's contributions, each with its value.
    """

    autograd: Tensor | None = None
    manual: list[tuple[Value, Tensor]] = field(default_factory=list)

    @property
    def total(self) -> Tensor | None:
        return sum_of(gradient for _, gradient in self.manual)


class Blame:
    """Finds the first node, from the loss downwards, that turns an agreed upstream into a different downstream."""

    def __init__(
        self,
        watch: GraphWatch,
        terms: Sequence[Term],
        label: Callable[[Entry], str],
        through: torch.dtype | None = None,
    ) -> None:
        self.watch = watch
        self.through = through
        self.label = label
        self.nodes = sorted(watch.operations, key=lambda n: n._sequence_nr())
        self._numbers = [n._sequence_nr() for n in self.nodes]
        self.owner_of: dict[Entry, Node | None] = {}
        self.terms_of: dict[Node, list[Term]] = defaultdict(list)
        self._assign(terms)

    def _assign(self, terms: Sequence[Term]) -> None:
        """Gives each operation to a node of autograd's: its own, else the one from which its gradient comes.

        So a write through a view is one node (``CopySlices``), which does the work of the view and of the write.
        """
        above: dict[Value, list[Node | None]] = defaultdict(list)
        for term in terms:
            owner = self._node_of(term.entry)
            if owner is None:
                givers = {id(n): n for v in term.entry.outputs if v is not None for n in above[v]}
                owner = next(iter(givers.values())) if len(givers) == 1 else None
            self.owner_of[term.entry] = owner
            if owner is not None:
                self.terms_of[owner].append(term)
            for value, _ in term.downstream:
                above[value].append(owner)

    def culprit(self) -> Culprit | None:
        for node in self.watch.written:
            if self.terms_of.get(node):
                return self._writer(node)
        suspect = None
        for node in reversed(self.nodes):
            terms = self.terms_of.get(node)
            if not terms or node not in self.watch.upstream:
                continue
            is_given_the_same = self._is_given_the_same(node, terms)
            if is_given_the_same is False or (is_given_the_same is None and suspect is not None):
                continue
            flows = [f for f in self._flows(node, terms).values() if _same_shape(f.total, f.autograd)]
            found = compare({str(i): (f.total, f.autograd) for i, f in enumerate(flows)}, self.through)
            wrong = [a for a in found.values() if not a.ok]
            if wrong:
                suspect = self._accuse(node, terms, flows, max(wrong, key=lambda a: a.error))
                if is_given_the_same:
                    return suspect
        return suspect

    def every(self) -> dict[Entry, Passed]:
        """The worst comparison of each node's downstream gradients, for each of its operations."""
        flows: list[tuple[Node, _Flow]] = []
        for node, terms in self.terms_of.items():
            if node in self.watch.downstream:
                sent = self._flows(node, terms).values()
                flows += [(node, f) for f in sent if f.manual and _same_shape(f.total, f.autograd)]
        found = compare({str(i): (f.total, f.autograd) for i, (_, f) in enumerate(flows)}, self.through)
        worst: dict[Node, Passed] = {}
        for agreement in found.values():
            node, flow = flows[int(agreement.name)]
            if node not in worst or not agreement.error <= worst[node].agreement.error:
                operations = tuple(self.terms_of[node])
                gradients = (flow.manual[0][0], flow.total, flow.autograd)
                worst[node] = Passed(agreement, operations, *gradients, *_custom(node))
        return {term.entry: passed for passed in worst.values() for term in passed.terms}

    def flows_of(self, node: Node) -> dict[Hashable, _Flow]:
        """What a node sends to each place."""
        return self._flows(node, self.terms_of.get(node, []))

    def given_autograds_upstream(
        self, node: Node, change: Callable[[Tensor], Tensor] = lambda g: g
    ) -> dict[Value, Tensor] | None:
        """What the handwritten rules of a node's operations pass down, given autograd's upstream gradients.

        None where the tape does not know the node, or not which of its outputs a gradient belongs to.

        Args:
            node: of autograd's graph.
            change: is done to the upstream gradients before.
        """
        terms = self.terms_of.get(node)
        if not terms or node.name() == CHECKPOINT:
            return None
        incoming = self.watch.upstream[node]
        made = {value for term in terms for value, _ in term.downstream}
        seeds: list[tuple[Value, Tensor]] = []
        for term in terms:
            for place, (value, gradient) in enumerate(zip(term.entry.outputs, term.upstream, strict=True)):
                if value is None or gradient is None or value in made:
                    continue
                number = _output_number(value, node, place, lone=len(terms) == 1)
                arrived = incoming[number] if number is not None and number < len(incoming) else None
                if arrived is None or arrived.shape != gradient.shape:
                    return None
                seeds.append((value, change(arrived.detach())))
        return _swept_again(terms, seeds)

    def _writer(self, node: Node) -> Culprit:
        """A backward that changed what other branches of the graph use too: no later comparison tells anything."""
        terms = self.terms_of[node]
        pairs = self._upstream_pairs(node, terms)
        worst = max(compare(pairs, self.through).values(), key=lambda a: a.error)
        return self._named(node, terms, worst, WRITTEN)

    def _accuse(self, node: Node, terms: list[Term], flows: list[_Flow], worst: Agreement) -> Culprit:
        flow = flows.pop(int(worst.name))
        return self._named(node, terms, worst, hint_for(self._evidence(node, terms, flow, flows)))

    def _named(self, node: Node, terms: list[Term], worst: Agreement, hint: str) -> Culprit:
        function, source = _custom(node)
        return Culprit(
            node=node.name(),
            operations=tuple(dict.fromkeys(t.entry.name for t in terms)),
            function=function,
            module=self.label(terms[0].entry),
            agreement=worst,
            hint=hint,
            source=source,
            line=next((t.entry.line for t in reversed(terms) if t.entry.line), ""),
        )

    def _evidence(self, node: Node, terms: list[Term], flow: _Flow, others: list[_Flow]) -> Evidence:
        return Evidence(
            manual=flow.total,
            autograd=flow.autograd,
            contributions=[gradient for _, gradient in flow.manual],
            upstream=[g for g in self.watch.upstream[node] if g is not None],
            others=[other.total for other in others if other.total is not None],
            replay=_Replay(terms, {value for value, _ in flow.manual}),
        )

    def _node_of(self, entry: Entry) -> Node | None:
        """The node with an operation's number, or the custom Function in whose forward it ran."""
        place = bisect_right(self._numbers, entry.number) - 1
        if place < 0:
            return None
        node = self.nodes[place]
        if self._numbers[place] == entry.number:
            return node
        return node if isinstance(node, BackwardCFunction) and not entry.grad_mode else None

    def _is_given_the_same(self, node: Node, terms: list[Term]) -> bool | None:
        """Whether the upstream gradients agree; None where they cannot be compared."""
        pairs = self._upstream_pairs(node, terms)
        return all(a.ok for a in compare(pairs, self.through).values()) if pairs else None

    def _upstream_pairs(self, node: Node, terms: list[Term]) -> dict[str, tuple[Tensor | None, Tensor | None]]:
        """The handwritten gradient and autograd's at each of a node's outputs."""
        incoming = self.watch.upstream[node]
        pairs = {}
        for term in terms:
            for place, (value, gradient) in enumerate(zip(term.entry.outputs, term.upstream, strict=True)):
                number = _output_number(value, node, place, lone=len(terms) == 1)
                if number is not None and number < len(incoming):
                    pairs[f"{number}"] = (gradient, incoming[number])
        return pairs

    def _flows(self, node: Node, terms: list[Term]) -> dict[Hashable, _Flow]:
        """For each place the gradient goes to from here: the tape's contributions and autograd's."""
        flows: dict[Hashable, _Flow] = defaultdict(_Flow)
        inside = {value for term in terms for value in term.entry.outputs}
        for term in terms:
            for value, gradient in term.downstream:
                key = None if value in inside else self._key(value, node)
                if key is not None and not (type(key) is int and node.name() == CHECKPOINT):
                    flows[key].manual.append((value, gradient))
        for (target, number), arrived in zip(node.next_functions, self.watch.downstream[node], strict=False):
            if target is not None and arrived is not None:
                flow = flows[id(target.variable) if is_leaf(target) else (target, number)]
                flow.autograd = arrived if flow.autograd is None else flow.autograd + arrived
        return flows

    def _key(self, value: Value, node: Node) -> Hashable | None:
        """Where autograd sends the gradient of this value; None for values that stay inside the node."""
        if value.entry is None:
            tensor = value.tensor
            made_by = _made_by(tensor)
            return id(tensor) if made_by is None else (made_by, tensor.output_nr)
        owner = self.owner_of.get(value.entry)
        if owner is node or owner is None:
            return None
        place = value.entry.outputs.index(value)
        number = _output_number(value, owner, place, lone=len(self.terms_of.get(owner, ())) <= 1)
        return (owner, number)


class _Replay:
    """The handwritten backward pass of one node again, with its upstream gradients changed."""

    def __init__(self, terms: list[Term], wanted: set[Value]) -> None:
        self._terms = terms
        self._wanted = wanted

    def __call__(self, change: Callable[[Tensor], Tensor]) -> Tensor | None:
        made = {value for term in self._terms for value, _ in term.downstream}
        seeds = [
            (value, change(gradient))
            for term in self._terms
            for value, gradient in zip(term.entry.outputs, term.upstream, strict=True)
            if value is not None and gradient is not None and value not in made
        ]
        found = _swept_again(self._terms, seeds)
        return None if found is None else sum_of(g for value, g in found.items() if value in self._wanted)


def _swept_again(terms: list[Term], seeds: list[tuple[Value, Tensor]]) -> dict[Value, Tensor] | None:
    """The handwritten backward pass of a few operations again; None where one has no rule: an unseen write."""
    rules = {term.entry.op: term.rule for term in terms if term.rule is not None}
    if len(rules) < len({term.entry.op for term in terms}):
        return None
    entries = [term.entry for term in reversed(terms)]
    with torch.no_grad():
        found = Sweep(entries, rules, everything=True).run(seeds)
    return {value: gradient for value, gradient in found.items() if isinstance(gradient, Tensor)}


def sum_of(gradients: Iterable[Tensor]) -> Tensor | None:
    """The sum; None of none."""
    total = None
    for gradient in gradients:
        total = gradient if total is None else total + gradient
    return total


def _custom(node: Node) -> tuple[str, str]:
    """The class name of a custom Function, and where its ``backward`` stands; both empty for any other operation."""
    name: str = node.name()
    return (name.removesuffix("Backward"), source_of(node)) if isinstance(node, BackwardCFunction) else ("", "")


def source_of(node: Node) -> str:
    """File and line of a custom Function's ``backward``; empty where Python has no source for it."""
    function = getattr(type(node), "_forward_cls", None)
    try:
        code = inspect.unwrap(function.backward).__code__  # type: ignore[union-attr]
    except AttributeError:
        return ""
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def _output_number(value: Value | None, node: Node, place: int, lone: bool) -> int | None:
    """Which of a node's outputs a value is; None where it is none of them."""
    if value is None:
        return None
    if value.tensor.requires_grad and _made_by(value.tensor) is node:
        return value.tensor.output_nr
    # A write gives its base a new value, the only output of its node; the tensor may have been written since.
    is_written = value.entry is not None and value.entry.op is torch.ops.aten.as_strided_scatter.default
    return 0 if is_written else place if lone else None


def _made_by(tensor: Tensor) -> Node | None:
    """The node that made a tensor; None of a view from inside a Function's forward whose base was written to since."""
    try:
        return tensor.grad_fn
    except RuntimeError:
        return None


def _same_shape(a: Tensor | None, b: Tensor | None) -> bool:
    return a is None or b is None or a.shape == b.shape
