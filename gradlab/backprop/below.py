"""What PyTorch runs for itself, below what autograd connects with its nodes.

The tape sees these operations like all others, but autograd's graph goes past them by a way of its own: it keeps the
result of an operation as a detached copy, and it writes out what is only *marked* (a conjugate or negative view, and a
zero without memory, as forward-mode differentiation makes them).
"""

from __future__ import annotations

from torch import Tensor

from gradlab.backprop.notes import Note
from gradlab.backprop.ops import CLONE, DETACH, ZEROS_WRITTEN_OUT
from gradlab.backprop.values import Entry, Value, node_of


def saved_result(tensor: Tensor, value: Value) -> Value:
    """The value that autograd kept as a detached copy, and handed back with the node that made it.

    So it does where a backward pass runs within the recording (``create_graph=True``).

    Args:
        tensor: requires a gradient, and ``detach`` made it.
        value: what it holds.
    """
    node = node_of(tensor)
    origin = value
    while node is not None and origin.entry is not None and origin.entry.op is DETACH:
        origin = origin.entry.inputs[0]
        if node_of(origin.users_tensor) is node and origin.users_tensor.output_nr == tensor.output_nr:
            return origin
    return value


def ran_below_autograd(entry: Entry) -> bool:
    """Whether an operation wrote out what was marked: autograd connects its result, which requires no gradient."""
    if not entry.grad_mode or not entry.is_open or not entry.is_open[0]:
        return False
    view = entry.inputs[0].tensor
    return entry.op in ZEROS_WRITTEN_OUT or (entry.op is CLONE and (view.is_conj() or view.is_neg()))


def is_connected_unseen(note: Note) -> bool:
    """Whether one of these two may be the case for an operation that was noted."""
    known, _, _, result, _, _, wanting = note
    if not known.is_autograds:
        return False
    if known.op is DETACH:
        return bool(result.requires_grad and not result.is_leaf)
    return wanting is not None and not result.requires_grad
