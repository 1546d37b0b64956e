"""Where a gradient stops, decided as autograd decides it.

An operation recorded with gradients enabled passes them to the inputs that required one. An operation recorded with
gradients disabled passes them only inside the forward of a custom ``autograd.Function``: from the first entry whose
number is at least the node's, to the entry that made its output. Values made inside are free; values from outside
need ``requires_grad``.

Where autograd did not see a write (`Entry.old`), the gradient passes by it to the value before; inside a Function's
forward the write is a real one.
"""

from __future__ import annotations

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from gradlab.backprop.errors import TapeError
from gradlab.backprop.ops import ALIAS, DETACH
from gradlab.backprop.values import DIFFERENTIABLE, NO_NODE, Entry, Value, node_of

WRITTEN_VIEW = (
    "a tensor of shape {} was written by a custom Function in place (ctx.mark_dirty) while views shared its memory "
    "(module: {}): let the Function return a new tensor"
)


class Stops:
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
        if entry.facts.is_shape_only:
            return []
        if self._everything:
            return [value for value in entry.inputs if value.tensor.dtype in DIFFERENTIABLE]
        if entry.index < self._inside_from:
            self.leave_function()
        if entry.index >= self._inside_from or self._enters_function(entry, upstream):
            return self._open_inside(entry)
        if entry.old:
            return None
        if not entry.grad_mode or entry.op is DETACH:
            return []
        return [v for v, is_open in zip(entry.inputs, entry.is_open, strict=True) if is_open]

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
            node = value.grad_fn or node_of(value.users_tensor)
            before = entry.old[place] if entry.old else None
            same = entry.inputs[0] if entry.op is ALIAS and entry.number == NO_NODE else before
            if node is None or (same is not None and same.grad_fn is node):
                continue  # written under no_grad after its node had made it, itself or what shares its memory
            if not isinstance(node, BackwardCFunction):
                if before is not None:
                    raise TapeError(WRITTEN_VIEW.format(tuple(value.tensor.shape), entry.scope.label))
                continue
            if NO_NODE < entry.number < node._sequence_nr():
                continue  # older than the Function, which wrote to it or returned it
            self._inside_from = min(self._inside_from, self._first_of(entry, node._sequence_nr()))
            self._function = type(node).__name__
            return True
        return False

    def _first_of(self, entry: Entry, number: int) -> int:
        index = entry.index
        first = index
        while index > 0 and (self._entries[index - 1].number >= number or self._entries[index - 1].number == NO_NODE):
            index -= 1
            first = first if self._entries[index].number == NO_NODE else index
        return first
