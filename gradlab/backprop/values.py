"""What the tape is made of: values (contents) and entries (operations that made them)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Union

import torch
from torch import Tensor

from gradlab.backprop.modules import Scope
from gradlab.backprop.ops import OpFacts
from gradlab.backprop.rules.table import Op, Rule

if TYPE_CHECKING:
    from gradlab.backprop.memory import Family

NO_NODE = -1
# Operations whose rules look at the place of a tensor in memory.
PLACED = (torch.ops.aten.as_strided.default, torch.ops.aten.as_strided_scatter.default)
DIFFERENTIABLE = frozenset(
    dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)
)
Group = Union["Value", "list[Value | None]", None]


class Value:
    """One content of one tensor: made once, never changed.

    Attributes:
        tensor: the content. The user's own tensor object, or a copy once an in-place operation overwrote that.
        entry: the operation that made it, None where it entered the tape from outside or is a constant.
        version: the tensor's version counter when the content was recorded; None until it is known.
        holder: the user's tensor object, where ``tensor`` is a copy.
        family: the views that it belongs to, known once its memory was written, see `mutation`.
        since_write: how many writes its memory had seen when it was recorded.
        grad_fn: autograd's node, noted where the value may be the result of a custom Function.
        since: for a value from outside, how many operations the tape held when it entered.
        lost: why its gradient cannot be followed any further; empty where it can.
    """

    __slots__ = (
        "tensor", "entry", "version", "holder", "family", "since_write", "grad_fn", "since", "lost",
    )  # fmt: skip

    def __init__(self, tensor: Tensor, entry: Entry | None = None) -> None:
        self.tensor = tensor
        self.entry = entry
        self.version: int | None = None
        self.holder: Tensor | None = None
        self.family: Family | None = None
        self.since_write = 0
        self.grad_fn: Any = None
        self.since = 0
        self.lost = ""

    @property
    def users_tensor(self) -> Tensor:
        """The tensor object that held the content when it was recorded."""
        return self.tensor if self.holder is None else self.holder

    @property
    def is_differentiable(self) -> bool:
        return self.tensor.dtype in DIFFERENTIABLE


def node_of(tensor: Tensor) -> Any:
    """Autograd's node for a tensor; None where it has none, or forbids to ask (a view made under ``no_grad``)."""
    try:
        return tensor.grad_fn if tensor.requires_grad else None
    except RuntimeError:
        return None


def is_leaf(tensor: Tensor) -> bool:
    """Whether autograd would put a gradient into its ``.grad``."""
    return tensor.is_leaf and tensor.requires_grad


def version_of(tensor: Tensor) -> int | None:
    """How often autograd has seen a tensor's content change; a tensor made in inference mode does not count it."""
    try:
        return tensor._version
    except RuntimeError:
        return None


def versions_of(tensors: Collection[Tensor]) -> list[int | None]:
    """`version_of` each of several tensors."""
    try:
        return [tensor._version for tensor in tensors]
    except RuntimeError:
        return [version_of(tensor) for tensor in tensors]


def have_changed(recorded: Iterable[Value]) -> bool:
    """Whether the tensor of any value was written since its version was noted."""
    return any([v.version is not None and v.tensor._version != v.version for v in recorded])  # noqa: C419 (faster)


def note_versions(recorded: Iterable[Value]) -> None:
    """Notes the version of each value that has none yet."""
    unnoted = [value for value in recorded if value.version is None]
    for value, version in zip(unnoted, versions_of([v.tensor for v in unnoted]), strict=True):
        value.version = version


class Entry:
    """One recorded operation.

    Attributes:
        facts: what is known of the primitive operation; for an in-place one, of that which computes the same
            without writing.
        args, kwargs: its arguments as it got them; `arguments` gives them with their contents of then.
        inputs: the values of the tensors among them, in order.
        is_open: for each input, whether a gradient passes to it; empty on a tape that differentiates everything.
        outputs: the values it made (None for an output that is no tensor).
        index: its place on the tape.
        number: autograd's sequence number, by which autograd's own node for it is found; `NO_NODE` for what only
            the tape does.
        grad_mode: whether gradients were enabled when it ran.
        scope: the module it ran in.
        old: for a write, the value before it beside each output: where autograd did not see the write, the gradient
            passes there.
        line: file and line of the user's code that ran it, where the tape was asked for lines; else empty.
    """

    __slots__ = (
        "facts", "args", "kwargs", "inputs", "is_open", "outputs", "index", "number", "grad_mode", "scope", "old",
        "line",
    )  # fmt: skip

    def __init__(
        self,
        facts: OpFacts,
        args: Sequence,
        kwargs: dict[str, Any],
        inputs: list[Value],
        is_open: list[bool],
        number: int,
        grad_mode: bool,
        scope: Scope,
    ) -> None:
        self.facts = facts
        self.args = args
        self.kwargs = kwargs
        self.inputs = inputs
        self.is_open = is_open
        self.number = number
        self.grad_mode = grad_mode
        self.scope = scope
        self.outputs: tuple[Value | None, ...] = ()
        self.index = -1
        self.old: tuple[Value | None, ...] = ()
        self.line = ""

    @property
    def op(self) -> Op:
        return self.facts.op

    @property
    def name(self) -> str:
        """The operation's own name, without namespace and overload: ``mul``."""
        return self.op._schema.name.partition("::")[2]

    def arguments(self) -> tuple[Sequence, dict[str, Any]]:
        """Its positional and named arguments, each tensor with the content that it had when the operation ran."""
        for value in self.inputs:
            if value.holder is not None:
                break
        else:
            return self.args, self.kwargs
        args, kwargs = list(self.args), dict(self.kwargs)
        for (position, name), group in zip(self.facts.tensor_arguments, self.grouped(), strict=True):
            if group is None:
                continue
            content = group.tensor if isinstance(group, Value) else [v and v.tensor for v in group]
            if position < len(args):
                args[position] = content
            else:
                kwargs[name] = content
        return args, kwargs

    def grouped(self) -> Sequence[Group]:
        """The inputs, one for each argument of the schema that may hold tensors (`OpFacts.tensor_arguments`).

        None stands where no tensor was given, a list where the argument is a list of tensors.
        """
        places = self.facts.tensor_arguments
        if self.facts.has_lists or len(self.inputs) != len(places):
            inputs = iter(self.inputs)
            return [_group(self.argument(position, name), inputs) for position, name in places]
        return self.inputs

    def argument(self, position: int, name: str) -> Any:
        """The argument at a position of the operation's schema, wherever the caller put it."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)

    def inputs_read_by(self, rule: Rule | None) -> list[Value]:
        """The inputs whose contents a rule looks at; all where there is no rule to say so."""
        return self.inputs if rule is None else self.values_at(rule.reads)

    def read_by(self, rule: Rule | None) -> list[Value]:
        """The inputs and outputs whose contents a rule looks at."""
        read = self.inputs_read_by(rule)
        if rule is None or rule.reads_output:
            return [*read, *(value for value in self.outputs if value is not None)]
        return read

    def values_at(self, positions: Collection[int]) -> list[Value]:
        """The values among the arguments at these positions of the schema."""
        if not positions:
            return []
        groups, place_of = self.grouped(), self.facts.place_of
        found: list[Value] = []
        for position in positions:
            group = groups[place_of[position]] if position in place_of else None
            if isinstance(group, list):
                found += [value for value in group if value is not None]
            elif group is not None:
                found.append(group)
        return found


def _group(argument: Any, inputs: Iterator[Value]) -> Group:
    if isinstance(argument, Tensor):
        return next(inputs)
    if isinstance(argument, (list, tuple)):
        return [next(inputs) if isinstance(a, Tensor) else None for a in argument]
    return None
