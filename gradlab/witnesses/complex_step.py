"""The witness `complex_step`: a step along the imaginary axis, where nothing is subtracted.

For an analytic f, f(x + ih) = f(x) + ih·f′(x) − h²/2·f″(x) − …, so that Im f(x + ih) / h is f′(x) up to h². Without a
difference there is no cancellation, and h may be as small as 1e-30: the result is exact to rounding (Squire and Trapp,
*SIAM Review* 40(1), 1998; Martins, Sturdza and Alonso, *ACM TOMS* 29(3), 2003).
"""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor

from gradlab.backprop import Tape, TapeError
from gradlab.witnesses.base import CannotSay
from gradlab.witnesses.moves import index_of
from gradlab.witnesses.problem import Problem, Variable

STEP = 1e-30
# Operations that are not analytic: they look at the conjugate, the size or the sign of a complex number, or at a part.
NOT_ANALYTIC = frozenset(
    ("abs", "angle", "sgn", "sign", "conj", "_conj", "conj_physical", "real", "imag", "view_as_real", "isfinite")
    + ("isnan", "linalg_vector_norm", "norm", "linalg_norm", "vdot", "linalg_vecdot", "round", "trunc", "frac")
)


class ComplexStep:
    """∂L by single entries of a real variable, exact to rounding, for functions that are analytic.

    Args:
        problem: what is looked at, in double precision.

    Example:
        >>> from gradlab.checking.targets import problem_of, target_of
        >>> x = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> problem = problem_of(target_of(torch.exp), (x,), {}, torch.sum)
        >>> float(ComplexStep(problem).slopes("argument 0", torch.tensor([1]))[0]) == torch.e
        True
    """

    name: ClassVar[str] = "complex_step"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        found = self._problem.variables[variable]
        if found.kind == "captured":
            raise CannotSay("a complex step needs tensors that the function is given")
        if found.tensor.dtype is not torch.float64:
            raise CannotSay("a complex step is for variables in float64")
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.tensor([self._slope(found, place) for place in places.tolist()], dtype=torch.float64)

    def _slope(self, variable: Variable, place: int) -> float:
        moved = variable.tensor.detach().to(torch.complex128, memory_format=torch.contiguous_format)
        moved[index_of(place, moved)] += 1j * STEP
        try:
            with Tape() as tape:
                value = self._value(variable, moved)
        except (RuntimeError, TypeError, ValueError, TapeError) as error:
            # An operation that complex numbers do not have, such as a comparison.
            raise CannotSay(str(error).strip().partition("\n")[0]) from error
        for entry in tape.entries:
            if entry.name in NOT_ANALYTIC and any(v.tensor.is_complex() for v in entry.inputs):
                raise CannotSay(f"{entry.name} is not analytic")
        real = float(self._problem.value())
        if not value.is_complex() or not math.isclose(real, float(value.real), rel_tol=1e-9, abs_tol=1e-12):
            raise CannotSay("the function is another one for complex numbers")
        return float(value.imag) / STEP

    def _value(self, variable: Variable, moved: Tensor) -> Tensor:
        """L continued to complex numbers: the projection is a plain sum of products."""
        problem = self._problem
        problem.settle()
        position = variable.position
        inputs = {v.position: _complex(v.tensor) for v in problem.variables.values() if v.position is not None}
        inputs |= {position: moved} if position is not None else {}
        own: dict[str, Tensor] = {}
        if problem.module is not None:
            start = len(problem.prefix)
            named = (*problem.module.named_parameters(), *problem.module.named_buffers())
            own = {name[start:]: _complex(t) for name, t in named}
            own |= {variable.name: moved} if position is None else {}
        output: Any = problem.output(inputs, own)
        if problem.loss is not None:
            return problem.loss(output).reshape(())
        assert problem.weights is not None
        outputs = problem.projected(output)
        if any(w.is_complex() for w in problem.weights):
            raise CannotSay("the output is complex itself")
        return torch.stack([(t * w).sum() for t, w in zip(outputs, problem.weights, strict=True)]).sum()


def _complex(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.to(torch.complex128) if tensor.is_floating_point() else tensor
