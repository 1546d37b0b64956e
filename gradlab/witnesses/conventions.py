"""Operations of PyTorch whose gradient is, by their documentation, not the derivative of what they compute."""

from __future__ import annotations

from gradlab.backprop import Entry

PADDING = {"embedding": (2, "padding_idx"), "_embedding_bag": (8, "padding_idx")}  # position and name


def convention_of(entry: Entry) -> str:
    """What an operation's gradient leaves out or adds on purpose; empty for all others.

    Args:
        entry: one recorded operation.

    Example:
        >>> import torch
        >>> from gradlab import Tape
        >>> with Tape() as tape:
        ...     y = torch.nn.Embedding(3, 2, padding_idx=1)(torch.tensor([0, 1]))
        >>> [convention_of(entry) for entry in tape.entries if entry.name == "embedding"]
        ['embedding gives its padding_idx no gradient']
    """
    if entry.name in PADDING:
        if entry.argument(*PADDING[entry.name]) not in (None, -1):
            return f"{entry.name} gives its padding_idx no gradient"
        if entry.argument(3, "scale_grad_by_freq"):
            return f"{entry.name} divides gradients by how often an index occurs (scale_grad_by_freq)"
    if entry.name == "_ctc_loss":
        return "ctc_loss has the gradient for log-probabilities that stay normalized"
    return ""
