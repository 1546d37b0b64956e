"""Statistics of gradients, for many steps at once and without a look at the numbers on the way.

Each function takes the gradients of one parameter at n steps as the rows of a tensor and returns tensors on the same
device, so that many steps and parameters need one transfer. Large gradients are the
business of `pieces`.

Infinities and NaN follow arithmetic: the norm of a gradient that holds a NaN is NaN. `nonfinite` counts them.
"""

from __future__ import annotations

import torch
from torch import Tensor

FIELDS = ("l2", "linf", "rms", "mean", "std", "min", "max", "zeros", "nonfinite")


def wide(rows: Tensor) -> Tensor:
    """In double precision, so that squares neither overflow nor cancel; single where the device has no double."""
    real = torch.view_as_real(rows).flatten(1) if rows.is_complex() else rows
    return real.to(wide_type(rows.device))


def wide_type(device: torch.device) -> torch.dtype:
    """What `wide` makes of floating numbers on a device."""
    return torch.float32 if device.type == "mps" else torch.float64


def statistics(rows: Tensor) -> Tensor:
    """Nine numbers for each row.

    Args:
        rows: [n, m] with m ≥ 1, from `wide`.

    Returns:
        [n, 9]: L2 norm, L∞ norm, root mean square (L2/√m), mean, standard deviation (divided by m), least and
        greatest entry, fraction of exact zeros, fraction of entries that are NaN or infinite.

    Example:
        >>> values = statistics(torch.tensor([[3.0, -4.0, 0.0]]).double())[0].tolist()
        >>> [(name, round(value, 3)) for name, value in zip(FIELDS, values)][:5]
        [('l2', 5.0), ('linf', 4.0), ('rms', 2.887), ('mean', -0.333), ('std', 2.867)]
    """
    count = rows.shape[1]
    l2 = torch.linalg.vector_norm(rows, dim=1)
    low, high = rows.amin(1), rows.amax(1)  # in a tenth of aminmax's time
    mean = rows.mean(1)
    std = torch.linalg.vector_norm(rows - mean.unsqueeze(1), dim=1) / count**0.5
    zeros = (rows == 0).sum(1).to(rows.dtype) / count
    nonfinite = (
        torch.zeros_like(l2) if _are_finite(low, high) else (~torch.isfinite(rows)).sum(1, dtype=rows.dtype) / count
    )
    return torch.stack([l2, torch.maximum(-low, high), l2 / count**0.5, mean, std, low, high, zeros, nonfinite], dim=1)


def histogram(rows: Tensor, bars: int, extremes: Tensor | None = None) -> Tensor:
    """Counts between each row's least and greatest finite entry.

    Args:
        rows: [n, m], from `wide`.
        bars: how many of equal width.
        extremes: [n, 2], each row's least and greatest entry, where they are known.

    Returns:
        [n, 2 + bars]: lowest edge, highest edge, counts of the finite entries. A row whose entries are all equal has
        its bars around that number; the edges are NaN where nothing is finite.

    Example:
        >>> histogram(torch.tensor([[0.0, 1.0, 1.0, 4.0]]).double(), 4).tolist()
        [[0.0, 4.0, 1.0, 2.0, 0.0, 1.0]]
    """
    if extremes is None:
        extremes = torch.stack([rows.amin(1), rows.amax(1)], dim=1)
    low, high = extremes.split(1, dim=1)
    finite = None
    if not _are_finite(low, high):
        finite = torch.isfinite(rows)
        low = torch.where(finite, rows, torch.inf).amin(1, keepdim=True)
        high = torch.where(finite, rows, -torch.inf).amax(1, keepdim=True)
    margin = torch.where(low == high, (low.abs() * 1e-3).clamp_min(1e-12), 0)
    low, high = low - margin, high + margin
    place = (rows - low).mul_(bars / (high - low)).clamp_(0, bars - 1)
    if finite is not None:
        place.masked_fill_(~finite, bars)  # a bar of its own beyond the last, which is then left out
    place = place.long() + torch.arange(len(rows), device=rows.device).unsqueeze(1) * (bars + 1)
    counts = torch.bincount(place.flatten(), minlength=len(rows) * (bars + 1)).view(len(rows), -1)[:, :bars]
    edges = torch.cat([low, high], 1)
    if finite is not None:
        edges = edges.masked_fill(~finite.any(1, keepdim=True), torch.nan)
    return torch.cat([edges, counts.to(rows.dtype)], 1)


def _are_finite(low: Tensor, high: Tensor) -> bool:
    """Whether all extremes are known to be finite; only a CPU can be asked without making it wait."""
    return low.device.type == "cpu" and bool(torch.isfinite(low).all()) and bool(torch.isfinite(high).all())


def cosine(rows: Tensor, previous: Tensor, norms: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """The cosine of the angle between rows; NaN where one of them is zero or not finite.

    Args:
        rows, previous: [n, m].
        norms: the L2 norms of either's rows, where they are known.

    Example:
        >>> cosine(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[2.0, 0.0], [-3.0, -4.0]]))
        tensor([ 1., -1.])
    """
    if norms is None:
        norms = torch.linalg.vector_norm(rows, dim=1), torch.linalg.vector_norm(previous, dim=1)
    return (rows * previous).sum(1) / norms[0] / norms[1]


def ratio(before: Tensor, after: Tensor) -> Tensor:
    """‖after − before‖ / ‖before‖ for each row: how far an update moved the weights, beside their size.

    Example:
        >>> ratio(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.5]]))
        tensor([0.1000])
    """
    return torch.linalg.vector_norm(after - before, dim=1) / torch.linalg.vector_norm(before, dim=1)
