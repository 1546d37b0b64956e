"""Two backward passes side by side, node by node: the only reader of autograd's graph.

Autograd numbers the nodes of its graph as it makes them, and the tape wrote the same number beside each operation.
`GraphWatch` listens to every node during ``loss.backward()``: what came in from above, what went out below.
`reconcile` compares the gradients of the parameters; where they differ, it goes from the loss downwards and names the
first node whose upstream gradients agree with the tape's and whose downstream ones do not: the culprit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from gradlab.agreement import Agreement, compare
from gradlab.backprop import Entry, Gradients, Term, Value

Node = Any  # autograd's nodes have no common public type


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
    """

    node: str
    operations: tuple[str, ...]
    function: str
    module: str
    agreement: Agreement
    hint: str

    def __str__(self) -> str:
        operations = ", ".join(self.operations)
        if self.function:
            return f"the custom Function {self.function} in module {self.module} (its forward: {operations})"
        return f"{operations} in module {self.module} (autograd's node: {self.node})"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Manual against autograd for one backward pass.

    Attributes:
        agreements: one comparison for each parameter.
        culprit: the operation to blame; None where all agree, or where no single operation explains the difference.
        note: said instead of a culprit.
    """

    agreements: dict[str, Agreement]
    culprit: Culprit | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        return all(a.ok for a in self.agreements.values())

    @property
    def worst(self) -> Agreement | None:
        return max(self.agreements.values(), key=lambda a: a.error, default=None)


class GraphWatch:
    """Listens to autograd's backward pass of one loss; hooks are gone once `close` was called.

    The gradients are kept as autograd hands them over. Holding them keeps autograd from reusing their memory for
    its sums, so none is overwritten.
    """

    def __init__(self, loss: Tensor) -> None:
        self.nodes: list[Node] = _nodes_of(loss)
        self.upstream: dict[Node, tuple[Tensor | None, ...]] = {}
        self.downstream: dict[Node, tuple[Tensor | None, ...]] = {}
        self._handles = [h for node in self.nodes for h in self._listen(node)]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def leaf_gradients(self) -> dict[int, Tensor]:
        """What this backward pass brought to each leaf tensor, by its id: before it is added to ``.grad``."""
        arrived = ((n, self.upstream.get(n)) for n in self.nodes if _is_leaf(n))
        return {id(n.variable): g[0] for n, g in arrived if g and g[0] is not None}

    def _listen(self, node: Node) -> list[Any]:
        if _is_leaf(node):
            return [node.register_prehook(lambda incoming: self.upstream.__setitem__(node, incoming))]

        def passed(outgoing: tuple, incoming: tuple) -> None:
            self.upstream[node], self.downstream[node] = incoming, outgoing

        return [node.register_hook(passed)]


def reconcile(
    watch: GraphWatch,
    gradients: Gradients,
    terms: list[Term],
    parameters: Mapping[str, Tensor],
    label: Callable[[Entry], str] = lambda entry: entry.scope.label,
) -> Reconciliation:
    """Compares the sweep with autograd's backward pass of the same forward pass.

    Args:
        watch: listened to autograd's backward pass.
        gradients, terms: the result of the sweep.
        parameters: the tensors to compare, by name.
        label: the module path to print for a recorded operation.

    Returns:
        The comparison for every parameter, and the culprit where they do not all agree.
    """
    arrived = watch.leaf_gradients()
    agreements = compare({name: (gradients.get(p), arrived.get(id(p))) for name, p in parameters.items()})
    if all(a.ok for a in agreements.values()):
        return Reconciliation(agreements)
    culprit = _Blame(watch, terms, label).culprit()
    note = (
        ""
        if culprit
        else (
            "every operation agrees by itself: the gradient was changed on its way between two of them, "
            "by a hook on a tensor or by an operation that the tape did not see"
        )
    )
    return Reconciliation(agreements, culprit, note)


class _Blame:
    """Finds the first node, from the loss downwards, that turns an agreed upstream into a different downstream."""

    def __init__(self, watch: GraphWatch, terms: list[Term], label: Callable[[Entry], str]) -> None:
        self.watch = watch
        self.label = label
        self.nodes = sorted((n for n in watch.nodes if not _is_leaf(n)), key=lambda n: n._sequence_nr())
        self._numbers = [n._sequence_nr() for n in self.nodes]
        self.terms_of: dict[Node, list[Term]] = defaultdict(list)
        for term in terms:
            owner = self._owner(term.entry)
            if owner is not None:
                self.terms_of[owner].append(term)

    def culprit(self) -> Culprit | None:
        for node in reversed(self.nodes):
            terms = self.terms_of.get(node)
            if not terms or node not in self.watch.upstream:
                continue
            if not all(a.ok for a in compare(self._upstream_pairs(node, terms)).values()):
                continue
            pairs = self._downstream_pairs(node, terms)
            wrong = [a for a in compare({str(i): p for i, p in enumerate(pairs.values())}).values() if not a.ok]
            if wrong:
                worst = max(wrong, key=lambda a: a.error)
                manual, autograd = list(pairs.values())[int(worst.name)]
                name: str = node.name()
                return Culprit(
                    node=name,
                    operations=tuple(dict.fromkeys(t.entry.name for t in terms)),
                    function=name.removesuffix("Backward") if isinstance(node, BackwardCFunction) else "",
                    module=self.label(terms[0].entry),
                    agreement=worst,
                    hint=hint_for(manual, autograd),
                )
        return None

    def _owner(self, entry: Entry) -> Node | None:
        """The node of an operation: the one with its number, or the Function in whose forward it ran."""
        place = bisect_right(self._numbers, entry.number) - 1
        if place < 0:
            return None
        node = self.nodes[place]
        exact = self._numbers[place] == entry.number
        return node if exact or isinstance(node, BackwardCFunction) else None

    def _upstream_pairs(self, node: Node, terms: list[Term]) -> dict[str, tuple[Tensor | None, Tensor | None]]:
        incoming = self.watch.upstream[node]
        pairs = {}
        for term in terms:
            for place, (value, gradient) in enumerate(zip(term.entry.outputs, term.upstream, strict=True)):
                number = _output_number(value, node, place, lone=len(terms) == 1)
                if number is not None and number < len(incoming):
                    pairs[f"{number}"] = (gradient, incoming[number])
        return pairs

    def _downstream_pairs(self, node: Node, terms: list[Term]) -> dict[Hashable, tuple]:
        """For each place the gradient goes to from here: the tape's contribution and autograd's."""
        manual: dict[Hashable, Tensor] = {}
        for term in terms:
            for value, gradient in term.downstream:
                key = self._key(value, node)
                if key is not None:
                    manual[key] = manual[key] + gradient if key in manual else gradient
        autograd: dict[Hashable, Tensor] = {}
        for (target, number), arrived in zip(node.next_functions, self.watch.downstream[node], strict=False):
            if target is not None and arrived is not None:
                key = id(target.variable) if _is_leaf(target) else (target, number)
                autograd[key] = autograd[key] + arrived if key in autograd else arrived
        keys = dict.fromkeys([*manual, *autograd])
        return {k: (manual.get(k), autograd.get(k)) for k in keys if _same_shape(manual.get(k), autograd.get(k))}

    def _key(self, value: Value, node: Node) -> Hashable | None:
        """Where autograd sends the gradient of this value; None for values that stay inside the node."""
        if value.entry is None:
            tensor = value.tensor
            return id(tensor) if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)
        owner = self._owner(value.entry)
        if owner is node or owner is None:
            return None
        place = value.entry.outputs.index(value)
        number = _output_number(value, owner, place, lone=len(self.terms_of.get(owner, ())) <= 1)
        return (owner, number)


def _output_number(value: Value | None, node: Node, place: int, lone: bool) -> int | None:
    """Which of a node's outputs a value is; None where it is none of them."""
    if value is None:
        return None
    if value.tensor.requires_grad and value.tensor.grad_fn is node:
        return value.tensor.output_nr
    return place if lone else None


def hint_for(manual: Tensor | None, autograd: Tensor | None) -> str:
    """What the pattern of a difference suggests.

    Example:
        >>> import torch
        >>> hint_for(torch.tensor([1.0, -2.0]), torch.tensor([-1.0, 2.0]))
        'autograd has the opposite sign'
    """
    if manual is None:
        return "the tape says that nothing flows here, autograd says something does"
    if autograd is None:
        return "autograd says that nothing flows here (None), the tape says something does"
    ratio = (autograd.double() / manual.double())[manual != 0]
    if not ratio.numel() or not torch.isfinite(ratio).all():
        return ""
    middle = float(ratio.median())
    if float((ratio - middle).abs().max()) > 1e-3 * abs(middle):
        return ""
    if abs(middle + 1) < 1e-3:
        return "autograd has the opposite sign"
    return f"autograd's gradient is {middle:.6g} × the handwritten one, in every entry"


def _same_shape(a: Tensor | None, b: Tensor | None) -> bool:
    return a is None or b is None or a.shape == b.shape


def _nodes_of(loss: Tensor) -> list[Node]:
    """Every node that the loss reaches, found without recursion: a deep graph would exhaust the stack."""
    seen: dict[Node, None] = {}
    stack = [loss.grad_fn] if loss.grad_fn is not None else []
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack.extend(n for n, _ in node.next_functions if n is not None)
    return list(seen)


def _is_leaf(node: Node) -> bool:
    return hasattr(node, "variable")
