"""L with single entries of one variable moved: together under `torch.vmap` where that goes, else in a loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from gradlab.witnesses.leaves import is_compact, separated
from gradlab.witnesses.problem import Problem, Variable

CHUNK_BYTES = 2**25  # of moved copies of the variable: enough to fill the processor, small beside the memory
MOST_ROWS = 2048


class Moves:
    """Evaluates a problem at points that differ from its own in one entry.

    Under vmap a hundred moved copies of a small network cost about as much as two. Two trials decide for each variable
    whether that can be trusted: a row in which nothing is moved must give L, and a moved one the same as the loop does
    (a module may keep its parameters where no copy can be put in). Else, and where an operation has no batching rule
    or a value steers Python, there is a loop.

    Args:
        problem: what is evaluated; it is left as it was.
        epsilon: the rounding unit in which L is computed.
        noise: what roundings on the way make of L, see `Backward.noise`; at least one rounding of L's terms.

    Attributes:
        magnitude: as `Problem.magnitude`.
    """

    def __init__(self, problem: Problem, epsilon: float = torch.finfo(torch.float64).eps, noise: float = 0.0) -> None:
        self.problem = problem
        self.epsilon = epsilon
        self.magnitude = problem.magnitude()
        self.noise = max(noise, epsilon * self.magnitude)
        self.evaluations = 0
        self._batches: dict[str, bool] = {}
        self._rows = MOST_ROWS

    def at(self, name: str, places: Tensor, values: Tensor, one_by_one: bool = False) -> Tensor:
        """L for each (place, value): the entry at this place of the flat variable is replaced by this value.

        Args:
            name: of the variable.
            places: whole numbers, shape [k].
            values: shape [k], of the variable's dtype.
            one_by_one: do without vmap.

        Returns:
            L, float64, shape [k] (inf or NaN where the function gives it).
        """
        variable = self.problem.variables[name]
        self.evaluations += len(places)
        with torch.set_grad_enabled(self.problem.needs_grad), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each would be said again at every move
            if not one_by_one and len(places) > 8 and self._can_batch(variable, places, values):
                return self._batched(variable, places, values)
            return self._looped(variable, places, values)

    def _can_batch(self, variable: Variable, places: Tensor, values: Tensor) -> bool:
        if variable.name not in self._batches:
            can = variable.kind != "captured" and is_compact(variable.tensor)
            self._batches[variable.name] = can and self._trial(variable, places, values)
        return self._batches[variable.name]

    def _trial(self, variable: Variable, places: Tensor, values: Tensor) -> bool:
        """Whether vmap gives what the loop gives: with nothing moved, and with three entries moved."""
        some = torch.tensor([0, len(places) // 2, len(places) - 1])
        own = flat(variable.tensor)[places[:1]]
        rows_places, rows_values = torch.cat([places[:1], places[some]]), torch.cat([own, values[some]])
        expected = self._looped(variable, rows_places, rows_values)
        try:
            found = self._batched(variable, rows_places, rows_values)
        except Exception:  # whatever vmap cannot do: the loop can, or says why not
            return False
        # Batched kernels add in another order: 64 roundings. That is little beside what the moves change, or vmap would
        # be of no use for differences.
        rounding = 64 * self.noise
        same = (found - expected).abs() <= rounding
        return bool((same | (found == expected) | (found.isnan() & expected.isnan())).all())

    def _batched(self, variable: Variable, places: Tensor, values: Tensor) -> Tensor:
        size = max(1, variable.tensor.numel() * variable.tensor.element_size())
        rows = max(16, min(self._rows, CHUNK_BYTES // size))
        parts = zip(places.split(rows), values.split(rows), strict=True)
        return torch.cat([self._rows_at_once(variable, p, v) for p, v in parts])

    def _rows_at_once(self, variable: Variable, places: Tensor, values: Tensor) -> Tensor:
        start = variable.tensor.detach()
        rows = start.expand(len(places), *start.shape).clone(memory_format=torch.contiguous_format)
        rows.view(len(places), -1)[torch.arange(len(places)), places] = values
        buffers = self._moving_buffers(len(places))

        def value(moved: Tensor, own: dict[str, Tensor]) -> Tensor:
            if variable.position is not None:
                return self.problem.value({variable.position: moved}, own)
            return self.problem.value(parameters={variable.name: moved, **own})

        return torch.vmap(value, randomness="same")(rows, buffers).detach().double().cpu()

    def _moving_buffers(self, rows: int) -> dict[str, Tensor]:
        """A copy of each buffer for every row: what a normalization writes into them is its own business then."""
        if self.problem.module is None:
            return {}
        start = len(self.problem.prefix)
        return {
            name[start:]: b.detach().expand(rows, *b.shape).clone(memory_format=torch.contiguous_format)
            for name, b in self.problem.module.named_buffers()
        }

    def _looped(self, variable: Variable, places: Tensor, values: Tensor) -> Tensor:
        pairs = zip(places.tolist(), values, strict=True)
        return torch.stack([self._moved(variable, place, value).double().cpu() for place, value in pairs])

    def _moved(self, variable: Variable, place: int, value: Tensor) -> Tensor:
        if variable.position is not None:
            copy = separated(variable.tensor)
            copy[index_of(place, copy)] = value
            return self._value({variable.position: copy.requires_grad_(self.problem.needs_grad)})
        content = variable.tensor.data  # writes into it are not counted as changes of the user's tensor
        index = index_of(place, content)
        before = content[index].clone()
        content[index] = value
        try:
            return self._value({})
        finally:
            content[index] = before

    def _value(self, inputs: dict[int, Tensor]) -> Tensor:
        """L; NaN where the function refuses the moved point, as outside its domain."""
        try:
            return self.problem.value(inputs).detach()
        except (RuntimeError, ValueError):
            return torch.tensor(torch.nan, dtype=torch.float64)

    def along(self, name: str, direction: Tensor, steps: Tensor) -> Tensor:
        """L at θ + step · direction for each step, the whole variable moved.

        Args:
            name: of the variable.
            direction: shaped like it.
            steps: shape [k].

        Returns:
            L, float64, shape [k].
        """
        variable = self.problem.variables[name]
        self.evaluations += len(steps)
        with torch.set_grad_enabled(self.problem.needs_grad), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.stack([value.double().cpu() for value in self._pushed(variable, direction, steps)])

    def _pushed(self, variable: Variable, direction: Tensor, steps: Tensor) -> Iterator[Tensor]:
        start = variable.tensor.detach().clone(memory_format=torch.contiguous_format)
        for step in steps.tolist():
            moved = (start + step * direction).to(start.dtype)
            if variable.position is not None:
                yield self._value({variable.position: moved.requires_grad_(self.problem.needs_grad)})
                continue
            try:
                variable.tensor.data.copy_(moved)
                yield self._value({})
            finally:
                variable.tensor.data.copy_(start)


def index_of(place: int, tensor: Tensor) -> tuple[int, ...]:
    """The index of an entry, by its place in the flat tensor.

    Example:
        >>> index_of(5, torch.zeros(2, 3))
        (1, 2)
    """
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(place), tensor.shape))


def flat(tensor: Tensor) -> Tensor:
    """A tensor's entries in a row, outside autograd."""
    return tensor.detach().reshape(-1)
