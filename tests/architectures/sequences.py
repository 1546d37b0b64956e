"""Networks for texts, speech and other sequences."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, pad_sequence

from architectures.common import Built, Cases, Residual, labels

CASES = Cases()
VOCABULARY = 11


def tokens(n: int = 2, length: int = 6) -> Tensor:
    return labels(n, length, classes=VOCABULARY)


def next_token(model: nn.Module) -> Built:
    """A language model: each token is predicted from those before it."""
    text = tokens(2, 7)
    return model, lambda: F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())


# --- transformers -------------------------------------------------------------------------------------------


class GPT2(nn.Module):
    """Pre-norm blocks with one product for q, k and v, a triangular mask, and the embedding as the last layer."""

    class Block(nn.Module):
        def __init__(self, dim: int, heads: int) -> None:
            super().__init__()
            self.heads, self.attn, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU("tanh"), nn.Linear(2 * dim, dim), nn.Dropout(0.1))
            self.register_buffer("mask", torch.tril(torch.ones(16, 16)).bool().view(1, 1, 16, 16))

        def forward(self, x: Tensor) -> Tensor:
            b, t, c = x.shape
            split = self.attn(self.norm1(x)).split(c, dim=2)
            q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in split)
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
            scores = scores.masked_fill(~self.mask[:, :, :t, :t], float("-inf"))
            out = F.dropout(scores.softmax(-1), 0.1) @ v
            x = x + F.dropout(self.proj(out.transpose(1, 2).contiguous().view(b, t, c)), 0.1)
            return x + self.mlp(self.norm2(x))

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, dim), nn.Embedding(16, dim)
        self.blocks, self.norm = nn.Sequential(self.Block(dim, 2), self.Block(dim, 2)), nn.LayerNorm(dim)
        self.head = nn.Linear(dim, VOCABULARY, bias=False)
        self.wte.weight = self.head.weight

    def forward(self, text: Tensor) -> Tensor:
        x = self.wte(text) + self.wpe(torch.arange(text.shape[1]))
        return self.head(self.norm(self.blocks(F.dropout(x, 0.1))))


@CASES
def gpt2() -> Built:
    return next_token(GPT2())


class Bert(nn.Module):
    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, dim, padding_idx=0)
        self.places, self.kinds = nn.Embedding(8, dim), nn.Embedding(2, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        layer = nn.TransformerEncoderLayer(dim, 2, 16, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.pool, self.order = nn.Linear(dim, dim), nn.Linear(dim, 2)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    def forward(self, text: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(text) + self.places.weight[: text.shape[1]] + self.kinds(kinds)
        x = self.encoder(F.dropout(self.norm(x), 0.1), src_key_padding_mask=text == 0)
        return F.linear(x, self.words.weight, self.bias), self.order(torch.tanh(self.pool(x[:, 0])))


@CASES
def bert_with_padding() -> Built:
    model, text, kinds, order = Bert(), tokens(3, 6) % 10 + 1, labels(3, 6, classes=2), labels(3, classes=2)
    text[1, 4:], text[2, 3:] = 0, 0
    wanted = torch.where(torch.rand(3, 6) < 0.5, text, -100)

    def loss() -> Tensor:
        words, pooled = model(text, kinds)
        return F.cross_entropy(words.view(-1, VOCABULARY), wanted.view(-1)) + F.cross_entropy(pooled, order)

    return model, loss


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def buckets(length: int) -> Tensor:
    """T5's buckets of relative positions: exact when near, logarithmic when far, both directions."""
    distance = torch.arange(length)[None] - torch.arange(length)[:, None]
    near = distance.abs()
    far = (2 + (near.clamp(min=1).double() / 2).log() / math.log(4) * 2).long().clamp(max=3)
    return torch.where(distance > 0, 4, 0) + torch.where(near < 2, near, far)


class T5Layer(nn.Module):
    """Self-attention without scaling, with a bias shared by the layers; attention to the encoder; gated GELU."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.own, self.cross = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(dim, 4 * dim, bias=False)
        self.norms = nn.ModuleList(RMSNorm(dim) for _ in range(3))
        self.wi, self.wo = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(2 * dim, dim, bias=False)

    def attend(self, weights: nn.Linear, x: Tensor, memory: Tensor, bias: Tensor | float) -> Tensor:
        wq, wk, wv, wo = weights.weight.chunk(4)
        q, k, v = (F.linear(s, w).unflatten(-1, (self.heads, -1)) for s, w in ((x, wq), (memory, wk), (memory, wv)))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) + bias
        out = torch.einsum("bhqk,bkhd->bqhd", F.dropout(scores.softmax(-1), 0.1), v)
        return F.dropout(F.linear(out.flatten(2), wo), 0.1)

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor | None = None) -> Tensor:
        n = self.norms[0](x)
        x = x + self.attend(self.own, n, n, bias)
        if memory is not None:
            x = x + self.attend(self.cross, self.norms[1](x), memory, 0.0)
        gate, value = self.wi(self.norms[2](x)).chunk(2, dim=-1)
        return x + self.wo(F.dropout(F.gelu(gate) * value, 0.1))


class T5(nn.Module):
    def __init__(self, dim: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.shared, self.dim = nn.Embedding(VOCABULARY, dim), dim
        self.bias, self.causal_bias = nn.Embedding(8, heads), nn.Embedding(8, heads)
        self.encoder = nn.ModuleList(T5Layer(dim, heads) for _ in range(2))
        self.decoder = nn.ModuleList(T5Layer(dim, heads) for _ in range(2))
        self.norm = RMSNorm(dim)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, bias = self.shared(source), self.bias(buckets(source.shape[1])).permute(2, 0, 1).unsqueeze(0)
        for layer in self.encoder:
            memory = layer(memory, bias)
        t = target.shape[1]
        future = torch.full((t, t), torch.finfo(torch.float64).min).triu(1)
        bias = self.causal_bias(buckets(t)).permute(2, 0, 1).unsqueeze(0) + future
        x = self.shared(target)
        for layer in self.decoder:
            x = layer(x, bias, memory)
        return self.norm(x) * self.dim**-0.5 @ self.shared.weight.T


@CASES
def t5_with_tied_embeddings() -> Built:
    """The encoder's layers have weights for attention to an encoder, which nothing reaches."""
    model, source, text = T5(), tokens(2, 5), tokens(2, 5)
    return model, lambda: F.cross_entropy(model(source, text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())


def rotated_by_complex_numbers(x: Tensor) -> Tensor:
    """x of shape [batch, time, head, dim]: pairs of neighbours are complex numbers, turned by their position."""
    t, d = x.shape[1], x.shape[-1]
    angles = torch.outer(torch.arange(t).double(), 100.0 ** -(torch.arange(0, d, 2) / d))
    turns = torch.polar(torch.ones_like(angles), angles).view(1, t, 1, d // 2)
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(3)


def rotated_by_halves(x: Tensor) -> Tensor:
    t, d = x.shape[1], x.shape[-1]
    angles = torch.outer(torch.arange(t).double(), 100.0 ** -(torch.arange(0, d, 2) / d))
    angles = torch.cat((angles, angles), dim=-1)[None, :, None]
    turned = torch.cat((-x[..., d // 2 :], x[..., : d // 2]), dim=-1)
    return x * angles.cos() + turned * angles.sin()


class Llama(nn.Module):
    class Block(nn.Module):
        """Rotary positions, fewer heads for keys and values than for queries, SwiGLU."""

        def __init__(self, dim: int, heads: int, groups: int, rotated, fused: bool) -> None:
            super().__init__()
            self.heads, self.groups, self.rotated, self.fused = heads, groups, rotated, fused
            self.wq, self.wo = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
            self.wk = nn.Linear(dim, dim // heads * groups, bias=False)
            self.wv = nn.Linear(dim, dim // heads * groups, bias=False)
            self.norm1, self.norm2 = (nn.RMSNorm(dim), nn.RMSNorm(dim)) if fused else (RMSNorm(dim), RMSNorm(dim))
            self.w1, self.w3 = nn.Linear(dim, 12, bias=False), nn.Linear(dim, 12, bias=False)
            self.w2 = nn.Linear(12, dim, bias=False)

        def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if self.fused:
                return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            b, _, t, d = k.shape
            repeats = self.heads // self.groups
            k, v = (s[:, :, None].expand(b, self.groups, repeats, t, d).reshape(b, -1, t, d) for s in (k, v))
            scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(d)
            scores = scores + torch.full((t, t), float("-inf")).triu(diagonal=1)
            return F.softmax(scores, dim=-1) @ v

        def forward(self, x: Tensor) -> Tensor:
            b, t, _ = x.shape
            n = self.norm1(x)
            q, k, v = (
                w(n).view(b, t, h, -1)
                for w, h in ((self.wq, self.heads), (self.wk, self.groups), (self.wv, self.groups))
            )
            out = self.attend(self.rotated(q).transpose(1, 2), self.rotated(k).transpose(1, 2), v.transpose(1, 2))
            x = x + self.wo(out.transpose(1, 2).reshape(b, t, -1))
            n = self.norm2(x)
            return x + self.w2(F.silu(self.w1(n)) * self.w3(n))

    def __init__(self, rotated, fused: bool) -> None:
        super().__init__()
        self.embed, self.norm, self.out = nn.Embedding(VOCABULARY, 16), nn.RMSNorm(16), nn.Linear(16, VOCABULARY, False)
        self.blocks = nn.Sequential(*(self.Block(16, 4, 2, rotated, fused) for _ in range(2)))

    def forward(self, text: Tensor) -> Tensor:
        return self.out(self.norm(self.blocks(self.embed(text))))


@CASES
def llama_rotated_by_complex_numbers() -> Built:
    return next_token(Llama(rotated_by_complex_numbers, False))


@CASES
def llama_rotated_by_halves() -> Built:
    return next_token(Llama(rotated_by_halves, False))


@CASES
def llama_with_fused_attention() -> Built:
    return next_token(Llama(rotated_by_halves, True))


class Translator(nn.Module):
    """`nn.Transformer` with all its masks."""

    def __init__(self, dim: int = 8, **options) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(VOCABULARY, dim, padding_idx=0), nn.Embedding(VOCABULARY, dim)
        self.transformer = nn.Transformer(dim, 2, 2, 2, 16, 0.1, batch_first=True, **options)
        self.out = nn.Linear(dim, VOCABULARY)
        at = torch.arange(8).double()[:, None] / 10.0 ** (torch.arange(0, dim, 2) / dim)
        places = torch.zeros(8, dim)
        places[:, 0::2], places[:, 1::2] = at.sin(), at.cos()
        self.register_buffer("places", places)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        s, t = (
            self.source(source) + self.places[: source.shape[1]],
            self.target(target) + self.places[: target.shape[1]],
        )
        future = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        padded = source == 0
        out = self.transformer(
            s, t, tgt_mask=future, src_key_padding_mask=padded, memory_key_padding_mask=padded, tgt_is_causal=True
        )
        return self.out(out)


@CASES
def transformer_encoder_decoder() -> Built:
    model, source, text = Translator(), tokens(2, 5) % 10 + 1, tokens(2, 6)
    source[1, 3:] = 0
    return model, lambda: F.cross_entropy(model(source, text[:, :-1]).mT, text[:, 1:], label_smoothing=0.1)


@CASES
def transformer_decoder_with_pre_norm_and_own_activation() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerDecoderLayer(8, 2, 12, 0.1, F.leaky_relu, norm_first=True, bias=False)
            self.decoder, self.memory = nn.TransformerDecoder(layer, 2), nn.Parameter(torch.randn(3, 2, 8))
            self.embed = nn.Embedding(VOCABULARY, 8)

        def forward(self, text: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(len(text))
            return self.decoder(self.embed(text), self.memory, tgt_mask=mask) @ self.embed.weight.T

    model, text = Model(), tokens(6, 2)
    return model, lambda: F.cross_entropy(model(text[:-1]).flatten(0, 1), text[1:].flatten())


class Banded(nn.Module):
    """Longformer's attention: a band of neighbours, by overlapping chunks of as_strided, and one global token."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.width, self.qkv, self.out = width, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def bands(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        x = F.pad(x, (0, 0, self.width, self.width)).contiguous()
        sb, st, sc = x.stride()
        return x.as_strided((b, t, 2 * self.width + 1, c), (sb, st, st, sc))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        t = x.shape[1]
        near = torch.einsum("btc,btwc->btw", q, self.bands(k)) / math.sqrt(q.shape[-1])
        at = torch.arange(t)[:, None] + torch.arange(-self.width, self.width + 1)
        near = near.masked_fill((at < 0) | (at >= t), -math.inf)
        weights = torch.cat([near, (q @ k[:, :1].mT)], -1).softmax(-1)
        out = torch.einsum("btw,btwc->btc", weights[..., :-1], self.bands(v)) + weights[..., -1:] * v[:, :1]
        return x + self.out(out)


@CASES
def longformer() -> Built:
    text = tokens()
    model = nn.Sequential(
        nn.Embedding(VOCABULARY, 6), Banded(6, 2), nn.LayerNorm(6), Banded(6, 1), nn.Linear(6, VOCABULARY)
    )
    return model, lambda: F.cross_entropy(model(text).mT, text.flip(1))


class LinearAttention(nn.Module):
    """softmax(q)·(softmax(k)ᵀ v), causal, by cumulative sums of outer products; elu(x) + 1 as the feature map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        state = torch.einsum("btc,btd->btcd", k, v).cumsum(1)
        norm = 1 / torch.einsum("btc,btc->bt", q, k.cumsum(1) + 1e-6)
        return x + self.out(torch.einsum("btc,btcd,bt->btd", q, state, norm))


@CASES
def linear_attention() -> Built:
    return next_token(
        nn.Sequential(nn.Embedding(VOCABULARY, 6), LinearAttention(6), LinearAttention(6), nn.Linear(6, VOCABULARY))
    )


@CASES
def performer() -> Built:
    class Performer(nn.Module):
        """Attention by positive random features, orthogonal by QR, drawn anew in each pass."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.qkv, self.out = nn.Embedding(VOCABULARY, 6), nn.Linear(6, 18), nn.Linear(6, VOCABULARY)

        def forward(self, text: Tensor) -> Tensor:
            q, k, v = self.qkv(self.embed(text)).chunk(3, -1)
            random = torch.linalg.qr(torch.randn(6, 6)).Q * math.sqrt(6)

            def features(x: Tensor) -> Tensor:
                x = x / 6**0.25
                projected = x @ random.T - x.square().sum(-1, keepdim=True) / 2
                return (projected - projected.amax(dim=(-1, -2), keepdim=True).detach()).exp() + 1e-4

            q, k = features(q), features(k)
            return self.out((q @ (k.mT @ v)) / (q @ k.sum(1).unsqueeze(-1)))

    model, text = Performer(), tokens()
    return model, lambda: F.cross_entropy(model(text).flatten(0, 1), text.flatten())


@CASES
def reformer_by_hashing() -> Built:
    class Hashed(nn.Module):
        """Tokens are sorted by a random hash and attend within chunks and the chunk before."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.qk, self.v = nn.Embedding(VOCABULARY, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.out = nn.Linear(6, VOCABULARY)

        def forward(self, text: Tensor) -> Tensor:
            x = self.embed(text)
            qk, v = self.qk(x), self.v(x)
            turned = qk @ torch.randn(6, 2)
            order = torch.cat([turned, -turned], -1).argmax(-1).argsort(dim=1, stable=True)
            back = order.argsort(1)
            qk, v = (torch.take_along_dim(s, order.unsqueeze(-1), 1).unflatten(1, (-1, 2)) for s in (qk, v))
            k, v = (torch.cat([s, s.roll(1, 1)], 2) for s in (F.normalize(qk, dim=-1), v))
            out = ((qk @ k.mT) / 6**0.5).softmax(-1) @ v
            return self.out(torch.take_along_dim(out.flatten(1, 2), back.unsqueeze(-1), 1))

    model, text = Hashed(), tokens()
    return model, lambda: F.cross_entropy(model(text).mT, text)


class RelativeAttention(nn.Module):
    """Transformer-XL: a memory without gradients, relative positions by the shift of a padded score matrix."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Embedding(VOCABULARY, dim), nn.Linear(dim, 3 * dim, bias=False)
        self.place, self.u, self.w = (
            nn.Linear(dim, dim, bias=False),
            nn.Parameter(torch.randn(dim)),
            nn.Parameter(torch.randn(dim)),
        )
        self.out = nn.Linear(dim, VOCABULARY)

    def forward(self, text: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embed(text)
        both = torch.cat([memory, x], 1)
        (q, _, _), (_, k, v) = self.qkv(x).chunk(3, -1), self.qkv(both).chunk(3, -1)
        t, s, c = x.shape[1], both.shape[1], x.shape[-1]
        angle = torch.arange(s - 1, -1, -1.0)[:, None] / 100 ** (torch.arange(0, c, 2) / c)
        places = self.place(torch.cat([angle.sin(), angle.cos()], -1))
        by_place = F.pad((q + self.w) @ places.T, (1, 0)).view(len(text), s + 1, t)[:, 1:].reshape(len(text), t, s)
        scores = ((q + self.u) @ k.mT + by_place) / math.sqrt(c)
        scores = scores.masked_fill(torch.ones(t, s).triu(1 + s - t).bool(), -1e30)
        return self.out(scores.softmax(-1) @ v + x), both[:, -t:].detach()


@CASES
def transformer_xl_over_two_segments() -> Built:
    model, text = RelativeAttention(), tokens(2, 9)

    def loss() -> Tensor:
        memory, total = torch.zeros(2, 4, 6), 0.0
        for start in (0, 4):
            logits, memory = model(text[:, start : start + 4], memory)
            total = total + F.cross_entropy(logits.mT, text[:, start + 1 : start + 5])
        return total

    return model, loss


class Experts(nn.Module):
    """A mixture of experts: each token goes to its two best experts; a second loss keeps them equally busy."""

    def __init__(self, dim: int, n: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, n, bias=False)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(dim, 8), nn.SiLU(), nn.Linear(8, dim)) for _ in range(n))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.view(-1, x.shape[-1])
        probabilities = self.gate(flat).softmax(-1)
        weights, chosen = torch.topk(probabilities, 2, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for i, expert in enumerate(self.experts):
            row, slot = torch.where(chosen == i)
            out.index_add_(0, row, expert(flat[row]) * weights[row, slot, None])
        busy = F.one_hot(chosen[:, 0], len(self.experts)).double().mean(0)
        return out.view_as(x), (busy * probabilities.mean(0)).sum() * len(self.experts)


@CASES
def mixture_of_experts() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.experts, self.out = nn.Embedding(VOCABULARY, 6), Experts(6, 4), nn.Linear(6, VOCABULARY)

        def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
            x = self.embed(text)
            mixed, balance = self.experts(x)
            return self.out(x + mixed), balance

    model, text = Model(), tokens(3, 6)

    def loss() -> Tensor:
        logits, balance = model(text)
        return F.cross_entropy(logits.mT, text.flip(0)) + 0.01 * balance

    return model, loss


@CASES
def switch_transformer_with_capacity() -> Built:
    class Switch(nn.Module):
        """Tokens are dispatched into slots of limited capacity by one-hot products; noisy gate; stacked experts."""

        def __init__(self, dim: int = 6, n: int = 3, capacity: int = 4) -> None:
            super().__init__()
            self.gate, self.noise, self.capacity = nn.Linear(dim, n), nn.Linear(dim, n), capacity
            self.up, self.down = nn.Parameter(torch.randn(n, dim, 8) * 0.3), nn.Parameter(torch.randn(n, 8, dim) * 0.3)

        def forward(self, x: Tensor) -> Tensor:
            logits = self.gate(x)
            logits = logits + torch.randn_like(logits) * F.softplus(self.noise(x))
            best, expert = logits.softmax(-1).max(-1)
            chosen = F.one_hot(expert, logits.shape[-1])
            slot = (chosen.cumsum(0) * chosen).sum(-1) - 1
            kept = slot < self.capacity
            place = F.one_hot(slot.clamp(max=self.capacity - 1), self.capacity).double() * kept[:, None]
            dispatch = chosen[:, :, None] * place[:, None]
            inside = torch.einsum("tec,td->ecd", dispatch, x)
            inside = torch.baddbmm(torch.zeros(()), F.relu(torch.bmm(inside, self.up)), self.down)
            return x + torch.einsum("tec,ecd->td", dispatch * best[:, None, None], inside)

    model, x, y = nn.Sequential(nn.Linear(5, 6), Switch(), nn.Linear(6, 5)), torch.randn(12, 5), labels(12)
    return model, lambda: F.cross_entropy(model(x), y)


@CASES
def perceiver() -> Built:
    class Perceiver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.latent = nn.Parameter(torch.randn(3, 8) * 0.1)
            self.read = nn.MultiheadAttention(8, 2, 0.1, kdim=5, vdim=5, batch_first=True)
            self.think = nn.TransformerEncoderLayer(8, 2, 12, 0.1, batch_first=True, norm_first=True)
            self.query, self.answer = nn.Embedding(4, 8), nn.MultiheadAttention(8, 1, batch_first=True, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            z = self.latent.expand(len(x), -1, -1)
            for _ in range(2):
                z = self.think(z + self.read(z, x, x, average_attn_weights=False)[0])
            return self.answer(self.query.weight.expand(len(x), -1, -1), z, z)[0]

    model, x, y = Perceiver(), torch.randn(2, 7, 5), torch.randn(2, 4, 8)
    return model, lambda: F.huber_loss(model(x), y, delta=0.5)


# --- state spaces and scans ---------------------------------------------------------------------------------


class Mamba(nn.Module):
    """A selective state space, as a loop: the step, what enters and what is read depend on the input."""

    def __init__(self, dim: int, states: int = 3) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(2 * dim, dim, bias=False)
        self.conv = nn.Conv1d(2 * dim, 2 * dim, 3, groups=2 * dim, padding=2)
        self.select = nn.Linear(2 * dim, 2 * states + 1)
        self.step = nn.Linear(1, 2 * dim)
        self.log_a = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(2 * dim, 1))
        self.skip = nn.Parameter(torch.ones(2 * dim))
        self.states = states

    def forward(self, x: Tensor) -> Tensor:
        u, gate = self.into(x).chunk(2, dim=-1)
        u = F.silu(self.conv(u.mT)[..., : x.shape[1]].mT)
        step, b, c = self.select(u).split([1, self.states, self.states], -1)
        step = F.softplus(self.step(step))
        decay = torch.exp(step.unsqueeze(-1) * -self.log_a.exp())
        enter = (step * u).unsqueeze(-1) * b.unsqueeze(2)
        h, read = torch.zeros_like(decay[:, 0]), []
        for t in range(x.shape[1]):
            h = decay[:, t] * h + enter[:, t]
            read.append(torch.einsum("bds,bs->bd", h, c[:, t]))
        return x + self.out((torch.stack(read, 1) + u * self.skip) * F.silu(gate))


@CASES
def mamba() -> Built:
    return next_token(nn.Sequential(nn.Embedding(VOCABULARY, 4), Mamba(4), nn.RMSNorm(4), nn.Linear(4, VOCABULARY)))


class S4(nn.Module):
    """A diagonal state space with complex poles, as a long convolution by the FFT."""

    def __init__(self, dim: int, states: int = 2) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.rand(dim) - 3)
        self.log_decay = nn.Parameter(torch.log(0.5 * torch.ones(dim, states)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).double().repeat(dim, 1))
        self.c = nn.Parameter(torch.randn(dim, states, 2) * 0.5)
        self.d, self.mix = nn.Parameter(torch.randn(dim)), nn.Sequential(nn.Conv1d(dim, 2 * dim, 1), nn.GLU(dim=-2))

    def forward(self, x: Tensor) -> Tensor:
        u, n = x.mT, x.shape[1]
        step, a = self.log_step.exp(), -self.log_decay.exp() + 1j * self.frequency
        dta = a * step[:, None]
        c = torch.view_as_complex(self.c) * (torch.exp(dta) - 1.0) / a
        kernel = 2 * torch.einsum("ds,dsl->dl", c, torch.exp(dta[..., None] * torch.arange(n))).real
        y = torch.fft.irfft(torch.fft.rfft(u, n=2 * n) * torch.fft.rfft(kernel, n=2 * n), n=2 * n)[..., :n]
        return x + self.mix(F.dropout1d(F.gelu(y + u * self.d[:, None]), 0.1)).mT


@CASES
def s4() -> Built:
    return next_token(nn.Sequential(nn.Embedding(VOCABULARY, 4), S4(4), nn.LayerNorm(4), nn.Linear(4, VOCABULARY)))


class RWKV(nn.Module):
    """Time mixing by decaying sums with a running maximum, channel mixing by a squared ReLU, both with a shift."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.decay, self.first = nn.Parameter(torch.randn(dim)), nn.Parameter(torch.randn(dim))
        self.mixes = nn.Parameter(torch.rand(4, dim))
        self.r, self.k, self.v, self.o = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(dim, 8, bias=False), nn.Linear(8, dim, bias=False)
        self.norm1, self.norm2, self.shift = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.ZeroPad2d((0, 0, 1, -1))

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm1(x)
        before = self.shift(n)
        k, v, r = (w(torch.lerp(before, n, m)) for w, m in zip((self.k, self.v, self.r), self.mixes, strict=False))
        a = b = torch.zeros_like(k[:, 0])
        top, out, w = torch.full_like(a, -1e38), torch.empty_like(k), -self.decay.exp()
        for t in range(x.shape[1]):
            high = torch.maximum(top, self.first + k[:, t])
            e1, e2 = (top - high).exp(), (self.first + k[:, t] - high).exp()
            out[:, t] = (e1 * a + e2 * v[:, t]) / (e1 * b + e2)
            high = torch.maximum(top + w, k[:, t])
            e1, e2 = (top + w - high).exp(), (k[:, t] - high).exp()
            a, b, top = e1 * a + e2 * v[:, t], e1 * b + e2, high
        x = x + self.o(r.sigmoid() * out)
        n = self.norm2(x)
        return x + self.down(self.up(torch.lerp(self.shift(n), n, self.mixes[3])).relu().square())


@CASES
def rwkv() -> Built:
    return next_token(nn.Sequential(nn.Embedding(VOCABULARY, 4), RWKV(4), RWKV(4), nn.Linear(4, VOCABULARY)))


@CASES
def retention() -> Built:
    class Retention(nn.Module):
        """RetNet: a product with decaying weights, then a normalization of groups."""

        def __init__(self, dim: int = 6) -> None:
            super().__init__()
            self.embed, self.qkvg = nn.Embedding(VOCABULARY, dim), nn.Linear(dim, 4 * dim)
            self.decay, self.norm, self.out = (
                nn.Parameter(torch.randn(2)),
                nn.GroupNorm(2, dim),
                nn.Linear(dim, VOCABULARY),
            )

        def forward(self, text: Tensor) -> Tensor:
            q, k, v, g = self.qkvg(self.embed(text)).tensor_split(4, -1)
            q, k, v = (s.unflatten(-1, (2, 3)).transpose(1, 2) for s in (q, k, v))
            t = torch.arange(text.shape[1])
            apart = t[:, None] - t
            decay = torch.where(apart >= 0, self.decay.sigmoid()[:, None, None] ** apart.clamp(min=0), 0)
            out = ((q @ k.mT) * decay) @ v
            out = self.norm(out.transpose(1, 2).flatten(0, 1).flatten(1)).view_as(g)
            return self.out(F.silu(g) * out)

    return next_token(Retention())


@CASES
def min_gru_by_parallel_scan() -> Built:
    class MinGRU(nn.Module):
        """h = (1 − z)·h + z·g for all times at once, in logarithms: cumsum and logcumsumexp."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.gates, self.out = nn.Embedding(VOCABULARY, 5), nn.Linear(5, 10), nn.Linear(5, VOCABULARY)

        def forward(self, text: Tensor) -> Tensor:
            z, g = self.gates(self.embed(text)).chunk(2, -1)
            log_g = torch.where(g >= 0, (F.relu(g) + 0.5).log(), -F.softplus(-g))
            kept = F.pad(-F.softplus(z).cumsum(1), (0, 0, 1, 0))
            entered = torch.cat([torch.full_like(g[:, :1], -0.7), -F.softplus(-z) + log_g], 1)
            return self.out((kept + (entered - kept).logcumsumexp(1)).exp()[:, 1:])

    return next_token(MinGRU())


@CASES
def hyena() -> Built:
    class Hyena(nn.Module):
        """Long convolutions whose filters are a network over positions, times gates."""

        def __init__(self, dim: int = 4) -> None:
            super().__init__()
            self.embed, self.into = nn.Embedding(VOCABULARY, dim), nn.Linear(dim, 3 * dim)
            self.short = nn.Conv1d(3 * dim, 3 * dim, 3, padding=2, groups=3 * dim)
            self.filter = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, dim))
            self.decay, self.out = nn.Parameter(torch.rand(dim)), nn.Linear(dim, VOCABULARY)

        def forward(self, text: Tensor) -> Tensor:
            n = text.shape[1]
            q, k, v = self.short(self.into(self.embed(text)).mT)[..., :n].chunk(3, 1)
            t = torch.linspace(0, 1, n)[:, None]
            h = self.filter(torch.cat([t, (2 * math.pi * t).sin(), (2 * math.pi * t).cos()], -1)).T
            h = h * torch.exp(-self.decay.abs()[:, None] * t.T)
            y = torch.fft.ifft(torch.fft.fft(k * v, 2 * n) * torch.fft.fft(h, 2 * n)).real[..., :n]
            return self.out((q * y).mT)

    return next_token(Hyena())


@CASES
def fnet() -> Built:
    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real

    def block() -> list[nn.Module]:
        mlp = Residual(nn.Linear(6, 12), nn.GELU(), nn.Dropout(0.1), nn.Linear(12, 6))
        return [Residual(Mixing()), nn.LayerNorm(6), mlp, nn.LayerNorm(6)]

    text = tokens()
    model = nn.Sequential(nn.Embedding(VOCABULARY, 6), *block(), *block(), nn.Linear(6, VOCABULARY))
    return model, lambda: F.cross_entropy(model(text).mT, text)


# --- recurrent networks -------------------------------------------------------------------------------------


class Seq2Seq(nn.Module):
    """An encoder, and a decoder that looks at it by additive attention (Bahdanau et al. 2015)."""

    def __init__(self, encoder: type[nn.RNNBase], decoder: type[nn.RNNCellBase], dim: int = 5) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, dim)
        self.encoder, self.decoder = encoder(dim, dim, 2, dropout=0.2, batch_first=True), decoder(2 * dim, dim)
        self.query, self.key, self.energy = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, 1, bias=False)
        self.out = nn.Linear(2 * dim, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        seen, last = self.encoder(self.embed(source))
        state = (last[0][-1], last[1][-1]) if isinstance(last, tuple) else last[-1]
        keys, logits = self.key(seen), []
        for word in self.embed(target).unbind(1):
            top = state[0] if isinstance(state, tuple) else state
            weights = self.energy(torch.tanh(self.query(top).unsqueeze(1) + keys)).squeeze(-1).softmax(1)
            context = torch.bmm(weights.unsqueeze(1), seen).squeeze(1)
            state = self.decoder(torch.cat([word, context], 1), state)
            top = state[0] if isinstance(state, tuple) else state
            logits.append(self.out(torch.cat([top, context], 1)))
        return torch.stack(logits, 1)


def translated(model: nn.Module) -> Built:
    source, text = tokens(2, 5), tokens(2, 5)
    return model, lambda: F.cross_entropy(model(source, text[:, :-1]).mT, text[:, 1:])


@CASES
def lstm_seq2seq_with_attention() -> Built:
    return translated(Seq2Seq(nn.LSTM, nn.LSTMCell))


@CASES
def gru_seq2seq_with_attention() -> Built:
    return translated(Seq2Seq(nn.GRU, nn.GRUCell))


@CASES
def elman_seq2seq() -> Built:
    return translated(Seq2Seq(nn.RNN, nn.RNNCell))


@CASES
def pointer_network() -> Built:
    class Pointer(nn.Module):
        """Points at the places of its input, each only once."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.LSTM(2, 5, batch_first=True), nn.LSTMCell(2, 5)
            self.start, self.w, self.v = nn.Parameter(torch.randn(2)), nn.Bilinear(5, 5, 4), nn.Linear(4, 1)

        def forward(self, x: Tensor, order: Tensor) -> Tensor:
            keys, (h, c) = self.encoder(x)
            h, c, total, given = h[0], c[0], 0.0, self.start.expand(len(x), 2)
            used = torch.zeros(x.shape[:2], dtype=torch.bool)
            for place in order.unbind(1):
                h, c = self.decoder(given, (h, c))
                scores = self.v(self.w(keys, h.unsqueeze(1).expand_as(keys).contiguous()).tanh()).squeeze(-1)
                scores = scores.masked_fill(used, -torch.inf)
                total = total + F.nll_loss(scores.log_softmax(-1), place)
                used = used.scatter(1, place[:, None], True)
                given = x[torch.arange(len(x)), place]
            return total

    model, x = Pointer(), torch.rand(2, 4, 2)
    order = x.sum(-1).argsort(1)
    return model, lambda: model(x, order)


class Tagger(nn.Module):
    """A bidirectional LSTM with a conditional random field on top."""

    def __init__(self, tags: int = 4) -> None:
        super().__init__()
        self.embed, self.lstm = nn.Embedding(VOCABULARY, 5), nn.LSTM(5, 4, bidirectional=True, batch_first=True)
        self.emit = nn.Linear(8, tags)
        self.start, self.end = nn.Parameter(torch.randn(tags)), nn.Parameter(torch.randn(tags))
        self.transitions = nn.Parameter(torch.randn(tags, tags))

    def forward(self, text: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        scores = self.emit(F.dropout(self.lstm(self.embed(text))[0], 0.2))
        gold = self.start[tags[:, 0]] + scores[:, 0].gather(1, tags[:, :1]).squeeze(1)
        alpha = self.start + scores[:, 0]
        for t in range(1, text.shape[1]):
            step = self.transitions[tags[:, t - 1], tags[:, t]] + scores[:, t].gather(1, tags[:, t, None]).squeeze(1)
            gold = gold + step * mask[:, t]
            following = torch.logsumexp(alpha.unsqueeze(2) + self.transitions + scores[:, t].unsqueeze(1), dim=1)
            alpha = torch.where(mask[:, t, None], following, alpha)
        last = tags.gather(1, mask.sum(1, keepdim=True) - 1).squeeze(1)
        return (torch.logsumexp(alpha + self.end, 1) - gold - self.end[last]).mean()


@CASES
def bidirectional_lstm_with_crf() -> Built:
    model, text, tags = Tagger(), tokens(3, 5), labels(3, 5, classes=4)
    mask = torch.arange(5) < torch.tensor([[5], [3], [4]])
    return model, lambda: model(text, tags, mask)


@CASES
def packed_bidirectional_gru() -> Built:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(VOCABULARY, 5), nn.Linear(8, 3)
            self.gru = nn.GRU(5, 4, 2, dropout=0.2, bidirectional=True, batch_first=True)

        def forward(self, text: Tensor, lengths: Tensor) -> Tensor:
            packed = pack_padded_sequence(self.embed(text), lengths, batch_first=True, enforce_sorted=False)
            seen, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, padding_value=-math.inf)
            return self.out(seen.amax(1))

    model, text, y = Packed(), tokens(3, 6), labels(3, classes=3)
    return model, lambda: F.cross_entropy(model(text, torch.tensor([4, 6, 2])), y)


@CASES
def packed_lstm_with_projections() -> Built:
    """Sequences of unequal lengths; hidden states are smaller than the cells; a learned initial state."""

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(3, 6, 2, proj_size=4), nn.Linear(4, 2)
            self.h, self.c = nn.Parameter(torch.randn(2, 1, 4)), nn.Parameter(torch.randn(2, 1, 6))

        def forward(self, sequences: list[Tensor]) -> Tensor:
            packed = pack_sequence(sequences)
            n = len(sequences)
            out, (h, c) = self.lstm(packed, (self.h.repeat(1, n, 1), self.c.repeat(1, n, 1)))
            return self.out(out.data).square().mean() + h.sum() + c.tanh().sum()

    model, sequences = Packed(), [torch.randn(n, 3) for n in (5, 3, 2)]
    return model, lambda: model(sequences)


@CASES
def quasi_recurrent_network() -> Built:
    class QRNN(nn.Module):
        """Causal convolutions make the gates of all times; fo-pooling with zoneout runs over them."""

        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.conv = nn.Conv1d(i, 3 * o, 2)

        def forward(self, x: Tensor) -> Tensor:
            z, f, o = self.conv(F.pad(x.mT, (1, 0))).mT.chunk(3, -1)
            z, f, o = z.tanh(), 1 - F.dropout(1 - f.sigmoid(), 0.1), o.sigmoid()
            c, states = torch.zeros_like(z[:, 0]), []
            for t in range(x.shape[1]):
                c = f[:, t] * c + (1 - f[:, t]) * z[:, t]
                states.append(c)
            return o * torch.stack(states, dim=1)

    return next_token(nn.Sequential(nn.Embedding(VOCABULARY, 4), QRNN(4, 5), QRNN(5, 4), nn.Linear(4, VOCABULARY)))


class LayerNormLSTM(nn.Module):
    """An LSTM cell written out, with layer normalization, whose recurrent weights are dropped (AWD-LSTM)."""

    def __init__(self, dim: int = 5) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(VOCABULARY, dim), nn.Linear(dim, VOCABULARY)
        self.x, self.h = nn.Linear(dim, 4 * dim), nn.Parameter(torch.randn(4 * dim, dim) * 0.3)
        self.norms = nn.ModuleList([nn.LayerNorm(4 * dim), nn.LayerNorm(4 * dim), nn.LayerNorm(dim)])

    def forward(self, text: Tensor) -> Tensor:
        x = self.embed(text)
        mask = torch.bernoulli(torch.full_like(self.h, 0.8)) / 0.8
        weight = self.h * mask
        h = c = x.new_zeros(len(x), x.shape[-1])
        out = []
        for step in x.transpose(0, 1):
            gates = self.norms[0](self.x(step)) + self.norms[1](F.linear(h, weight))
            i, f, g, o = gates.chunk(4, 1)
            c = torch.addcmul(f.sigmoid() * c, i.sigmoid(), g.tanh())
            h = o.sigmoid() * self.norms[2](c).tanh()
            out.append(h)
        return self.out(torch.stack(out, 1))


@CASES
def layer_norm_lstm_with_dropped_weights() -> Built:
    return next_token(LayerNormLSTM())


@CASES
def character_convolutions_and_highways() -> Built:
    class Highway(nn.Module):
        """Kim et al. 2016: convolutions over characters, maximum over time, a highway layer, an LSTM over words."""

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(VOCABULARY, 4, max_norm=None, scale_grad_by_freq=True)
            self.convs = nn.ModuleList(nn.Conv1d(4, 3, k) for k in (1, 2, 3))
            self.gate, self.change = nn.Linear(9, 9), nn.Linear(9, 9)
            self.lstm, self.out = nn.LSTM(9, 5), nn.Linear(5, 3)

        def forward(self, words: Tensor) -> Tensor:
            t, b, n = words.shape
            x = self.embed(words.view(-1, n)).transpose(1, 2)
            x = torch.cat(
                [F.max_pool1d(conv(x).tanh(), n - conv.kernel_size[0] + 1).squeeze(2) for conv in self.convs], 1
            )
            gate = self.gate(x).sigmoid()
            x = gate * F.relu(self.change(x)) + (1 - gate) * x
            return self.out(self.lstm(x.view(t, b, -1))[0])

    model, words, y = Highway(), labels(4, 2, 5, classes=VOCABULARY), labels(4, 2, classes=3)
    return model, lambda: F.cross_entropy(model(words).flatten(0, 1), y.flatten())


@CASES
def adaptive_softmax_language_model() -> Built:
    class Adaptive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(20, 8), nn.RNN(8, 8, nonlinearity="relu", batch_first=True)
            self.loss = nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10], div_value=2.0)

        def forward(self, text: Tensor) -> Tensor:
            return self.loss(self.rnn(self.embed(text[:, :-1]))[0].flatten(0, 1), text[:, 1:].flatten()).loss

    model, text = Adaptive(), labels(2, 9, classes=20)
    return model, lambda: model(text)


@CASES
def word2vec_with_negative_samples() -> Built:
    class SkipGram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.contexts = nn.Embedding(VOCABULARY, 5), nn.Embedding(VOCABULARY, 5)

        def forward(self, centre: Tensor, context: Tensor) -> Tensor:
            noise = torch.multinomial(torch.arange(1.0, VOCABULARY + 1) ** 0.75, centre.numel() * 3, True).view(-1, 3)
            u = self.words(centre)
            near = F.logsigmoid((u * self.contexts(context)).sum(1))
            far = F.logsigmoid(-torch.bmm(self.contexts(noise), u.unsqueeze(2)).squeeze(2)).sum(1)
            return -(near + far).mean()

    model, centre, context = SkipGram(), labels(6, classes=VOCABULARY), labels(6, classes=VOCABULARY)
    return model, lambda: model(centre, context)


@CASES
def tree_lstm() -> Built:
    class TreeLSTM(nn.Module):
        """Child-sum cells over nested tuples of words, by recursion."""

        def __init__(self, dim: int = 4) -> None:
            super().__init__()
            self.embed, self.iou, self.f = nn.Embedding(VOCABULARY, dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
            self.out = nn.Linear(dim, 3)

        def cell(self, tree) -> tuple[Tensor, Tensor]:
            if isinstance(tree, int):
                h = self.embed.weight[tree]
                return h, h * 0
            states = [self.cell(child) for child in tree]
            h, c = (torch.stack(parts) for parts in zip(*states, strict=True))
            i, o, u = self.iou(h.sum(0)).split(h.shape[1])
            c = i.sigmoid() * u.tanh() + (self.f(h).sigmoid() * c).sum(0)
            return o.sigmoid() * c.tanh(), c

        def forward(self, trees: list) -> Tensor:
            return self.out(torch.stack([self.cell(tree)[0] for tree in trees]))

    model, trees, y = TreeLSTM(), [((1, 2), (3, (4, 5))), (6, (7, 1, 2))], labels(2, classes=3)
    return model, lambda: F.cross_entropy(model(trees), y, reduction="sum")


@CASES
def neural_turing_machine() -> Built:
    class Turing(nn.Module):
        """A controller addresses a memory by content, shifts and sharpens the address, erases and adds."""

        def __init__(self, n: int = 5, m: int = 3) -> None:
            super().__init__()
            self.memory, self.controller = nn.Parameter(torch.randn(n, m) * 0.1), nn.LSTMCell(2 + m, 6)
            self.head, self.out = nn.Linear(6, 3 * m + 6), nn.Linear(6 + m, 2)

        def forward(self, x: Tensor) -> Tensor:
            n, m = self.memory.shape
            memory = self.memory.repeat(len(x), 1, 1)
            w, r = torch.full((len(x), n), 1 / n), torch.zeros(len(x), m)
            state, out = None, []
            for step in x.unbind(1):
                state = self.controller(torch.cat([step, r], 1), state)
                k, erase, add, beta, gate, shift, gamma = self.head(state[0]).split([m, m, m, 1, 1, 3, 1], 1)
                content = F.softmax(F.softplus(beta) * F.cosine_similarity(memory, k.unsqueeze(1), dim=-1), 1)
                w = torch.lerp(w, content, gate.sigmoid())
                shift = shift.softmax(1)
                w = sum(shift[:, i : i + 1] * w.roll(i - 1, 1) for i in range(3))
                w = w ** (1 + F.softplus(gamma))
                w = w / (w.sum(1, keepdim=True) + 1e-16)
                memory = memory * (1 - w.unsqueeze(2) * erase.sigmoid().unsqueeze(1)) + w.unsqueeze(2) * add.unsqueeze(
                    1
                )
                r = torch.einsum("bn,bnm->bm", w, memory)
                out.append(self.out(torch.cat([state[0], r], 1)))
            return torch.stack(out, 1)

    model, x = Turing(), (torch.rand(2, 4, 2) > 0.5).double()
    return model, lambda: F.binary_cross_entropy_with_logits(model(x), x.flip(1), pos_weight=torch.tensor([1.0, 2.0]))


@CASES
def memory_network() -> Built:
    class Memory(nn.Module):
        """Several hops over stored sentences, each a bag of words weighted by position; adjacent tying."""

        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList(nn.Embedding(VOCABULARY, 4) for _ in range(3))
            self.times = nn.Parameter(torch.randn(3, 5, 4) * 0.1)

        def forward(self, story: Tensor, question: Tensor) -> Tensor:
            n = story.shape[-1]
            place = 1 - torch.arange(n)[:, None] / n * torch.linspace(0.2, 0.8, 4)
            u = (self.tables[0](question) * place).sum(1)
            for hop in range(2):
                a = (self.tables[hop](story) * place).sum(2) + self.times[hop]
                c = (self.tables[hop + 1](story) * place).sum(2) + self.times[hop + 1]
                u = u + torch.matmul((a @ u.unsqueeze(-1)).squeeze(-1).softmax(-1).unsqueeze(1), c).squeeze(1)
            return u @ self.tables[-1].weight.T

    model, story, question, y = Memory(), labels(2, 5, 3, classes=11), labels(2, 3, classes=11), labels(2, classes=11)
    return model, lambda: F.cross_entropy(model(story, question), y)


@CASES
def reservoir_with_leaky_units() -> Built:
    class Reservoir(nn.Module):
        """Fixed random recurrent weights, kept as a buffer; a learned leak and a learned readout."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.randn(8, 8) * 0.3)
            self.into, self.leak, self.out = nn.Linear(1, 8), nn.Parameter(torch.tensor(0.3)), nn.Linear(8, 1)

        def forward(self, x: Tensor) -> Tensor:
            states = x.new_empty(x.shape[0], x.shape[1] + 1, 8)
            states[:, 0] = 0
            for t in range(x.shape[1]):
                h = states[:, t].clone()
                states[:, t + 1] = (1 - self.leak) * h + self.leak * torch.tanh(self.into(x[:, t]) + h @ self.weight)
            return self.out(states[:, 1:])

    model, x = Reservoir(), torch.linspace(0, 6, 9).sin().view(1, 9, 1)
    return model, lambda: F.mse_loss(model(x[:, :-1]), x[:, 1:])


@CASES
def spiking_network_with_surrogate_gradient() -> Built:
    """Leaky integrate-and-fire units; the step's gradient is that of a fast sigmoid, by a detached difference."""

    class Spiking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out, self.beta = nn.Linear(4, 6), nn.Linear(6, 3), nn.Parameter(torch.tensor(0.8))

        def forward(self, x: Tensor) -> Tensor:
            voltage, total = torch.zeros(x.shape[1], 6), torch.zeros(x.shape[1], 3)
            for step in x:
                voltage = self.beta * voltage + self.hidden(step)
                smooth = (voltage - 1) / (1 + 10 * (voltage - 1).abs())
                spike = (voltage > 1).double() + smooth - smooth.detach()
                voltage = voltage - spike.detach()
                total += self.out(spike)
            return total

    model, x, y = Spiking(), torch.rand(5, 3, 4) * 3, labels(3, classes=3)
    return model, lambda: F.cross_entropy(model(x), y)


# --- sound and time series ----------------------------------------------------------------------------------


class WaveNet(nn.Module):
    """Dilated causal convolutions with gates, residual and skip connections, a condition for each voice."""

    def __init__(self, c: int = 4) -> None:
        super().__init__()
        self.first, self.voice = nn.Conv1d(1, c, 1), nn.Embedding(2, 2 * c)
        self.dilated = nn.ModuleList(nn.Conv1d(c, 2 * c, 2, dilation=2**i) for i in range(3))
        self.both = nn.ModuleList(nn.Conv1d(c, 2 * c, 1) for _ in range(3))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(c, c, 1), nn.ReLU(), nn.Conv1d(c, 8, 1))

    def forward(self, x: Tensor, voice: Tensor) -> Tensor:
        x, skips = self.first(x), 0
        for i, (dilated, both) in enumerate(zip(self.dilated, self.both, strict=True)):
            value, gate = (dilated(F.pad(x, (2**i, 0))) + self.voice(voice).unsqueeze(2)).chunk(2, 1)
            residual, skip = both(value.tanh() * gate.sigmoid()).chunk(2, 1)
            x, skips = (x + residual) * math.sqrt(0.5), skips + skip
        return self.last(skips)


@CASES
def wavenet() -> Built:
    model, x, voice = WaveNet(), torch.randn(2, 1, 12), torch.tensor([0, 1])
    wanted = ((x.tanh() + 1) * 4).long().squeeze(1)
    return model, lambda: F.cross_entropy(model(x, voice)[..., :-1], wanted[:, 1:])


@CASES
def temporal_convolutional_network() -> Built:
    class Chomp(nn.Module):
        def __init__(self, n: int) -> None:
            super().__init__()
            self.n = n

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, : -self.n].contiguous()

    def block(i: int, o: int, dilation: int) -> nn.Module:
        layers = []
        for c in (i, o):
            conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(c, o, 2, padding=dilation, dilation=dilation))
            layers += [conv, Chomp(dilation), nn.ReLU(), nn.Dropout(0.2)]
        return Residual(*layers) if i == o else nn.Sequential(*layers)

    model = nn.Sequential(block(2, 4, 1), block(4, 4, 2), nn.Conv1d(4, 1, 1))
    x, y = torch.randn(2, 2, 10), torch.randn(2, 1, 10)
    return model, lambda: F.mse_loss(model(x), y)


class Speech(nn.Module):
    """Deep Speech 2: convolutions over a spectrogram, a bidirectional GRU, connectionist temporal classification."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 2, 3, (2, 1), 1), nn.BatchNorm2d(2), nn.Hardtanh(0, 20, inplace=True))
        self.gru, self.norm, self.out = nn.GRU(8, 5, bidirectional=True), nn.BatchNorm1d(5), nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).flatten(1, 2).permute(2, 0, 1)
        x, _ = self.gru(x)
        x = x.view(*x.shape[:2], 2, -1).sum(2)
        x = self.norm(x.flatten(0, 1)).view_as(x)
        return self.out(x).log_softmax(-1)


@CASES
def speech_with_ctc() -> Built:
    model, x, y = Speech(), torch.randn(3, 1, 8, 12), 1 + labels(3, 4)
    lengths, targets = torch.tensor([12, 10, 9]), torch.tensor([4, 3, 2])
    return model, lambda: F.ctc_loss(model(x), y, lengths, targets, blank=0, zero_infinity=True)


@CASES
def rnn_transducer() -> Built:
    class Transducer(nn.Module):
        """The sum over all alignments, by dynamic programming over lists."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.predictor = nn.LSTM(3, 4), nn.GRU(5, 4)
            self.embed, self.joint = nn.Embedding(6, 5), nn.Linear(4, 6)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            seen = self.encoder(x)[0]
            said = self.predictor(self.embed(F.pad(y, (1, 0))))[0]
            scores = self.joint(torch.tanh(seen[:, None] + said[None])).log_softmax(-1)
            alpha = [[scores.new_zeros(())] * (len(y) + 1) for _ in range(len(x))]
            for t in range(len(x)):
                for u in range(len(y) + 1):
                    ways = []
                    if t > 0:
                        ways.append(alpha[t - 1][u] + scores[t - 1, u, 0])
                    if u > 0:
                        ways.append(alpha[t][u - 1] + scores[t, u - 1, y[u - 1]])
                    if ways:
                        alpha[t][u] = torch.logaddexp(*ways) if len(ways) == 2 else ways[0]
            return -(alpha[-1][-1] + scores[-1, -1, 0])

    model, x, y = Transducer(), torch.randn(5, 3), 1 + labels(3)
    return model, lambda: model(x, y)


@CASES
def conv_tasnet() -> Built:
    class Separator(nn.Module):
        """A learned filter bank, masks for two voices, overlap-add; the loss takes the better permutation."""

        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Conv1d(1, 6, 4, 2, bias=False), nn.ConvTranspose1d(6, 1, 4, 2, bias=False)
            self.masks = nn.Sequential(
                nn.GroupNorm(1, 6), nn.Conv1d(6, 6, 3, padding=1), nn.PReLU(), nn.Conv1d(6, 12, 1)
            )

        def forward(self, x: Tensor) -> Tensor:
            w = F.relu(self.encode(x))
            masked = self.masks(w).view(len(x), 2, 6, -1).sigmoid() * w.unsqueeze(1)
            return self.decode(masked.flatten(0, 1)).view(len(x), 2, -1)

    def ratio(made: Tensor, wanted: Tensor) -> Tensor:
        made, wanted = made - made.mean(-1, keepdim=True), wanted - wanted.mean(-1, keepdim=True)
        along = (made * wanted).sum(-1, keepdim=True) / wanted.square().sum(-1, keepdim=True) * wanted
        return 10 * torch.log10(along.square().sum(-1) / (made - along).square().sum(-1))

    model, voices = Separator(), torch.randn(2, 2, 16)

    def loss() -> Tensor:
        made = model(voices.sum(1, keepdim=True))
        return -torch.stack([ratio(made, voices).mean(1), ratio(made, voices.flip(1)).mean(1)]).amax(0).mean()

    return model, loss


@CASES
def vocoder_with_spectral_losses() -> Built:
    """HiFi-GAN: transposed convolutions with weight_norm, kernels of several sizes, losses over spectrograms."""

    class Vocoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            norm = nn.utils.parametrizations.weight_norm
            self.up = norm(nn.ConvTranspose1d(3, 4, 4, 2, 1))
            self.kernels = nn.ModuleList(norm(nn.Conv1d(4, 4, k, padding=k // 2)) for k in (3, 5))
            self.out = nn.Conv1d(4, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.up(F.leaky_relu(x, 0.1))
            x = sum(x + conv(F.leaky_relu(x, 0.1)) for conv in self.kernels) / 2
            return torch.tanh(self.out(F.leaky_relu(x)))

    model, x, y = Vocoder(), torch.randn(2, 3, 16), torch.randn(2, 32)

    def loss() -> Tensor:
        made, total = model(x).squeeze(1), 0.0
        for n in (8, 16):
            options = {"n_fft": n, "hop_length": n // 4, "window": torch.hann_window(n), "return_complex": True}
            a, b = torch.stft(made, **options).abs(), torch.stft(y, **options).abs()
            total = total + (a - b).norm() / b.norm() + F.l1_loss((a + 1e-5).log(), (b + 1e-5).log())
        return total

    return model, loss


@CASES
def spectral_mask_enhancer() -> Built:
    class Enhancer(nn.Module):
        """Multiplies a spectrogram by a complex mask and goes back to samples by the inverse transform."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", torch.hann_window(8))
            self.gru, self.mask = nn.GRU(10, 6, batch_first=True), nn.Linear(6, 10)

        def forward(self, x: Tensor) -> Tensor:
            spectrum = torch.stft(x, 8, 4, window=self.window, return_complex=True)
            features = torch.view_as_real(spectrum).permute(0, 2, 1, 3).flatten(2)
            mask = self.mask(self.gru(features)[0]).unflatten(-1, (5, 2)).permute(0, 2, 1, 3).contiguous()
            return torch.istft(
                spectrum * torch.view_as_complex(mask.tanh()), 8, 4, window=self.window, length=x.shape[-1]
            )

    model, x, y = Enhancer(), torch.randn(2, 24), torch.randn(2, 24)
    return model, lambda: F.mse_loss(model(x), y)


@CASES
def nbeats() -> Built:
    class Blocks(nn.Module):
        """Doubly residual stacks over a polynomial and a Fourier basis."""

        def __init__(self, back: int = 8, ahead: int = 4) -> None:
            super().__init__()
            self.trunks = nn.ModuleList(nn.Sequential(nn.Linear(back, 8), nn.ReLU(), nn.Linear(8, 6)) for _ in range(2))
            t = torch.linspace(-1, 1, back + ahead)
            self.register_buffer("trend", torch.stack([t**i for i in range(3)]))
            self.register_buffer("season", torch.stack([(3 * t).cos(), (3 * t).sin(), (6 * t).cos()]))
            self.back = back

        def forward(self, x: Tensor) -> Tensor:
            forecast: Tensor | float = 0.0
            for trunk, basis in zip(self.trunks, (self.trend, self.season), strict=True):
                past, future = trunk(x).split(3, -1)
                x = x - past @ basis[:, : self.back]
                forecast = forecast + future @ basis[:, self.back :]
            return forecast

    model, x, y = Blocks(), torch.randn(3, 8), torch.randn(3, 4)

    def loss() -> Tensor:
        made = model(x)
        return (2 * (made - y).abs() / (made.abs() + y.abs() + 1e-8)).mean()

    return model, loss


@CASES
def deepar_with_quantile_loss() -> Built:
    class DeepAR(nn.Module):
        """An autoregressive forecast, scaled by the mean of its past, with a Student t likelihood."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(1, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> tuple[torch.distributions.StudentT, Tensor]:
            scale = 1 + x.abs().mean(1, keepdim=True)
            df, loc, width = self.out(self.lstm((x / scale).unsqueeze(-1))[0]).unbind(-1)
            return torch.distributions.StudentT(2 + F.softplus(df), loc * scale, F.softplus(width) * scale), loc * scale

    model, x = DeepAR(), torch.randn(3, 7)

    def loss() -> Tensor:
        t, middle = model(x[:, :-1])
        off = x[:, 1:] - middle
        return -t.log_prob(x[:, 1:]).mean() + torch.maximum(0.9 * off, -0.1 * off).mean()

    return model, loss


@CASES
def autoformer() -> Built:
    class AutoCorrelation(nn.Module):
        """Attention over lags: correlations by the FFT, the best lags roll the values; trends by a moving mean."""

        def __init__(self, dim: int = 4) -> None:
            super().__init__()
            self.into, self.qkv, self.out = nn.Linear(1, dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, 1)

        def forward(self, x: Tensor) -> Tensor:
            trend = F.avg_pool1d(F.pad(x.mT, (2, 2), mode="replicate"), 5, stride=1).mT
            q, k, v = self.qkv(self.into(x - trend)).chunk(3, -1)
            spectrum = torch.fft.rfft(q, dim=1) * torch.conj(torch.fft.rfft(k, dim=1))
            score = torch.fft.irfft(spectrum, n=x.shape[1], dim=1).mean(-1)
            weights, lags = score.topk(2, dim=1)
            at = (torch.arange(x.shape[1])[None, :, None] + lags[:, None]) % x.shape[1]
            rolled = v.unsqueeze(2).expand(-1, -1, 2, -1).gather(1, at.unsqueeze(-1).expand(-1, -1, -1, v.shape[-1]))
            return self.out((rolled * weights.softmax(1)[:, None, :, None]).sum(2)) + trend

    model, x = AutoCorrelation(), torch.randn(2, 10, 1)
    return model, lambda: F.mse_loss(model(x), x.roll(-1, 1))


@CASES
def padded_sentences_in_an_embedding_bag() -> Built:
    """fastText: a mean of word vectors, with padding and with weights for each word."""

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.EmbeddingBag(VOCABULARY, 4, mode="mean", padding_idx=0)
            self.weighted, self.weights = nn.EmbeddingBag(VOCABULARY, 4, mode="sum"), nn.Embedding(VOCABULARY, 1)
            self.largest, self.out = nn.EmbeddingBag(VOCABULARY, 4, mode="max"), nn.Linear(12, 3)

        def forward(self, text: Tensor) -> Tensor:
            scores = self.weights(text).squeeze(-1).sigmoid()
            bags = [self.mean(text), self.weighted(text, per_sample_weights=scores), self.largest(text)]
            return self.out(torch.cat(bags, 1))

    model, y = Bag(), labels(3, classes=3)
    text = pad_sequence([1 + labels(n, classes=10) for n in (5, 2, 4)], batch_first=True)
    return model, lambda: F.cross_entropy(model(text), y)
