"""Gradient descent with momentum."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradlab.optimizers.base import Handwritten, Setting, check_fraction


class Momentum(Handwritten):
    """Momentum: v ← μ v + g, θ ← θ − η v, from v = 0.

    v remembers past gradients, the last one most: along a valley they add up, to g / (1 − μ) where g stays the same;
    across it they cancel. ``torch.optim.SGD(momentum=μ)`` is the same. Polyak and many after him write
    v ← μ v − η g, θ ← θ + v, which is another rule only where η changes during the run.

    Args:
        params, lr, weight_decay, maximize: as in `Handwritten`.
        momentum: μ, the share that is kept of v, 0 ≤ μ < 1.

    References:
        B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, USSR Computational
        Mathematics and Mathematical Physics 4(5), 1964.
    """

    def __init__(
        self,
        params: Any,
        lr: Setting = 1e-3,
        momentum: Setting = 0.9,
        weight_decay: Setting = 0.0,
        maximize: bool = False,
    ) -> None:
        check_fraction(momentum=momentum)
        super().__init__(params, lr, weight_decay, maximize, momentum=momentum)

    def update(self, p: Tensor, g: Tensor, memory: dict[str, Any], group: dict[str, Any]) -> None:
        memory["v"] = v = group["momentum"] * memory.get("v", 0.0) + g
        p -= group["lr"] * v
