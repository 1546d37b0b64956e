"""Members of a population descended again in another way: the second witness of studies that move many points.

The gradient is the closed form that sympy has, evaluated point by point; the update rule is the handwritten one where
there is one. Autograd, Lightning and the other members have no part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.optim import NAdam, Optimizer

from gradlab.losses import Surface
from gradlab.optimizers import Adagrad, Adam, AdamW, Momentum, Nesterov, Rmsprop, Sgd
from gradlab.studies.base import Finished

RULES: dict[str, Callable[..., Optimizer]] = {
    "sgd": Sgd,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": Adagrad,
    "rmsprop": Rmsprop,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,  # there is none by hand
}
BLUR = 1e-10  # of the width of the starts: far above rounding, far below what is seen
PARTED = 1e-8  # of the same width: ends that a blur moves farther than that are in the hands of rounding
FAR = 10.0  # widths away all is one: there overflow decides


@dataclass(frozen=True, slots=True)
class Again:
    """Ends of a population held against those of the same starts, descended another way.

    Attributes:
        error: the largest distance between two ends over the width of the starts.
        compared: how many ends were compared.
        by_chance: how many were left out, because they end elsewhere when every gradient is taken at a place beside,
            too close to tell: there rounding decides, and no two ways of computing agree.
    """

    error: float
    compared: int
    by_chance: int


def rule_of(run: Finished) -> Callable[[Any], Optimizer] | None:
    """Makes the optimizer of a run from parameters, by the rule written by hand; None where it has none.

    Args:
        run: its settings are read: ``optimizer``, ``optimizer.lr`` and so on.
    """
    settings = run.memory.hparams.settings if run.memory.hparams is not None else {}
    name = str(settings.get("optimizer")).removeprefix("manual_")
    numbers = {k.removeprefix("optimizer."): v for k, v in settings.items() if k.startswith("optimizer.")}
    if name == "nesterov":
        numbers.pop("nesterov", None)  # the flag by which torch's class becomes this rule
    if name not in RULES or any(isinstance(value, (bool, str)) for value in numbers.values()):
        return None
    rule = RULES[name]
    try:
        rule([torch.zeros(1)], **numbers)
    except TypeError:  # a setting that the rule does not know
        return None
    return lambda parameters: rule(parameters, **numbers)


def descend(
    surface: Surface, starts: np.ndarray, rule: Callable[[Any], Optimizer], steps: int, blur: float = 0.0
) -> np.ndarray:
    """Where points end that are descended by the closed form of the gradient.

    Args:
        surface: gives the gradient at one point after the other.
        starts: [k, n].
        rule: makes the optimizer, which acts entry by entry.
        steps: how many.
        blur: how far beside each point its gradient is taken, along every axis to a side that chance decides anew at
            every step.

    Returns:
        [k, n], float64.

    Example:
        >>> from gradlab.losses import Quadratic
        >>> descend(Quadratic(condition=1.0), np.array([[1.0, -2.0]]), lambda p: Sgd(p, lr=0.5), 2).tolist()
        [[0.25, -0.5]]
    """
    theta = torch.nn.Parameter(torch.tensor(starts, dtype=torch.float64))
    optimizer = rule([theta])
    sides = np.random.default_rng(0)
    with np.errstate(all="ignore"):  # of a point that runs away
        for _ in range(steps):
            places = theta.detach().numpy() + blur * sides.choice((-1, 1), theta.shape)
            theta.grad = torch.from_numpy(np.stack([surface.gradient_at(place) for place in places]))
            optimizer.step()
    return theta.detach().numpy()


def again(run: Finished, starts: np.ndarray, ends: np.ndarray) -> Again | None:
    """Descends a few starts of a run a second time.

    Args:
        run: of a population on a surface.
        starts: some of its points before the first step, [k, n].
        ends: the same points after the last, [k, n].

    Returns:
        What came of it; None where the optimizer has no rule by hand.
    """
    rule, surface, steps = rule_of(run), run.loss, int(run.metrics["steps"])
    if rule is None or not isinstance(surface, Surface):
        return None
    low, high = np.array(surface.box).T
    width = float(max(np.ptp(starts, axis=0).max(), (high - low).max()))
    alone, blurred = (descend(surface, starts, rule, steps, blur) for blur in (0.0, BLUR * width))
    alone, blurred, given = (_brought_near(points, low, high) for points in (alone, blurred, ends))
    is_chance = np.linalg.norm(alone - blurred, axis=1) > PARTED * width
    gaps = np.linalg.norm(alone - given, axis=1)[~is_chance] / width
    return Again(float(gaps.max(initial=0.0)), len(gaps), int(is_chance.sum()))


def _brought_near(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Points that have run away, or are no numbers, all at one place far away."""
    width = float((high - low).max())
    middle = (low + high) / 2
    is_far = ~(np.abs(points - middle).max(axis=1) <= FAR * width)  # NaN is far
    return np.where(is_far[:, None], middle + FAR * width, points)
