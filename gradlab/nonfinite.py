"""Where a NaN or an infinity was born: the first operation that made one out of finite numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from gradlab.backprop import Entry, Tape, Term


class NonFiniteError(RuntimeError):
    """A loss, or a gradient that the optimizer would use, is NaN or infinite."""


def explain_loss(forward: Callable[[], Tensor]) -> str:
    """Runs a forward pass again on a tape and says which operation first made a non-finite number.

    Args:
        forward: computes the loss from the parameters and the batch as they are now.

    Example:
        >>> import torch
        >>> x = torch.tensor([0.0, 1.0], requires_grad=True)
        >>> explain_loss(lambda: (x.log() * 0).sum())
        'first made by log in (no module): 1 of 2 entries; its input: min 0, max 1'
    """
    with torch.enable_grad(), Tape() as tape:
        forward()
    for entry in tape.entries:
        for value in entry.outputs:
            if value is not None and not _is_finite(value.tensor) and all(_is_finite(t) for t in _inputs(entry)):
                return f"first made by {_describe(entry, value.tensor)}; {_statistics(entry)}"
    return "an input or a parameter is already non-finite"


def explain_gradient(forward: Callable[[], Tensor]) -> str:
    """Sweeps a forward pass back on a tape and says which operation first passed on a non-finite gradient."""
    terms: list[Term] = []
    with torch.enable_grad(), Tape() as tape:
        loss = forward()
    tape.backward(loss, terms=terms)
    for term in terms:
        if all(_is_finite(g) for g in term.upstream if g is not None):
            for _, gradient in term.downstream:
                if not _is_finite(gradient):
                    return f"first passed on by {_describe(term.entry, gradient)}; {_statistics(term.entry)}"
    return "the handwritten sweep finds only finite gradients: something after it made this one"


def non_finite_gradients(module: nn.Module) -> list[str]:
    """The parameters whose ``.grad`` holds a NaN or an infinity; one transfer from the device for all."""
    present = {name: p.grad for name, p in module.named_parameters() if p.grad is not None and p.grad.numel()}
    dense = [g.coalesce().values() if g.layout == torch.sparse_coo else g for g in present.values()]
    if not dense:
        return []
    # The largest magnitude is NaN or infinite where an entry is, and takes a tenth of the time of isfinite().all().
    largest = [torch.linalg.vector_norm(g, float("inf")).double() for g in dense]
    finite = torch.isfinite(torch.stack(largest)).tolist()
    return [name for name, ok in zip(present, finite, strict=True) if not ok]


def _inputs(entry: Entry) -> Iterable[Tensor]:
    return (value.tensor for value in entry.inputs)


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.layout != torch.strided:
        return True
    return bool(torch.isfinite(tensor).all())


def _describe(entry: Entry, tensor: Tensor) -> str:
    bad = tensor.numel() - int(torch.isfinite(tensor).sum())
    return f"{entry.name} in {entry.scope.label}: {bad} of {tensor.numel()} entries"


def _statistics(entry: Entry) -> str:
    ranges = [
        f"min {float(t.detach().min()):.6g}, max {float(t.detach().max()):.6g}"
        for t in _inputs(entry)
        if t.is_floating_point() and t.numel()
    ]
    return f"its input{'s' if len(ranges) > 1 else ''}: {'; '.join(ranges) or 'none'}"
