"""What the tape is made of: values (contents) and entries (operations that made them)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from gradlab.backprop.modules import Scope
from gradlab.backprop.ops import facts
from gradlab.backprop.rules.table import Op


class Value:
    """One content of one tensor: made once, never changed.

    Attributes:
        tensor: the content. The user's own tensor object, or a copy once an in-place operation overwrote that.
        entry: the operation that made it, None where it entered the tape from outside or is a constant.
        version: the tensor's version counter when the content was recorded; None until it is known.
        stale: set where the tensor object's storage was written through another view, see `mutation`.
        grad_fn: autograd's node, noted where the value may be the result of a custom Function.
        root_node: autograd's node of the tensor it is a view of, noted beside a write under ``no_grad``.
        since: for a value from outside, how many operations the tape held when it entered.
        lost: why its gradient cannot be followed any further; empty where it can.
    """

    __slots__ = ("entry", "grad_fn", "lost", "root_node", "since", "stale", "tensor", "version")

    def __init__(self, tensor: Tensor, entry: Entry | None = None) -> None:
        self.tensor = tensor
        self.entry = entry
        self.version: int | None = None
        self.stale: Any = None
        self.grad_fn: Any = None
        self.root_node: Any = None
        self.since = 0
        self.lost = ""

    @property
    def is_differentiable(self) -> bool:
        return self.tensor.is_floating_point() or self.tensor.is_complex()


def root(tensor: Tensor) -> Tensor:
    """The tensor of which autograd takes this one for a view, or itself."""
    return tensor if tensor._base is None else tensor._base


def version_of(tensor: Tensor) -> int | None:
    """How often autograd has seen a tensor's content change; a tensor made in inference mode does not count it."""
    return None if tensor.is_inference() else tensor._version


class Entry:
    """One recorded operation.

    Attributes:
        op: the primitive operation; for an in-place one, the operation that computes the same without writing.
        args, kwargs: its arguments, with a `Value` in place of each tensor.
        inputs: those values in order.
        is_open: for each input, whether a gradient passes to it.
        outputs: the values it made (None for an output that is no tensor).
        index: its place on the tape.
        number: autograd's sequence number, by which autograd's own node for it is found.
        grad_mode: whether gradients were enabled when it ran.
        scope: the module it ran in.
        old: for a write, the value before it beside each output: where autograd did not see the write, the gradient
            passes there.
    """

    __slots__ = (
        "args",
        "grad_mode",
        "index",
        "inputs",
        "is_open",
        "kwargs",
        "number",
        "old",
        "op",
        "outputs",
        "scope",
    )

    def __init__(
        self,
        op: Op,
        args: list,
        kwargs: dict,
        inputs: list[Value],
        is_open: list[bool],
        number: int,
        grad_mode: bool,
        scope: Scope,
    ) -> None:
        self.op = op
        self.args = args
        self.kwargs = kwargs
        self.inputs = inputs
        self.is_open = is_open
        self.outputs: tuple[Value | None, ...] = ()
        self.index = -1
        self.number = number
        self.grad_mode = grad_mode
        self.scope = scope
        self.old: tuple[Value | None, ...] = ()

    def argument(self, position: int, name: str) -> Any:
        """The argument at a position of the operation's schema, wherever the caller put it."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)

    def values_at(self, positions: Iterable[int]) -> Iterator[Value]:
        """The values among the arguments at these positions of the schema."""
        for position, name in facts(self.op).tensor_arguments:
            if position in positions:
                argument = self.argument(position, name)
                yield from (v for v in (argument if isinstance(argument, list) else [argument]) if isinstance(v, Value))
