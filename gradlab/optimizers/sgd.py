"""Gradient descent."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradlab.optimizers.base import Handwritten, Setting


class Sgd(Handwritten):
    """Gradient descent, θ ← θ − η g.

    Against the gradient is the direction in which the loss falls fastest, to first order; η says how far.
    ``torch.optim.SGD`` is the same. *Stochastic* it is by its g, the gradient of a batch in place of all data.

    Args:
        params, lr, weight_decay, maximize: as in `Handwritten`.

    References:
        A.-L. Cauchy, *Méthode générale pour la résolution des systèmes d'équations simultanées*, 1847;
        H. Robbins, S. Monro, *A stochastic approximation method*, Annals of Mathematical Statistics 22(3), 1951.
    """

    def __init__(self, params: Any, lr: Setting = 1e-3, weight_decay: Setting = 0.0, maximize: bool = False) -> None:
        super().__init__(params, lr, weight_decay, maximize)

    def update(self, p: Tensor, g: Tensor, memory: dict[str, Any], group: dict[str, Any]) -> None:
        p -= group["lr"] * g
