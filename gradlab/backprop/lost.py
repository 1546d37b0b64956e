"""Why a gradient cannot be followed past a tensor that entered the recording, although autograd follows it.

The tape sees what one thread runs through PyTorch's dispatcher. What another thread makes meanwhile, or a kernel of
somebody's own, is new to it. Such a tensor must not be taken for one that was made before the recording: the gradient
would end there in silence. This is the only place of `backprop` that looks into autograd's graph, and only to refuse.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

Node = Any  # autograd's nodes have no common public type


class Lost:
    """Tells what was made before a recording from what was made during it.

    Args:
        first_number: autograd's sequence number when the recording began, in the thread that records. Every node that
            this thread made since has that one or a higher one.
    """

    def __init__(self, first_number: int) -> None:
        self._first = first_number
        self._earlier: set[Node] = set()

    def why(self, tensor: Tensor, elsewhere: str) -> str:
        """Why the gradient of a tensor that is new to the tape cannot be followed; empty where it can.

        Args:
            tensor: the tensor.
            elsewhere: a module that is known to have run in another thread; empty for none.
        """
        # Of a view whose base was written, autograd makes the node anew when somebody asks: the base tells its age.
        node = (tensor if tensor._base is None else tensor._base).grad_fn
        if node is None:
            return ""
        if elsewhere:
            return f"the module {elsewhere} ran in another thread, where the tape does not see it"
        if node._sequence_nr() >= self._first:
            return f"autograd made it during the recording ({node.name()}), by a way that the tape does not see"
        if self._comes_after_the_beginning(node):
            return (
                f"it was made of what the tape recorded ({node.name()}), in another thread or by another way that the "
                "tape does not see"
            )
        return ""

    def _comes_after_the_beginning(self, node: Node) -> bool:
        """Whether autograd's graph leads from a node to one that the recording thread made since."""
        seen: set[Node] = set()
        stack = [node]
        while stack:
            each = stack.pop()
            if each in seen or each in self._earlier or hasattr(each, "variable"):
                continue
            if each._sequence_nr() >= self._first:
                return True
            seen.add(each)
            stack.extend([target for target, _ in each.next_functions if target is not None])
        self._earlier |= seen
        return False
