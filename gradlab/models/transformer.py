"""A small GPT: a stack of blocks, in each of which every place looks at those before it, and then thinks by itself."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlab.models.sizes import TEXTS, check_characters, positive, share, widths


class Transformer(nn.Module):
    """Predicts the next character at every place of a window, from that place and those before it.

    h₀ = token[x] + position[0 … T − 1], a `Block` after the other, and logits = head(LayerNorm(h)). A character
    later in the window changes no earlier prediction, so a window of T characters is T examples at once.

    Args:
        vocabulary: the number of different characters.
        context: characters of the longest window.
        hidden: the width of the MLP in each block; empty for none.
        width: numbers that describe one place, a multiple of ``heads``.
        heads: attention heads of each block.
        dropout: the share of entries set to 0 in training, after attention, MLP and embedding.

    Raises:
        ValueError: a size is no whole number above 0, ``width`` is no multiple of ``heads``, or ``dropout`` lies
            outside [0, 1).

    Example:
        >>> network = Transformer(vocabulary=48, context=32, hidden=[64, 64])
        >>> network(torch.zeros(5, 32, dtype=torch.int64)).shape
        torch.Size([5, 32, 48])

    References:
        A. Vaswani et al., *Attention is all you need*, 2017, arXiv:1706.03762. LayerNorm before and not after:
        R. Xiong et al., *On layer normalization in the Transformer architecture*, 2020, arXiv:2002.04745.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        hidden: Sequence[int],
        width: int = 32,
        heads: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary = positive("transformer", "vocabulary", vocabulary, TEXTS)
        self.context = positive("transformer", "context", context, TEXTS)
        positive("transformer", "width", width, data_sets="")
        share("transformer", "dropout", dropout)
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, size, dropout) for size in widths("transformer", hidden)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, input: Tensor | None) -> Tensor:
        """The logits [B, T, vocabulary] for windows of characters [B, T], integers, with T up to ``context``.

        Raises:
            ValueError: there is no batch, it is no [B, T] of known characters, or T is above ``context``.
        """
        x = check_characters("transformer", input, self.vocabulary)
        if x.shape[1] > self.context:
            raise ValueError(
                f"model=transformer has {self.context} places, got windows of {x.shape[1]} characters: leave "
                "model.context at ${data.context}, or set it to at least that"
            )
        places = torch.arange(x.shape[1], device=x.device)
        h = self.drop(self.token(x) + self.position(places))
        return self.head(self.norm(self.blocks(h)))


class Block(nn.Module):
    """h ← h + attention(LayerNorm(h)), then h ← h + MLP(LayerNorm(h)).

    Each sum hands its upstream gradient on unchanged to both terms: the way past attention and MLP is the one on
    which the gradient reaches the first layers undiminished.

    Args:
        width: numbers that describe one place.
        heads: attention heads, a divisor of ``width``.
        hidden: the width of the MLP.
        dropout: as in ``Transformer``.

    Raises:
        ValueError: ``heads`` is no whole number above 0, or no divisor of ``width``.

    Example:
        >>> Block(width=8, heads=2, hidden=16)(torch.zeros(3, 4, 8)).shape
        torch.Size([3, 4, 8])
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.Dropout(dropout))

    def forward(self, h: Tensor) -> Tensor:
        """The places [B, T, width] after one round, floating."""
        h = h + self.attention(self.norm1(h))
        return h + self.mlp(self.norm2(h))


class CausalSelfAttention(nn.Module):
    """At every place a weighted mean of values, v, over that place and those before it.

    softmax(q kᵀ / √d) v in each head, where the products with later places count as −∞ and d = width / heads. The
    rows of ``qkv`` are those of q, of k and of v, as in ``nn.MultiheadAttention``.

    Args:
        width, heads, dropout: as in `Block`.

    Raises:
        ValueError: as in `Block`.

    Example:
        >>> CausalSelfAttention(width=8, heads=2)(torch.zeros(3, 4, 8)).shape
        torch.Size([3, 4, 8])
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = positive("transformer", "heads", heads, data_sets="")
        if width % heads:
            raise ValueError(
                f"model=transformer divides model.width among model.heads, and {width} is no multiple of {heads}: "
                f"set model.width={(width // heads + 1) * heads}, for example"
            )
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """What each place gathers, [B, T, width], for places [B, T, width], floating."""
        q, k, v = (self._by_head(part) for part in self.qkv(h).chunk(3, dim=-1))
        gathered = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.drop(self.project(gathered.transpose(1, 2).flatten(2)))

    def _by_head(self, part: Tensor) -> Tensor:
        """[B, T, width] as [B, heads, T, width / heads]."""
        return part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
