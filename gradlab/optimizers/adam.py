"""Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gradlab.optimizers.base import Handwritten, Setting, check_fraction, check_not_negative


class Adam(Handwritten):
    """Adam, entry by entry, from m = v = 0; t counts the steps from 1:

        m ← β₁ m + (1 − β₁) g         the mean of the last gradients
        v ← β₂ v + (1 − β₂) g²        the mean of their squares
        m̂ = m / (1 − β₁ᵗ)             without the pull of the start at 0
        v̂ = v / (1 − β₂ᵗ)
        θ ← θ − η m̂ / (√v̂ + ε)

    Where all gradients are alike, m = (1 − β₁ᵗ) g: hence the divisions. The first step is η in every entry, whatever
    the gradient's size, since then m̂ / √v̂ = ±1. ``torch.optim.Adam`` is the same, without its ``amsgrad``.

    Args:
        params, lr, weight_decay, maximize: as in `Handwritten`.
        betas: β₁ and β₂, the shares that are kept of m and of v, each at least 0 and below 1.
        eps: ε, which keeps the quotient finite where every gradient was 0.

    References:
        D. P. Kingma, J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980, algorithm 1.
    """

    def __init__(
        self,
        params: Any,
        lr: Setting = 1e-3,
        betas: Sequence[Setting] = (0.9, 0.999),
        eps: Setting = 1e-8,
        weight_decay: Setting = 0.0,
        maximize: bool = False,
    ) -> None:
        if len(betas) != 2:
            raise ValueError(
                f"betas={list(betas)}: there are two, β₁ and β₂; for the members of a population give a list for each, "
                "such as [[0.9,0.8],[0.999,0.999]]"
            )
        first, second = betas
        check_fraction(**{"betas[0]": first, "betas[1]": second})
        check_not_negative(eps=eps)
        super().__init__(params, lr, weight_decay, maximize, betas=(first, second), eps=eps)

    def update(self, p: Tensor, g: Tensor, memory: dict[str, Any], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        t = memory["t"] = memory.get("t", 0) + 1
        memory["m"] = m = first * memory.get("m", 0.0) + (1 - first) * g
        memory["v"] = v = second * memory.get("v", 0.0) + (1 - second) * g * g
        p -= group["lr"] * (m / (1 - first**t)) / ((v / (1 - second**t)).sqrt() + group["eps"])
