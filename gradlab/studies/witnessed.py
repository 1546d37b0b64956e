"""One gradient by several witnesses: what every study's numbers are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlab.checking.targets import problem_of, target_of
from gradlab.checking.undisturbed import undisturbed
from gradlab.witnesses import CannotSay, Problem
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.differences import Numeric
from gradlab.witnesses.moves import Moves
from gradlab.witnesses.symbolic import Symbolic

WITNESSES = ("autograd", "manual", "numeric", "symbolic")


def gradients(
    function: Callable[..., Tensor], *inputs: Tensor, witnesses: Sequence[str] = WITNESSES
) -> dict[str, np.ndarray]:
    """The gradient of a scalar function by its first input, as each witness has it.

    Args:
        function: gives one number.
        inputs: floating tensors, best in float64.
        witnesses: who is asked; one that cannot say (sympy, of a network) is left out.

    Returns:
        By witness, in the shape of the first input, float64.

    Example:
        >>> found = gradients(lambda x: (x**2).sum(), torch.tensor([3.0, -1.0], dtype=torch.float64))
        >>> {name: g.round(6).tolist() for name, g in found.items()}
        {'autograd': [6.0, -2.0], 'manual': [6.0, -2.0], 'numeric': [6.0, -2.0], 'symbolic': [6.0, -2.0]}
    """
    target = target_of(function)
    with undisturbed(target, inputs):
        problem = problem_of(target, inputs, {}, _only)
        backward = Backward(problem)
        if backward.error is not None:
            raise backward.error
        name = next(iter(problem.variables))
        found: dict[str, Any] = {"autograd": backward.autograd[name], "manual": backward.manual.get(name)}
        found |= {witness: _slopes(witness, problem, backward, name) for witness in witnesses if witness in SINGLE}
    shape = tuple(inputs[0].shape)
    given = {witness: g for witness, g in found.items() if witness in witnesses and g is not None}
    return {witness: g.detach().double().cpu().numpy().reshape(shape) for witness, g in given.items()}


def worst_errors(found: dict[str, np.ndarray], scale: float = 0.0) -> dict[str, float]:
    """The relative error of each witness against autograd: the largest gap over the largest entry of either.

    Args:
        found: from `gradients`.
        scale: a slope that counts as small; gaps are not held against less. It gives a true 0, as at a minimum, a
            size to be compared with.

    Example:
        >>> worst_errors({"autograd": np.array([1.0, 2.0]), "manual": np.array([1.0, 2.5])})
        {'manual': 0.2}
        >>> worst_errors({"autograd": np.array([0.0]), "numeric": np.array([1e-9])}, scale=1.0)
        {'numeric': 1e-09}
    """
    own = found["autograd"]
    sizes = {name: max(np.abs(own).max(), np.abs(g).max(), scale) for name, g in found.items()}
    others = {name: g for name, g in found.items() if name != "autograd"}
    return {name: float(np.abs(g - own).max() / sizes[name]) if sizes[name] else 0.0 for name, g in others.items()}


SINGLE: dict[str, Callable[[Problem, Backward], Any]] = {
    "numeric": lambda problem, backward: Numeric(Moves(problem, backward.epsilon, backward.noise)),
    "symbolic": lambda problem, backward: Symbolic(problem),
}


def _slopes(witness: str, problem: Problem, backward: Backward, name: str) -> Tensor | None:
    places = torch.arange(problem.variables[name].tensor.numel())
    try:
        return SINGLE[witness](problem, backward).slopes(name, places)
    except CannotSay:
        return None


def _only(output: Tensor) -> Tensor:
    return output.reshape(())
