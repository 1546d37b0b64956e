"""Nesterov's momentum."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradlab.optimizers.momentum import Momentum


class Nesterov(Momentum):
    """Nesterov's momentum: v ← μ v + g, θ ← θ − η (g + μ v), from v = 0.

    Nesterov takes the gradient where the momentum is about to carry θ, at θ − η μ v. Written for that point in place
    of θ, the rule is the line above, and g the gradient at the point that the parameters hold (Sutskever et al.).
    ``torch.optim.SGD(momentum=μ, nesterov=True)`` is the same.

    Args:
        params, lr, momentum, weight_decay, maximize: as in `Momentum`.

    References:
        Y. Nesterov, *A method for solving the convex programming problem with convergence rate O(1/k²)*, Soviet
        Mathematics Doklady 27(2), 1983; I. Sutskever et al., *On the importance of initialization and momentum in
        deep learning*, ICML 2013.
    """

    def update(self, p: Tensor, g: Tensor, memory: dict[str, Any], group: dict[str, Any]) -> None:
        memory["v"] = v = group["momentum"] * memory.get("v", 0.0) + g
        p -= group["lr"] * (g + group["momentum"] * v)
