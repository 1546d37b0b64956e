"""The witness `complex_step`: a step along the imaginary axis, where nothing is subtracted.

For an analytic f, f(x + ih) = f(x) + ih·f′(x) − h²/2·f″(x) − …, so that Im f(x + ih) / h is f′(x) up to h². Without a
difference there is no cancellation, and h may be as small as 1e-30: the result is exact to rounding (Squire and Trapp,
*SIAM Review* 40(1), 1998; Martins, Sturdza and Alonso, *ACM TOMS* 29(3), 2003).

What can go wrong goes wrong in silence, so four things are looked at. A tape of the complex evaluation shows whether
an operation that the step passes is analytic. The real part must be L. The slope must be the same with a smaller step:
rounding errors in the imaginary part (a power of a negative number takes them in) do not shrink with h, and at a
singular point neither does f. And no number may leave PyTorch for NumPy or Python and come back without the step.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from gradlab.backprop import Entry, Tape, Value
from gradlab.witnesses.base import CannotSay
from gradlab.witnesses.forward import check_not_kept
from gradlab.witnesses.leaves import separated
from gradlab.witnesses.moves import index_of
from gradlab.witnesses.problem import Problem, Variable, wide

STEP = 2.0**-100  # 7.9e-31; powers of two, so that a step by itself rounds nothing
SMALLER_STEP = 2.0**-133
SHIFT = 2.0**-20  # of the variable, to see which numbers depend on it
SAME_SLOPE = 1e-9  # relative: both steps are far below all rounding, so that the slopes are equal but for that of h²
SAME_VALUE = 1e-9  # relative to the terms of L: complex kernels add in another order
# Operations that make complex numbers of complex ones and yet look at a conjugate or a size. Others, such as abs or
# real, are known by what they make: real numbers.
NOT_ANALYTIC = frozenset(
    ("sgn", "_conj", "_conj_physical", "conj_physical", "_neg_view", "vdot", "renorm", "pinverse")
    + ("linalg_cholesky_ex", "cholesky", "cholesky_inverse", "cholesky_solve", "linalg_qr", "geqrf", "orgqr", "ormqr")
    + ("linalg_householder_product", "_linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_lstsq", "linalg_pinv")
    + ("linalg_ldl_factor_ex", "linalg_ldl_solve", "linalg_lu_solve", "_linalg_slogdet")
)


class ComplexStep:
    """∂L by single entries of a real variable, ∂L/∂xᵢ = Im L(x + i·h·eᵢ) / h, for functions that are analytic.

    Args:
        problem: what is looked at, in double precision; it is left as it was.

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
        self._at: tuple[float, float] | None = None
        self._sealed: set[str] = set()

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        """∂L by some entries, see `gradlab.witnesses.base.Witness`.

        Raises:
            CannotSay: the function is not analytic, does not run on complex numbers, or is another one for them; a
                variable is complex, captured or in a lower precision.
        """
        found = self._problem.variables[variable]
        if found.kind == "captured":
            raise CannotSay("a complex step needs tensors that the function is given")
        for other in self._problem.variables.values():
            if other.tensor.dtype is not torch.float64:
                raise CannotSay(f"a complex step needs float64, and {other.name} is {_short(other.tensor.dtype)}")
        # With gradients the tape takes `detach` for what it is in mathematics: nothing.
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._problem.settle()
            if any(w.is_complex() for w in self._problem.weights or ()):
                raise CannotSay("the output is complex itself, and its real part is not analytic")
            self._check_sealed(found)
            return torch.tensor([self._slope(found, place) for place in places.tolist()], dtype=torch.float64)

    def _check_sealed(self, variable: Variable) -> None:
        """Makes sure that tensors which each call makes anew, of NumPy's or Python's numbers, are constants."""
        if variable.name in self._sealed:
            return
        own, shifted = (self._sources(variable, shift) for shift in (0.0, SHIFT))
        made = [(a, b) for a, b in zip(own, shifted, strict=False) if a is not b]
        if len(own) != len(shifted) or not all(a.dtype is b.dtype and torch.equal(a, b) for a, b in made):
            raise CannotSay("numbers leave PyTorch, for NumPy or Python, and come back as new tensors")
        self._sealed.add(variable.name)

    def _sources(self, variable: Variable, shift: float) -> list[Tensor]:
        """What enters a real evaluation beside the variable."""
        step = _Step(self._problem, variable, 0, everything=False)
        moved = separated(variable.tensor) * (1 + shift) + shift
        return [t for t in step.recorded(moved)[0].sources.values() if t is not moved]

    def _slope(self, variable: Variable, place: int) -> float:
        """By as few complex numbers as go: those beside may be compared, or decide what Python does."""
        try:
            return self._by(variable, place, everything=False)
        except CannotSay:
            return self._by(variable, place, everything=True)

    def _by(self, variable: Variable, place: int, everything: bool) -> float:
        step = _Step(self._problem, variable, place, everything)
        first = self._imaginary(step.value(STEP)) / STEP
        second = self._imaginary(step.value(SMALLER_STEP)) / SMALLER_STEP
        # A slope of 0 is one of h² in either: far below any step.
        if not math.isclose(first, second, rel_tol=SAME_SLOPE, abs_tol=STEP):
            raise CannotSay("the imaginary part does not shrink with the step: rounding errors, or a singular point")
        return second

    def _imaginary(self, value: Tensor) -> float:
        if self._at is None:
            self._at = float(self._problem.value().detach()), self._problem.magnitude()
        own, size = self._at
        number = complex(value.detach().item())
        if not math.isfinite(own):
            raise CannotSay("L is not finite")
        if not abs(number.real - own) <= SAME_VALUE * size + 1e-12:  # the latter for an L of 0, as of a perfect fit
            raise CannotSay(f"the function is another one for complex numbers: L is {own:.6g} and not {value:.6g}")
        return number.imag


class _Step:
    """L continued to complex numbers, with a step at one entry.

    Args:
        problem: whose L.
        variable, place: of the entry.
        everything: whether all other floating tensors become complex too; some operations need that, such as matmul.
    """

    def __init__(self, problem: Problem, variable: Variable, place: int, everything: bool) -> None:
        self.problem = problem
        self.variable = variable
        self.place = place
        self.inputs: dict[int, Tensor] = {}
        self.own: dict[str, Tensor] = {}
        if everything:
            problem.surroundings.restore()  # what an evaluation wrote into buffers is put back before the next one only
            leaves = ((n, leaf) for n, leaf in enumerate(problem.leaves) if isinstance(leaf, Tensor))
            self.inputs = {n: _complex(leaf) for n, leaf in leaves if leaf.is_floating_point()}
            self.own = {name: _complex(t) for name, t in _named(problem) if t.is_floating_point()}

    def value(self, step: float) -> Tensor:
        """L(x + i·step·e), once the operations on the way have been looked at."""
        moved = _complex(separated(self.variable.tensor))
        moved[index_of(self.place, moved)] += 1j * step
        tape, value = self.recorded(moved)
        check_not_kept(tape, self.variable)
        self._check_inside(tape, moved)
        _check_analytic(tape, moved)
        return value

    def recorded(self, moved: Tensor) -> tuple[Tape, Tensor]:
        """The evaluation with another tensor in the variable's place."""
        position = self.variable.position
        inputs = self.inputs if position is None else {**self.inputs, position: moved}
        own = self.own if position is not None else {**self.own, self.variable.name: moved}
        try:
            with Tape() as tape:
                return tape, self._value(inputs, own)
        except Exception as error:  # whatever an operation, or the user's code, has against complex numbers
            first = str(error).strip().partition("\n")[0]
            raise CannotSay(f"the function does not run on complex numbers: {first}") from error

    def _value(self, inputs: dict[int, Tensor], own: dict[str, Tensor]) -> Tensor:
        """L without the real part that `Problem.reduce` takes: a plain sum of products."""
        problem = self.problem
        output = problem.output(inputs, own)
        if problem.loss is not None:
            return problem.loss(output).reshape(())
        assert problem.weights is not None, "a problem is settled before its first value"
        pairs = zip(problem.projected(output), problem.weights, strict=True)
        return torch.stack([(wide(t) * w).sum() for t, w in pairs]).sum()

    def _check_inside(self, tape: Tape, moved: Tensor) -> None:
        """A complex tensor from nowhere may have been made of the step by NumPy."""
        given = {id(t) for t in (moved, *self.inputs.values(), *self.own.values())}
        if any(t.is_complex() and id(t) not in given for t in tape.sources.values()):
            raise CannotSay("complex numbers enter from outside of the function's arguments and parameters")


def _check_analytic(tape: Tape, moved: Tensor) -> None:
    """Looks at each operation that the step passes."""
    reached: set[Value] = {value for value, tensor in tape.sources.items() if tensor is moved}
    for entry in tape.entries:
        if entry.facts.is_shape_only or reached.isdisjoint(entry.inputs):
            continue
        if entry.name in NOT_ANALYTIC:
            raise CannotSay(f"{entry.name} is not analytic")
        reached.update(_outputs(entry))


def _outputs(entry: Entry) -> Iterator[Value]:
    """What an operation makes; where that is analytic, it is complex."""
    for value in entry.outputs:
        if value is None:
            raise CannotSay(f"{entry.name} takes a number out of the tensors, and where it goes cannot be seen")
        if value.tensor.dtype is not torch.complex128:
            dtype = _short(value.tensor.dtype)
            raise CannotSay(f"{entry.name} is not analytic: of complex numbers it makes {dtype} ones")
        yield value


def _named(problem: Problem) -> Iterator[tuple[str, Tensor]]:
    """The module's parameters and buffers, by their names as seen from the user's own model."""
    if problem.module is not None:
        for name, tensor in (*problem.module.named_parameters(), *problem.module.named_buffers()):
            yield name.removeprefix(problem.prefix), tensor


def _complex(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.complex128, memory_format=torch.preserve_format)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
