"""Adagrad."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradlab.optimizers.base import Handwritten, Setting, check_not_negative


class Adagrad(Handwritten):
    """Adagrad: s ← s + g², θ ← θ − η g / (√s + ε), entry by entry, from s = 0.

    An entry that has had large gradients gets small steps, one that is rarely reached keeps large ones. s only grows,
    so steps shrink as 1/√t even where they should not. ``torch.optim.Adagrad`` is the same, without its ``lr_decay``.

    Args:
        params, lr, weight_decay, maximize: as in `Handwritten`.
        eps: ε, which keeps the quotient finite where every gradient was 0.

    References:
        J. Duchi, E. Hazan, Y. Singer, *Adaptive subgradient methods for online learning and stochastic
        optimization*, JMLR 12, 2011.
    """

    def __init__(
        self, params: Any, lr: Setting = 1e-2, eps: Setting = 1e-10, weight_decay: Setting = 0.0, maximize: bool = False
    ) -> None:
        check_not_negative(eps=eps)
        super().__init__(params, lr, weight_decay, maximize, eps=eps)

    def update(self, p: Tensor, g: Tensor, memory: dict[str, Any], group: dict[str, Any]) -> None:
        memory["s"] = s = memory.get("s", 0.0) + g * g
        p -= group["lr"] * g / (s.sqrt() + group["eps"])
