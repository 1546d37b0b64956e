"""A recurrent network: one cell, used again at every time step, so its weights' gradients are sums over time."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gradlab.models.sizes import TEXTS, check_characters, positive, widths

CELLS: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """Predicts the next character at every time step, from that character and a state hₜ that sums up the past.

    The simplest cell is hₜ = tanh(W xₜ + b + U hₜ₋₁ + c), with h₋₁ = 0. ∂hₜ/∂hₜ₋₁ is a factor in every gradient
    that goes back through step t: where such factors are small throughout, the gradient fades on its way. The
    gates of ``gru`` and ``lstm`` are there to keep them near 1.

    Args:
        vocabulary: the number of different characters.
        hidden: the size of the state of each layer; a layer's states are the next one's input. Empty for none.
        cell: ``rnn``, ``gru`` or ``lstm``, as in ``torch.nn``.
        width: numbers that describe one character.

    Raises:
        ValueError: a size is no whole number above 0, or there is no such cell.

    Example:
        >>> import torch
        >>> network = Recurrent(vocabulary=48, hidden=[32], cell="gru")
        >>> network(torch.zeros(5, 32, dtype=torch.int64)).shape
        torch.Size([5, 32, 48])

    References:
        J. L. Elman, *Finding structure in time*, 1990; S. Hochreiter, J. Schmidhuber, *Long short-term memory*,
        1997; K. Cho et al., *Learning phrase representations using RNN encoder-decoder for statistical machine
        translation*, 2014, arXiv:1406.1078.
    """

    def __init__(self, vocabulary: int, hidden: Sequence[int], cell: str = "gru", width: int = 32) -> None:
        super().__init__()
        self.vocabulary = positive("recurrent", "vocabulary", vocabulary, TEXTS)
        sizes = [positive("recurrent", "width", width, data_sets=""), *widths("recurrent", hidden)]
        if cell not in CELLS:
            raise ValueError(f"there is no cell {cell!r} (model.cell): choose {', '.join(CELLS)}")
        self.token = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(CELLS[cell](i, o, batch_first=True) for i, o in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], vocabulary)

    def forward(self, input: Tensor | None) -> Tensor:
        """The logits [B, T, vocabulary] for windows of characters [B, T], integers, with T from 1 on.

        Raises:
            ValueError: there is no batch, or it is no [B, T] of known characters.
        """
        h = self.token(check_characters("recurrent", input, self.vocabulary))
        for layer in self.layers:
            h, _ = layer(h)
        return self.head(h)
