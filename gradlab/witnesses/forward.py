"""The witness `forward`: forward-mode differentiation, which carries a tangent along with every value.

A dual number v + v̇·ε with ε² = 0 goes through the computation; the coefficient of ε in L is the derivative in the
direction of the tangent. It goes the other way round than backpropagation, by PyTorch's other set of formulas.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

import torch
import torch.autograd.forward_ad as fwad
from torch import Tensor

from gradlab.witnesses.base import CannotSay
from gradlab.witnesses.moves import index_of
from gradlab.witnesses.numeric import directions
from gradlab.witnesses.problem import Problem, Variable


class Forward:
    """∂L by single entries, one forward pass for each (and for each direction of a complex one).

    A custom Function takes part only where it has a ``jvp``, and an operation where PyTorch has a forward formula.

    Args:
        problem: what is looked at.

    Example:
        >>> from gradlab.checking.targets import problem_of, target_of
        >>> x = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> problem = problem_of(target_of(torch.exp), (x,), {}, torch.sum)
        >>> round(float(Forward(problem).slopes("argument 0", torch.tensor([1]))[0]), 6)
        2.718282
    """

    name: ClassVar[str] = "forward"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        found = self._problem.variables[variable]
        if found.kind == "captured":
            raise CannotSay("forward mode cannot reach a tensor that the function was not given")
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ways = directions(found.tensor.dtype)
            parts = [[self._slope(found, place, way) for place in places.tolist()] for way in ways]
        real = torch.tensor(parts[0], dtype=torch.float64)
        return real if len(parts) == 1 else torch.complex(real, torch.tensor(parts[1], dtype=torch.float64))

    def _slope(self, variable: Variable, place: int, direction: complex) -> float:
        primal = variable.tensor.detach()
        tangent = torch.zeros_like(primal, memory_format=torch.contiguous_format)
        tangent[index_of(place, tangent)] = torch.tensor(direction, dtype=tangent.dtype)
        try:
            with fwad.dual_level():
                dual = fwad.make_dual(primal, tangent)
                moved = fwad.unpack_dual(self._value(variable, dual)).tangent
        except (RuntimeError, NotImplementedError) as error:  # a formula that is missing
            raise CannotSay(str(error).strip().partition("\n")[0]) from error
        return 0.0 if moved is None else float(moved)

    def _value(self, variable: Variable, dual: Tensor) -> Tensor:
        if variable.position is not None:
            return self._problem.value({variable.position: dual})
        return self._problem.value(parameters={variable.name: dual})
