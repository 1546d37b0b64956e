"""RMSprop."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradlab.optimizers.base import Handwritten, Setting, check_fraction, check_not_negative


class Rmsprop(Handwritten):
    """RMSprop: s ← α s + (1 − α) g², θ ← θ − η g / (√s + ε), entry by entry, from s = 0.

    Adagrad with a memory that fades: √s is the root mean square of about the last 1/(1 − α) gradients. Where they
    stay of one size, each entry moves by about η a step, whatever that size. At the start s is too small, and steps
    up to 1/√(1 − α) times too large: what Adam corrects. ``torch.optim.RMSprop`` is the same, without its ``momentum``
    and ``centered``.

    Args:
        params, lr, weight_decay, maximize: as in `Handwritten`.
        alpha: α, the share that is kept of s, 0 ≤ α < 1.
        eps: ε, which keeps the quotient finite where every gradient was 0.

    References:
        T. Tieleman, G. Hinton, *Neural networks for machine learning*, lecture 6.5, Coursera, 2012.
    """

    def __init__(
        self,
        params: Any,
        lr: Setting = 1e-2,
        alpha: Setting = 0.99,
        eps: Setting = 1e-8,
        weight_decay: Setting = 0.0,
        maximize: bool = False,
    ) -> None:
        check_fraction(alpha=alpha)
        check_not_negative(eps=eps)
        super().__init__(params, lr, weight_decay, maximize, alpha=alpha, eps=eps)

    def update(self, p: Tensor, g: Tensor, memory: dict[str, Any], group: dict[str, Any]) -> None:
        alpha = group["alpha"]
        memory["s"] = s = alpha * memory.get("s", 0.0) + (1 - alpha) * g * g
        p -= group["lr"] * g / (s.sqrt() + group["eps"])
