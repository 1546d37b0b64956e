"""Loss scaling: which entries of a gradient float16 can hold, and what a factor on the loss does about the others."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlab.errors import BadInput
from gradlab.studies.base import Findings, Setting
from gradlab.studies.network import Network, distance, flat

SMALLEST = 2.0**-24  # above 0, in float16; what is no larger than half of it becomes 0
NORMAL = 2.0**-14  # below, a float16 has fewer than 11 binary digits
LARGEST = 65504.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """The gradient of a loss times 2ᵏ, in float16, for several k.

    Attributes:
        exponents: k [n].
        zeros: the share of entries that are 0, of those that are not 0 in float64 [n].
        nonfinite: the share of entries that are inf or NaN [n].
        first_zeros: as ``zeros``, of the model's first parameter alone [n].
        predicted_zeros: the share of entries whose own number times 2ᵏ is too small for float16 [n].
        predicted_nonfinite: the share of entries whose own number times 2ᵏ is too large for it [n].
        first_errors: ‖a − b‖/‖b‖ of the first parameter's gradient a, divided by 2ᵏ again, and b in float64 [n].
    """

    exponents: np.ndarray
    zeros: np.ndarray
    nonfinite: np.ndarray
    first_zeros: np.ndarray
    predicted_zeros: np.ndarray
    predicted_nonfinite: np.ndarray
    first_errors: np.ndarray


class LossScaling:
    """One gradient in float16, with the loss multiplied by one power of two after the other.

    Weights, inputs and all between are float16; the loss itself is float32, as PyTorch's mixed precision has it.

    Args:
        exponents: k of the factors 2ᵏ.
        shown: the factor 2ᵏ whose gradient is drawn beside the unscaled one.

    References:
        P. Micikevicius and others, *Mixed precision training*, 2018, arXiv:1710.03740.
    """

    def __init__(self, exponents: Sequence[int] = (0, 4, 8, 12, 16, 20, 24), shown: int = 16) -> None:
        if not exponents or not all(-100 <= k <= 100 for k in exponents):
            raise BadInput(f"study.exponents are whole numbers k of factors 2^k, −100 to 100, got {list(exponents)}")
        self._exponents, self._shown = sorted(set(exponents)), int(shown)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import loss_scaling as picture  # matplotlib is slow to import

        network = Network.of(setting, batches=1)
        exact = network.gradient()
        scaled = measure(network, self._exponents)
        entries = exact[exact != 0].abs().numpy()
        first, _ = next(network.model.named_parameters())
        return Findings(
            numbers={
                "smallest entry": float(entries.min()),
                "largest entry": float(entries.max()),
                **{name: number for place in range(len(self._exponents)) for name, number in _numbers(scaled, place)},
            },
            title="the gradient in float16, with the loss times 2^k (too small, too large: for float16 to store)",
            rows=[
                ("k", "became 0", "too small", f"0 in {first}", "its error after ÷ 2^k", "inf or NaN", "too large"),
                *(_row(scaled, place) for place in range(len(self._exponents))),
            ],
            figures={"loss_scaling": picture.figure(entries, scaled, self._shown, first)},
            errors={"the handwritten sweep": distance(network.by_hand(), exact)},
        )


def measure(network: Network, exponents: Sequence[int]) -> Scaled:
    """The gradient in float16 for each factor, beside what the numbers of the one in float64 let us expect."""
    exact = network.gradient()
    first = next(network.model.parameters()).numel()
    found = {k: in_half(network, k) for k in exponents}
    stored = {k: (exact * 2.0**k).half() for k in exponents}
    return Scaled(
        exponents=np.array(list(exponents)),
        zeros=np.array([_lost(g, exact) for g in found.values()]),
        nonfinite=np.array([_nonfinite(g) for g in found.values()]),
        first_zeros=np.array([_lost(g[:first], exact[:first]) for g in found.values()]),
        predicted_zeros=np.array([_lost(g, exact) for g in stored.values()]),
        predicted_nonfinite=np.array([_nonfinite(g) for g in stored.values()]),
        first_errors=np.array([distance(g[:first].double() / 2.0**k, exact[:first]) for k, g in found.items()]),
    )


def in_half(network: Network, exponent: int) -> Tensor:
    """The gradient of the loss times 2ᵏ, everything but the loss in float16: [P], float16, not divided again."""
    model = copy.deepcopy(network.model).half()
    x = network.x.half() if network.x.is_floating_point() else network.x
    loss = network.loss(model(x).float(), network.y) * 2.0**exponent
    return flat(torch.autograd.grad(loss, list(model.parameters())))


def _lost(gradient: Tensor, exact: Tensor) -> float:
    """The share of entries that are 0 and should not be."""
    lives = exact != 0
    return float((gradient[lives] == 0).double().mean()) if lives.any() else 0.0


def _nonfinite(gradient: Tensor) -> float:
    return float((~gradient.isfinite()).double().mean())


def _numbers(scaled: Scaled, place: int) -> list[tuple[str, float]]:
    factor = f"times 2^{scaled.exponents[place]}"
    return [
        (f"zeros {factor}", float(scaled.zeros[place])),
        (f"zeros predicted {factor}", float(scaled.predicted_zeros[place])),
        (f"zeros in the first layer {factor}", float(scaled.first_zeros[place])),
        (f"not finite {factor}", float(scaled.nonfinite[place])),
        (f"not finite predicted {factor}", float(scaled.predicted_nonfinite[place])),
        (f"error in the first layer {factor}", float(scaled.first_errors[place])),
    ]


def _row(scaled: Scaled, place: int) -> tuple[str, ...]:
    lost = (scaled.zeros, scaled.predicted_zeros, scaled.first_zeros)
    broken = (scaled.nonfinite, scaled.predicted_nonfinite)
    before, after = ([f"{100 * float(share[place]):.3g} %" for share in shares] for shares in (lost, broken))
    return (f"{scaled.exponents[place]}", *before, f"{float(scaled.first_errors[place]):.1e}", *after)
