"""Softmax and logarithm computed one after the other in float32, against both in one, as the label falls behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-8  # what people add so that the logarithm never sees 0
LABEL = 1  # of the two classes


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute the cross entropy of two logits (lead, 0) with the label on the second one.

    Attributes:
        name: in a few words.
        losses, gradients: the loss and its derivative by the label's logit at each lead, as float32 has them, [n].
    """

    name: str
    losses: np.ndarray
    gradients: np.ndarray

    def fails_from(self, leads: np.ndarray) -> float:
        """The first lead at which the gradient is not finite; NaN where it always is."""
        broken = ~np.isfinite(self.gradients)
        return float(leads[broken.argmax()]) if broken.any() else math.nan


@dataclass(frozen=True, slots=True)
class Apart:
    """All ways over all leads.

    Attributes:
        leads: by how much the wrong class leads, [n].
        losses, gradients: what is true, in closed form and float64, [n].
        ways: in float32.
    """

    leads: np.ndarray
    losses: np.ndarray
    gradients: np.ndarray
    ways: list[Way]


def by_hand(z: Tensor) -> Tensor:
    """e^z, divided by its sum, then the logarithm: [..., C] to [...]."""
    e = z.exp()
    return -(e / e.sum(-1, keepdim=True)).log()[..., LABEL]


def softmax_then_log(z: Tensor) -> Tensor:
    """torch's softmax, which subtracts the largest logit first, then the logarithm."""
    return -z.softmax(-1).log()[..., LABEL]


def softmax_then_safe_log(z: Tensor) -> Tensor:
    """As before, with a small number added that keeps the logarithm away from 0."""
    return -(z.softmax(-1) + EPSILON).log()[..., LABEL]


def in_one(z: Tensor) -> Tensor:
    """What cross_entropy does: log softmax(z) = z − log Σ e^z, without ever computing p."""
    return -z.log_softmax(-1)[..., LABEL]


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp, divide, log": by_hand,
    "softmax, then log": softmax_then_log,
    "log(softmax + 1e-8)": softmax_then_safe_log,
    "log_softmax in one": in_one,
}


def apart(leads: np.ndarray) -> Apart:
    """Loss and gradient by every way.

    The truth: L = ln(1 + e^lead), and ∂L/∂z of the label is p − 1 = −1 / (1 + e^−lead).

    Args:
        leads: from 0 on, [n].

    Example:
        >>> found = apart(np.array([0.0, 120.0]))
        >>> found.gradients.tolist(), found.ways[-1].name, found.ways[-1].gradients.tolist()
        ([-0.5, -1.0], 'log_softmax in one', [-0.5, -1.0])
    """
    ways = [_way(name, loss, leads) for name, loss in WAYS.items()]
    return Apart(leads, np.logaddexp(0, leads), -1 / (1 + np.exp(-leads)), ways)


def logits_at(lead: float) -> Tensor:
    """The two logits in float32, ready for a backward pass."""
    return torch.tensor([lead, 0.0], requires_grad=True)


def _way(name: str, loss: Callable[[Tensor], Tensor], leads: np.ndarray) -> Way:
    """One row for each lead: rows do not mix, so that one backward pass gives all derivatives."""
    z = torch.from_numpy(np.stack([leads, np.zeros_like(leads)], axis=-1)).float().requires_grad_()
    losses = loss(z)
    (gradient,) = torch.autograd.grad(losses.sum(), z)
    return Way(name, losses.detach().double().numpy(), gradient[:, LABEL].double().numpy())
