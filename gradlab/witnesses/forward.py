"""The witness `forward`: forward-mode differentiation, which carries a tangent along with every value.

A dual number v + v̇·ε with ε² = 0 goes through the computation; the coefficient of ε in L is the derivative in the
direction of the tangent. It goes the other way round than backpropagation, by PyTorch's other set of formulas: an
operation's `jvp` in the place of its `backward`.

Like autograd it follows PyTorch's tensors only: it stops at `detach` and at ``item()``. Unlike autograd it goes on
under `no_grad`, which switches off backward mode alone.
"""

from __future__ import annotations

import traceback
import warnings
from typing import ClassVar

import torch
import torch.autograd.forward_ad as fwad
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from gradlab.backprop import Tape, TapeError
from gradlab.witnesses.base import CannotSay
from gradlab.witnesses.leaves import separated
from gradlab.witnesses.moves import CHUNK_BYTES, MOST_ROWS, index_of
from gradlab.witnesses.numeric import directions
from gradlab.witnesses.problem import Problem, Variable

FEW = 8  # so many entries are done in a loop before vmap is worth its trial
ROUNDINGS = 2**10  # by which batched kernels, which add in another order, may differ; a false alarm only costs time


class Forward:
    """∂L by single entries: L̇ = Σⱼ ∂L/∂xⱼ · ẋⱼ with ẋ = eᵢ, and with ẋ = i·eᵢ for ∂L/∂Im of a complex entry.

    Many tangents go together under `torch.vmap` where that gives what single ones give; else each goes by itself. A
    custom Function takes part only where it has a ``jvp`` (a wrong one shows), and an operation where PyTorch has a
    forward formula.

    Args:
        problem: what is looked at, of any floating dtype; it is left as it was.

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
        self._answerable: set[str] = set()
        self._loops: set[str] = set()

    def slopes(self, variable: str, places: Tensor) -> Tensor:
        """∂L by some entries, see `gradlab.witnesses.base.Witness`.

        Raises:
            CannotSay: the tensor is captured, a copy of it does not reach every use, a forward formula is missing, or L
                is not finite.
        """
        found = self._problem.variables[variable]
        if found.kind == "captured":
            raise CannotSay("forward mode cannot reach a tensor that the function was not given")
        # With gradients, so that a function may itself call `torch.autograd.grad`.
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._problem.settle()
            self._check_answerable(found)
            parts = [self._along(found, places, way) for way in directions(found.tensor.dtype)]
        return parts[0] if len(parts) == 1 else torch.complex(parts[0], parts[1])

    def _check_answerable(self, variable: Variable) -> None:
        if variable.name not in self._answerable:
            copy = _primal(variable)  # made before the tape records: it reads the tensor itself
            try:
                with Tape() as tape:
                    value = self._value(variable, copy)
            except TapeError as error:
                raise CannotSay(str(error)) from error
            check_not_kept(tape, variable)
            if not value.isfinite():  # the formulas give numbers all the same: 1/x for the logarithm of a negative x
                raise CannotSay("L is not finite")
            if any(e.name == "scatter_reduce" and e.argument(4, "reduce") == "prod" for e in tape.entries):
                raise CannotSay("PyTorch's forward mode takes scatter_reduce with prod for a constant (issue 196702)")
            self._answerable.add(variable.name)

    def _along(self, variable: Variable, places: Tensor, way: complex) -> Tensor:
        if len(places) <= FEW or variable.name in self._loops:
            return self._looped(variable, places, way)
        try:
            together = self._batched(variable, places, way)
        except Exception:  # whatever vmap cannot do: the loop can, or says why not
            together = None
        some = torch.tensor([0, len(places) // 2, len(places) - 1])
        if together is not None:
            single = self._looped(variable, places[some], way)
            rounding = ROUNDINGS * torch.finfo(variable.tensor.dtype).eps * _largest(together)
            if torch.allclose(together[some], single, rtol=0.0, atol=rounding, equal_nan=True):
                return together
        self._loops.add(variable.name)
        return self._looped(variable, places, way)

    def _batched(self, variable: Variable, places: Tensor, way: complex) -> Tensor:
        primal = separated(variable.tensor)

        def slope(tangent: Tensor) -> Tensor:
            # Functorch lets nothing be written that was made outside; buffers are written, by a normalization.
            own = copied_buffers(self._problem)
            return torch.func.jvp(lambda moved: self._value(variable, moved, own), (primal,), (tangent,))[1]

        size = max(1, primal.numel() * primal.element_size())
        rows = max(16, min(MOST_ROWS, CHUNK_BYTES // size))
        tangents = (_tangents(primal, some, way) for some in places.split(rows))
        found = [torch.vmap(slope, randomness="same")(some).detach() for some in tangents]
        return torch.cat(found).double().cpu()

    def _looped(self, variable: Variable, places: Tensor, way: complex) -> Tensor:
        return torch.tensor([self._slope(variable, place, way) for place in places.tolist()], dtype=torch.float64)

    def _slope(self, variable: Variable, place: int, way: complex) -> float:
        primal = _primal(variable)
        tangent = torch.zeros_like(primal, memory_format=torch.contiguous_format, requires_grad=False)
        tangent[index_of(place, tangent)] = torch.tensor(way, dtype=tangent.dtype)
        try:
            with fwad.dual_level():
                value = self._value(variable, fwad.make_dual(primal, tangent))
                moved = fwad.unpack_dual(value).tangent
        except Exception as error:  # a formula that is missing, or whatever a jvp of the user's raises
            raise CannotSay(_reason(error)) from error
        return 0.0 if moved is None else float(moved.detach())

    def _value(self, variable: Variable, moved: Tensor, own: dict[str, Tensor] | None = None) -> Tensor:
        if variable.position is not None:
            return self._problem.value({variable.position: moved}, own)
        return self._problem.value(parameters={**(own or {}), variable.name: moved})


def check_not_kept(tape: Tape, variable: Variable) -> None:
    """Makes sure that an evaluation with a copy in a variable's place read the copy everywhere.

    A module may keep its parameter in a second place, in a list or as a view, that no copy can be put in: then the
    evaluation shows only a part of the derivative.

    Args:
        tape: has recorded the evaluation.
        variable: whose tensor was replaced.

    Raises:
        CannotSay: an operation read the tensor itself.
    """
    if any(overlap(source, variable.tensor) for source in tape.sources.values()):
        raise CannotSay(f"{variable.name} is also used from another place, where no copy can be put in")


def copied_buffers(problem: Problem) -> dict[str, Tensor]:
    """Copies to put in the place of a module's buffers, where an evaluation must not write into them."""
    problem.surroundings.restore()  # what an evaluation wrote into them is put back before the next one only
    named = () if problem.module is None else problem.module.named_buffers()
    return {name.removeprefix(problem.prefix): buffer.detach().clone() for name, buffer in named}


def overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors share memory, from the first to the last entry of each.

    Example:
        >>> x = torch.zeros(4)
        >>> overlap(x[:2], x.view(2, 2)), overlap(x[:2], x[2:])
        (True, False)
    """
    if a.layout is not torch.strided or b.layout is not torch.strided:
        return a is b
    (first, end), (other_first, other_end) = _extent(a), _extent(b)
    return a.device == b.device and max(first, other_first) < min(end, other_end)


def _extent(tensor: Tensor) -> tuple[int, int]:
    """The addresses of a tensor's first byte and of the one after its last."""
    if not tensor.numel():
        return 0, 0
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()


def _primal(variable: Variable) -> Tensor:
    return separated(variable.tensor).requires_grad_()


def _tangents(primal: Tensor, places: Tensor, way: complex) -> Tensor:
    """A row for each place: zeros, with the direction at the place."""
    rows = torch.zeros((len(places), primal.numel()), dtype=primal.dtype, device=primal.device)
    rows[torch.arange(len(places)), places] = torch.tensor(way, dtype=primal.dtype, device=primal.device)
    return rows.reshape(len(places), *primal.shape)


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().nan_to_num(nan=0.0, posinf=0.0).max())


def _reason(error: Exception) -> str:
    """What is missing, with the name of the custom Function that lacks it: PyTorch's message has none."""
    first = str(error).strip().partition("\n")[0]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        if frame.f_code.co_name == "apply_jvp" and isinstance(node, BackwardCFunction):
            function = node._forward_cls  # type: ignore[attr-defined]
            own = function.jvp is not torch.autograd.Function.jvp
            return f"the jvp of {function.__name__} raised: {first}" if own else f"{function.__name__} has no jvp"
    return f"forward mode does not go through: {first}"
