"""Autograd's graph, walked and listened to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import get_gradient_edge

Node = Any  # autograd's nodes have no common public type


class GraphWatch:
    """Listens to autograd's backward pass of one loss; hooks are gone once `close` was called.

    The gradients are kept as autograd hands them over. Holding them keeps autograd from reusing their memory for
    its sums, so none is overwritten.

    Args:
        loss: the tensor whose ``backward`` is about to run.
        leaves: tensors to listen to although the loss may not reach them through the graph: what a reentrant checkpoint
            brings to a parameter comes by a backward pass of its own.

    Attributes:
        nodes: every node that the loss reaches.
        operations: those among them that are no leaves.
        upstream, downstream: for each operation that autograd passed, the gradients that came in and went out. (For
            leaves see `leaf_gradients`.)
        written: the custom Functions whose backward changed an upstream gradient in place: whatever else uses that
            gradient gets the changed one.
    """

    def __init__(self, loss: Tensor, leaves: Iterable[Tensor] = ()) -> None:
        edges = edges_of(loss)
        self._leaves = [node for node, targets in edges.items() if not targets and is_leaf(node)]
        self.operations: list[Node] = [node for node, targets in edges.items() if targets or not is_leaf(node)]
        reached = {id(node.variable) for node in self._leaves}
        beside = (leaf for leaf in leaves if id(leaf) not in reached and leaf.requires_grad and leaf.is_leaf)
        self._leaves += [get_gradient_edge(leaf).node for leaf in beside]
        self.nodes: list[Node] = [*self.operations, *self._leaves]
        self.upstream: dict[Node, tuple[Tensor | None, ...]] = {}
        self.downstream: dict[Node, tuple[Tensor | None, ...]] = {}
        self.written: list[Node] = []
        functions = [node for node in self.operations if isinstance(node, BackwardCFunction)]
        self._givers = {} if functions else _only_givers(edges)
        self._handles = [self._await(leaf) for leaf in self._leaves if leaf not in self._givers]
        self._handles += [self._listen(node) for node in self.operations]
        for node in functions:
            self._handles += self._guard(node)

    @property
    def functions(self) -> list[str]:
        """The names of the custom Functions that take part, each once."""
        custom: list[Node] = [node for node in self.operations if isinstance(node, BackwardCFunction)]
        return list(dict.fromkeys(node.name().removesuffix("Backward") for node in custom))

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def leaf_gradients(self) -> list[tuple[Tensor, Tensor]]:
        """Each leaf tensor with what this backward pass brought to it, before that is added to ``.grad``."""
        arrived = [(leaf.variable, self._arrived(leaf)) for leaf in self._leaves]
        return [(leaf, gradient) for leaf, gradient in arrived if gradient is not None]

    def _arrived(self, leaf: Node) -> Tensor | None:
        if leaf not in self._givers:
            return self.upstream.get(leaf, (None,))[0]
        node, place = self._givers[leaf]
        return self.downstream[node][place] if node in self.downstream else None

    def _await(self, leaf: Node) -> Any:
        return leaf.register_prehook(lambda incoming: self._arrive(leaf, incoming))

    def _listen(self, node: Node) -> Any:
        def passed(outgoing: tuple, incoming: tuple) -> None:
            self.upstream[node], self.downstream[node] = incoming, outgoing

        return node.register_hook(passed)

    def _guard(self, node: Node) -> list[Any]:
        """Counts how often the upstream gradients were written to, before and after a user's backward had them."""
        before: list[int] = []

        def arrive(incoming: tuple[Tensor | None, ...]) -> None:
            before[:] = _versions(incoming)

        def passed(outgoing: tuple, incoming: tuple) -> None:
            if before != _versions(incoming):
                self.written.append(node)

        return [node.register_prehook(arrive), node.register_hook(passed)]

    def _arrive(self, node: Node, incoming: tuple[Tensor | None, ...]) -> None:
        """A leaf's gradient arrives, once for each backward pass that runs within this one."""
        sofar = self.upstream.get(node)
        if sofar and sofar[0] is not None and incoming[0] is not None:
            incoming = (sofar[0].detach() + incoming[0].detach(),)
        self.upstream[node] = incoming


def _versions(gradients: tuple[Tensor | None, ...]) -> list[int]:
    return [-1 if g is None else g._version for g in gradients]


def is_leaf(node: Node) -> bool:
    """Whether a node stands for a leaf tensor, where gradients are accumulated."""
    return hasattr(node, "variable")


def edges_of(loss: Tensor) -> dict[Node, tuple[tuple[Node | None, int], ...]]:
    """Every node that the loss reaches, with the nodes that it sends gradients to, and to which of their outputs.

    Found without recursion: a deep graph would exhaust the stack.
    """
    edges: dict[Node, tuple[tuple[Node | None, int], ...]] = {}
    stack = [loss.grad_fn] if loss.grad_fn is not None else []
    while stack:
        node = stack.pop()
        if node not in edges:
            edges[node] = node.next_functions
            stack.extend([target for target, _ in edges[node] if target is not None])
    return edges


def _only_givers(edges: Mapping[Node, tuple[tuple[Node | None, int], ...]]) -> dict[Node, tuple[Node, int]]:
    """For each leaf that gets its gradient as one operation sends it: that one, and which of its downstream ones.

    So it is where nothing else sends to the leaf, and no hook on it may change what arrives.
    """
    givers: dict[Node, tuple[Node, int]] = {}
    several: set[Node] = set()
    for node, targets in edges.items():
        for place, (target, _) in enumerate(targets):
            if target is None or edges[target] or not is_leaf(target):
                continue
            if target in givers or target.variable._backward_hooks:
                several.add(target)
            givers[target] = node, place
    for leaf in several:
        del givers[leaf]
    return givers
