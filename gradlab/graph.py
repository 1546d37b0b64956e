"""Autograd's graph, walked and listened to."""

from __future__ import annotations

from typing import Any

from torch import Tensor

Node = Any  # autograd's nodes have no common public type


class GraphWatch:
    """Listens to autograd's backward pass of one loss; hooks are gone once `close` was called.

    The gradients are kept as autograd hands them over. Holding them keeps autograd from reusing their memory for
    its sums, so none is overwritten.

    Attributes:
        nodes: every node that the loss reaches.
        upstream, downstream: for each node that autograd passed, the gradients that came in and went out. A leaf has
            an upstream only.
    """

    def __init__(self, loss: Tensor) -> None:
        self.nodes: list[Node] = _nodes_of(loss)
        self.upstream: dict[Node, tuple[Tensor | None, ...]] = {}
        self.downstream: dict[Node, tuple[Tensor | None, ...]] = {}
        self._handles = [self._listen(node) for node in self.nodes]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def leaf_gradients(self) -> list[tuple[Tensor, Tensor]]:
        """Each leaf tensor with what this backward pass brought to it, before that is added to ``.grad``."""
        arrived = ((n.variable, self.upstream.get(n)) for n in self.nodes if is_leaf(n))
        return [(leaf, g[0]) for leaf, g in arrived if g and g[0] is not None]

    def _listen(self, node: Node) -> Any:
        if is_leaf(node):
            return node.register_prehook(lambda incoming: self.upstream.__setitem__(node, incoming))

        def passed(outgoing: tuple, incoming: tuple) -> None:
            self.upstream[node], self.downstream[node] = incoming, outgoing

        return node.register_hook(passed)


def is_leaf(node: Node) -> bool:
    """Whether a node stands for a leaf tensor, where gradients are accumulated."""
    return hasattr(node, "variable")


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
