"""Memory given back before the sweep: large contents of which the rules need only the shape.

Autograd saves what its formulas need. The tape holds every result; of some of them, such as what goes into a ReLU, no
rule reads the numbers. Before a sweep that uses the tape up they are let go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Op, Rule
from gradlab.backprop.values import PLACED, Entry, node_of

LARGE = 1 << 16  # bytes; for less, looking costs more than it gives
WIDEST = 16  # bytes of one entry, of complex128


def release_unread(entries: Sequence[Entry], rules: Mapping[Op, Rule]) -> None:
    """Replaces large contents that no rule reads by tensors of their shape and dtype that occupy no memory."""
    made = [v for entry in entries for v in entry.outputs if v is not None and v.tensor.numel() >= LARGE // WIDEST]
    unread = {value for value in made if _size(value.tensor) >= LARGE}
    if not unread:
        return
    for entry in entries:
        rule = None if entry.op in PLACED else rules.get(entry.op)  # these look at the place in memory
        unread.difference_update(entry.read_by(rule))
    for value in unread:
        value.grad_fn = value.grad_fn or node_of(value.users_tensor)
        value.tensor = value.holder = value.tensor.new_empty(()).expand(value.tensor.shape)
    for entry in entries:
        if not unread.isdisjoint(entry.inputs):
            entry.args, entry.kwargs = entry.arguments()


def _size(tensor: Tensor) -> int:
    """In bytes; a sparse tensor is kept, since it has no place for the shape alone."""
    return tensor.numel() * tensor.element_size() if tensor.layout is torch.strided else 0
