"""Operations over a sequence: a layer of an LSTM, packed sequences, the CTC loss, bags of embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.backprop.rules.shapes import zeros_for_none
from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
SEQUENCES = Family()


# --- LSTM ---------------------------------------------------------------------------------------------------


@SEQUENCES.vjp(
    aten.mkldnn_rnn_layer.default,
    "iₜ, fₜ, oₜ = σ(aₜ) and zₜ = tanh(aₜ) with aₜ = W·xₜ + R·hₜ₋₁ + b;  cₜ = fₜ·cₜ₋₁ + iₜ·zₜ;  hₜ = oₜ·tanh cₜ",
    "backwards in time: ∂L/∂cₜ = ∂L/∂hₜ·oₜ·(1 − tanh² cₜ) + ∂L/∂cₜ₊₁·fₜ₊₁;  ∂L/∂hₜ = gₜ + Rᵀ·∂L/∂aₜ₊₁",
    reads="y x w r b_x b_h hx cx",
)
def lstm_layer(
    g, y, x, w, r, b_x, b_h, hx, cx, reverse, batch_sizes, mode, hidden_size, num_layers, has_biases, *settings
):
    """One layer in one direction over a whole batch (S. Hochreiter, J. Schmidhuber, 1997; F. Gers et al., 2000).

    Every hₜ₋₁ stands in the output, so that all the gates come from one product; only the cells, which are not
    among the outputs, run through time again. With δc = ∂L/∂cₜ and δh = ∂L/∂hₜ the inputs of i, f, z, o get

        ∂L/∂aₜ = δc·zₜ·iₜ(1 − iₜ),   δc·cₜ₋₁·fₜ(1 − fₜ),   δc·iₜ·(1 − zₜ²),   δh·tanh cₜ·oₜ(1 − oₜ)

    whose factors are known before the loop; the loop carries δc·fₜ and Rᵀ·∂L/∂aₜ back. From aₜ on it is a linear
    layer: ∂L/∂xₜ = Wᵀ·∂L/∂aₜ, and sums over time of ∂L/∂aₜ·xₜᵀ, ∂L/∂aₜ·hₜ₋₁ᵀ and ∂L/∂aₜ for W, R and b.

    Whatever the module's settings, PyTorch calls the operation for an LSTM only (``mode``), with time first, and
    never for a packed sequence (``batch_sizes`` is empty); in reverse it runs from the last step to the first.
    """
    g_out, g_h, g_c = zeros_for_none(g[:3], y[:3])
    if reverse:
        x, out, g_out = x.flip(0), y[0].flip(0), g_out.flip(0)
    else:
        out = y[0]
    before = torch.cat([hx.unsqueeze(0), out[:-1]])
    a = x @ w.mT + before @ r.mT
    i, f, z, o = (a + (b_x + b_h) if has_biases else a).chunk(4, -1)
    i, f, z, o = i.sigmoid(), f.sigmoid(), z.tanh(), o.sigmoid()
    c = _cells(cx, f, i * z)
    squashed = c[1:].tanh()
    local = torch.stack([z * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - z * z), squashed * o * (1 - o)], 2)
    da, dh, dc = _back_through_time(g_out, g_h, g_c, local, o * (1 - squashed * squashed), f, r)
    rows = da.flatten(0, 1)

    def to_x():
        dx = da @ w
        return dx.flip(0) if reverse else dx

    to_bias = (lambda: rows.sum(0)) if has_biases else None
    return (
        to_x,
        lambda: rows.mT @ x.flatten(0, 1),
        lambda: rows.mT @ before.flatten(0, 1),
        to_bias,
        to_bias,
        dh,
        dc,
    )


def _cells(start: Tensor, forget: Tensor, written: Tensor) -> Tensor:
    """c₀, c₁, … with cₜ = fₜ·cₜ₋₁ + what is written at t."""
    cells = [start]
    for f, new in zip(forget.unbind(0), written.unbind(0), strict=True):
        cells.append(torch.addcmul(new, f, cells[-1]))
    return torch.stack(cells)


def _back_through_time(
    g_out: Tensor, dh: Tensor, dc: Tensor, local: Tensor, into_cell: Tensor, forget: Tensor, r: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """∂L/∂aₜ for every t, ∂L/∂h₀ and ∂L/∂c₀."""
    each = zip(g_out.unbind(0), local.unbind(0), into_cell.unbind(0), forget.unbind(0), strict=True)
    inputs = []
    for g, factors, through_h, f in reversed(list(each)):
        dh = dh + g
        dc = torch.addcmul(dc, dh, through_h)
        da = (torch.stack([dc, dc, dc, dh], 1) * factors).flatten(1)
        inputs.append(da)
        dh, dc = da @ r, dc * f
    return torch.stack(inputs[::-1]), dh, dc


# --- packed sequences ---------------------------------------------------------------------------------------


@SEQUENCES.vjp(
    aten._pack_padded_sequence.default,
    "y = the entries of all sequences without their padding, time by time; with how many go on at each time",
    "1 where an entry went, 0 for padding",
    reads="y",
)
def pack_padded_sequence(g, y, x, lengths, batch_first):
    """The longest sequence comes first, so that at each time those that go on are the first ones of the batch."""
    times, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    going_on = torch.arange(batch) < y[1].unsqueeze(1)
    places = going_on.flatten().nonzero().squeeze(1).to(g[0].device)
    padded = g[0].new_zeros(times * batch, *x.shape[2:]).index_add(0, places, g[0]).unflatten(0, (times, batch))
    return padded.transpose(0, 1) if batch_first else padded


# --- CTC ----------------------------------------------------------------------------------------------------


@SEQUENCES.vjp(
    (aten._ctc_loss.default, aten._ctc_loss.Tensor),
    "y = −ln p(target) = −ln Σ Πₜ yₜ(πₜ) over the paths π that read as the target; with ln αₜ(s)",
    "exp xₜₖ − Σ γₜ(s) over the states s with label k, γₜ(s) = αₜ(s)·βₜ(s)/p(target)",
    reads="y log_probs targets input_lengths target_lengths",
)
def ctc_loss(g, y, log_probs, targets, input_lengths, target_lengths, blank=0, zero_infinity=False):
    """The forward-backward algorithm (A. Graves et al., 2006), in logarithms.

    The states are the target's labels with a blank around each. A path stays, goes one state on, or skips a blank
    between two different labels. αₜ(s) is the probability of being in s at time t after emitting the labels up to
    t; βₜ(s) that of emitting the rest from there:

        βₜ(s) = Σ βₜ₊₁(s′)·yₜ₊₁(label of s′) over the states s′ that s leads to;  1 at the end, in the last two states

    so that γₜ(s) = αₜ(s)·βₜ(s)/p is the probability of being in s at time t, given the target, and −Σ γₜ(s) over
    the states with label k is ∂y/∂xₜₖ for free x = ln y. But the x of one time are logarithms of probabilities that
    sum to 1, and a small change within that constraint does not see a multiple of exp x. Autograd adds exp x, after
    which the gradient sums to 0 over the labels: it is the one of the logits, before their log_softmax. So do we.
    """
    x = log_probs if log_probs.dim() == 3 else log_probs.unsqueeze(1)
    loss, alpha = y[0].reshape(-1, 1, 1), y[1].reshape(x.shape[1], *y[1].shape[-2:])
    ends, sizes = _lengths(input_lengths, x), _lengths(target_lengths, x)
    labels = _with_blanks(targets, sizes, alpha.shape[-1] // 2, blank)
    everywhere = labels.unsqueeze(1).expand(-1, x.shape[0], -1)
    x = x.transpose(0, 1)
    beta = _rest_of_paths(x.gather(2, everywhere), labels, ends, sizes, blank)
    gamma = torch.where(beta == -math.inf, 0, (alpha + beta + loss).exp())
    local = x.exp() - torch.zeros_like(x).scatter_add(2, everywhere, gamma)
    local = torch.where(loss == math.inf, 0 if zero_infinity else math.nan, local)  # no path fits into the time
    counted = torch.arange(x.shape[1], device=x.device) < ends.unsqueeze(1)
    gradient = torch.where(counted.unsqueeze(2), g[0].reshape(-1, 1, 1) * local, 0)
    return gradient.transpose(0, 1).reshape(log_probs.shape)


def _lengths(lengths: Tensor | list[int], x: Tensor) -> Tensor:
    return torch.as_tensor(lengths, device=x.device, dtype=torch.long).reshape(-1)


def _with_blanks(targets: Tensor, sizes: Tensor, longest: int, blank: int) -> Tensor:
    """blank, label, blank, …, label, blank for each target, filled up with blanks; targets may stand in one row."""
    place = torch.arange(longest, device=targets.device)
    used = place < sizes.unsqueeze(1)
    if targets.dim() == 1:
        place = place + (sizes.cumsum(0) - sizes).unsqueeze(1)
    else:
        place = place + targets.shape[1] * torch.arange(len(sizes), device=targets.device).unsqueeze(1)
    labels = torch.where(used, targets.reshape(-1).take(torch.where(used, place, 0)).long(), blank)
    blanks = torch.full_like(labels, blank)
    return aten.constant_pad_nd(torch.stack([blanks, labels], 2).flatten(1), [0, 1], blank)


def _rest_of_paths(emitted: Tensor, labels: Tensor, ends: Tensor, sizes: Tensor, blank: int) -> Tensor:
    """ln βₜ(s), from the logarithms of what each state emits at each time (batch × time × states)."""
    states = torch.arange(labels.shape[1], device=labels.device)
    is_last = (states == 2 * sizes.unsqueeze(1)) | (states == 2 * sizes.unsqueeze(1) - 1)
    last = torch.where(is_last, 0.0, -math.inf).to(emitted.dtype)
    later = aten.constant_pad_nd(labels, [0, 2], blank)[:, 2:]
    may_skip = (later != blank) & (later != labels)
    nothing = torch.full_like(last, -math.inf)
    beta, found = nothing, list[Tensor]()
    for t in reversed(range(emitted.shape[1])):
        if found:
            on = aten.constant_pad_nd(beta + emitted[:, t + 1], [0, 2], -math.inf)
            ways = [on[:, :-2], on[:, 1:-1], torch.where(may_skip, on[:, 2:], -math.inf)]
            beta = torch.stack(ways).logsumexp(0)
        beta = torch.where((ends == t + 1).unsqueeze(1), last, beta)
        found.append(beta)
    return torch.stack(found[::-1], 1)


# --- bags of embeddings -------------------------------------------------------------------------------------

SUM, MEAN, MAX = 0, 1, 2


@SEQUENCES.vjp(
    (aten._embedding_bag.default, aten._embedding_bag_forward_only.default),
    "y = Σ wₙ·W[iₙ], the mean, or the largest entries of the rows of each bag, without the padding row",
    "∂y/∂W = wₙ (mean: 1/n; largest: 1 where it came from) in row iₙ, ∂y/∂wₙ = W[iₙ]",
    reads="y table indices offsets weights",
)
def embedding_bag(
    g, y, table, indices, offsets, scale_grad_by_freq=False, mode=SUM, sparse=False, weights=None, *options
):
    """A bag begins at its offset and ends where the next one begins; there may be an offset for the last end too.

    The operation's last two outputs are the bags' sizes without padding, and for each largest entry its row.
    """
    padding = options[1] if len(options) > 1 else -1
    g, indices = g[0], indices.long()
    if mode == MAX:
        filled = torch.where((y[2] > 0).unsqueeze(1), g, 0)
        return g.new_zeros(table.shape).scatter_add(0, y[3].long(), filled)
    entries = torch.arange(len(indices), device=g.device)
    bags = (torch.searchsorted(offsets.long(), entries, right=True) - 1).clamp(max=len(g) - 1)
    counted = indices != padding
    rows = torch.where(counted.unsqueeze(1), g[bags], 0)

    def to_table():
        factor = torch.ones_like(rows[:, 0]) if weights is None else weights
        if mode == MEAN:
            factor = factor / y[2][bags]
        if scale_grad_by_freq:
            factor = factor / torch.bincount(indices)[indices]
        return g.new_zeros(table.shape).index_add(0, indices, torch.where(counted, factor, 0).unsqueeze(1) * rows)

    return to_table, None, None, lambda: (rows * table[indices]).sum(1)
