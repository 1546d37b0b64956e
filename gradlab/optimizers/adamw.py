"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gradlab.optimizers.adam import Adam
from gradlab.optimizers.base import Setting


class AdamW(Adam):
    """AdamW: θ ← θ − η λ θ, and then the step of Adam, whose g knows nothing of the decay.

    In `Adam` the decay λθ is part of g, and so gets divided by √v̂: weights with large gradients decay less. Here every
    weight shrinks by the same share η λ. ``decay`` is all in which the two differ. ``torch.optim.AdamW`` is the same,
    without its ``amsgrad``.

    Args:
        params, lr, betas, eps, maximize: as in `Adam`.
        weight_decay: λ, at least 0.

    References:
        I. Loshchilov, F. Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101, algorithm 2;
        with torch.optim's λ, which is scaled by η.
    """

    def __init__(
        self,
        params: Any,
        lr: Setting = 1e-3,
        betas: Sequence[Setting] = (0.9, 0.999),
        eps: Setting = 1e-8,
        weight_decay: Setting = 1e-2,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize)

    def decay(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        p -= group["lr"] * group["weight_decay"] * p
        return g
