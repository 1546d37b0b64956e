"""The second derivative: double backward against differences of the first derivative, along one random direction.

With g = ∂L/∂θ, taken by autograd with ``create_graph=True``, double backward gives ∂⟨g, u⟩/∂θ = H·u. The same is
(g(θ + h·u) − g(θ − h·u)) / 2h, from first derivatives alone. The weights w of the projection take part as variables:
∂⟨g, u⟩/∂w = J·u is the derivative by the upstream gradient, for which a custom Function has code of its own too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.checking.tolerances import rounding_floor
from gradlab.graph import edges_of
from gradlab.tensors import dense
from gradlab.witnesses import Problem
from gradlab.witnesses.numeric import RATIO, scale_of

STEPS = [1e-2 * RATIO**-k for k in range(11)]  # down to 1e-8 of each entry's scale, where few jumps are within reach
TOLERANCE = 1e-5  # of H·u; differences of first derivatives are good to about ε^(2/3) = 4e-11 at their best
ONCE = "::Error"  # the node that `once_differentiable` puts in place of a graph
NEGLIGIBLE = 1e-6  # of ∂L/∂θ: H·u has its unit, since u is in units of θ


# Error, index, double backward's number, the difference quotient there and its error.
Found = tuple[float, tuple[int, ...], float, float, float]


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """What looking at the second derivative came to.

    Attributes:
        compared: entries of H·u and J·u compared.
        wrong: for each variable whose second derivative is off: error, index, double backward's number, the difference
            quotient there and its error.
        reason: why nothing was compared; empty where something was.
    """

    compared: int
    wrong: dict[str, Found]
    reason: str = ""


class _NotOffered(RuntimeError):
    """There is no second derivative, and the target says so."""


def second_order(problem: Problem, epsilon: float, noise: float = 0.0) -> SecondOrder:
    """Compares double backward with differences of first derivatives.

    Where an entry seems off, another random direction has to say so too: along one of them, a jump may lie just so that
    it looks like a slope.

    Args:
        problem: its first derivatives are found right.
        epsilon: the rounding unit of the coarsest dtype that takes part.
        noise: how far roundings may have carried L.
    """
    variables = [v for v in problem.variables.values() if not v.tensor.is_complex() and 0 not in v.tensor.stride()]
    tensors = {v.name: v.tensor for v in variables if v.tensor.numel()}
    if not tensors:
        return SecondOrder(0, {}, "there is no real variable to differentiate by")
    with _weights_as_leaves(problem) as weights:
        looks = _Looks(problem, {**tensors, **weights}, tensors, epsilon, noise)
        try:
            wrong = looks.along(seed=0)
        except (RuntimeError, NotImplementedError) as error:
            return SecondOrder(0, {}, str(error).strip().partition("\n")[0])
        if wrong:
            again = looks.along(seed=1)
            wrong = {name: found for name, found in wrong.items() if name in again}
    return SecondOrder(sum(t.numel() for t in looks.around.values()), wrong)


@dataclass(frozen=True, slots=True)
class _Looks:
    """Looks along random directions.

    Attributes:
        around: what is differentiated by: the variables, and the weights of the projection.
        tensors: what is moved: the variables.
    """

    problem: Problem
    around: dict[str, Tensor]
    tensors: dict[str, Tensor]
    epsilon: float
    noise: float

    def along(self, seed: int) -> dict[str, Found]:
        directions = {name: _direction(t, 1000 * seed + n) for n, (name, t) in enumerate(self.tensors.items())}
        by_autograd, size = _double_backward(self.problem, self.around, directions)
        here = _zeros_for_none(_first(self.problem, self.around), self.around)
        first = [_quotients(self.problem, here, self.around, self.tensors, directions, step) for step in STEPS]
        largest = max((float(t.abs().max()) for t in by_autograd.values() if t.numel()), default=0.0)
        found = {}
        for name, tensor in self.around.items():
            quotients, bend = (torch.stack([quotient[name][n] for quotient in first]) for n in (0, 1))
            rounding = 8 * self.epsilon * float(here[name].abs().max() if here[name].numel() else 0.0)
            slack = NEGLIGIBLE * size + rounding_floor(tensor, self.noise, largest)
            found[name] = _worst(by_autograd[name], quotients, bend, rounding, largest, slack)
        return {name: worst for name, worst in found.items() if worst is not None}


def _double_backward(
    problem: Problem, around: dict[str, Tensor], directions: dict[str, Tensor]
) -> tuple[dict[str, Tensor], float]:
    """H·u and J·u by autograd, and the size of ∂L/∂θ."""
    with torch.enable_grad():
        gradients = _first(problem, {n: around[n] for n in directions}, create_graph=True)
        terms = [(g * directions[n]).sum() for n, g in gradients.items() if g is not None and g.requires_grad]
        size = max((float(g.detach().abs().max()) for g in gradients.values() if g is not None), default=0.0)
        zeros = {name: torch.zeros_like(t) for name, t in around.items()}
        if not terms:
            return zeros, size
        together = torch.stack(terms).sum()
        if any(node.name().endswith(ONCE) for node in edges_of(together)):
            raise _NotOffered("a custom Function is marked @once_differentiable")
        found = torch.autograd.grad(together, list(around.values()), allow_unused=True)
    return {n: z if g is None else dense(g.detach()) for (n, z), g in zip(zeros.items(), found, strict=True)}, size


def _first(problem: Problem, tensors: dict[str, Tensor], create_graph: bool = False) -> dict[str, Tensor | None]:
    with torch.enable_grad():
        value = problem.value()
        if not value.requires_grad:
            return dict.fromkeys(tensors)
        found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True, create_graph=create_graph)
    return dict(zip(tensors, found, strict=True))


def _quotients(
    problem: Problem,
    here: dict[str, Tensor],
    around: dict[str, Tensor],
    tensors: dict[str, Tensor],
    directions: dict[str, Tensor],
    step: float,
) -> dict[str, tuple[Tensor, Tensor]]:
    """(g(θ + h·u) − g(θ − h·u)) / 2h, and by how much the one-sided quotients differ: much, at a kink."""
    ends = []
    for sign in (1, -1):
        with _pushed(tensors, directions, sign * step):
            try:
                ends.append(_zeros_for_none(_first(problem, around), around))
            except (RuntimeError, ValueError):  # outside the target's domain
                ends.append({name: torch.full_like(t, torch.nan) for name, t in here.items()})
    up, down = ends
    return {
        name: ((up[name] - down[name]) / (2 * step), (up[name] - 2 * here[name] + down[name]).abs() / step)
        for name in around
    }


def _zeros_for_none(gradients: dict[str, Tensor | None], around: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: torch.zeros_like(t) if (g := gradients[n]) is None else dense(g).detach() for n, t in around.items()}


def _worst(
    by_autograd: Tensor, quotients: Tensor, bend: Tensor, noise: float, largest: float, slack: float
) -> Found | None:
    """The entry that is off most, if one is: error, index, double backward's number, the differences' and its error."""
    if not by_autograd.numel():
        return None
    steps = torch.tensor(STEPS, dtype=torch.float64).reshape(-1, *[1] * by_autograd.dim()).to(by_autograd.device)
    extrapolated = (RATIO**2 * quotients[1:] - quotients[:-1]) / (RATIO**2 - 1)
    change = (extrapolated[1:] - extrapolated[:-1]).abs()
    plain = (extrapolated[1:] - quotients[1:-1]).abs() / RATIO**2
    errors = (torch.maximum(change, plain) + noise / steps[2:]).nan_to_num(nan=torch.inf)
    error, best = errors.min(dim=0)
    values = extrapolated[1:].gather(0, best.unsqueeze(0)).squeeze(0)
    later = torch.arange(len(errors)).reshape(steps[2:].shape).to(best.device) > best
    contradicted = later & ((extrapolated[1:] - values).abs() > 4 * (errors + error))  # a plateau of a staircase
    error = torch.where(contradicted.any(dim=0), torch.inf, error)
    gap = (by_autograd - values).abs().nan_to_num(nan=0.0)
    scale = max(largest, float(values.abs().nan_to_num(nan=0.0).max()))
    # The one-sided quotients of a smooth gradient come nearer to one another with each step; those of a staircase do
    # not, once it has few steps within reach. Roundings alone do not make as much of them as half of what is missed.
    apart = bend[2:].nan_to_num(nan=torch.inf)
    rising = (later & (apart > gap / 2) & (apart > 4 * apart.gather(0, best.unsqueeze(0)))).any(dim=0)
    error = torch.where(rising, torch.inf, error)
    error = error + bend.nan_to_num(nan=torch.inf).min(dim=0).values
    # Where steps disagree with one another (a kink, a value that is not finite), differences cannot accuse.
    excess = gap - 4 * error - TOLERANCE * scale - slack
    excess = torch.where(error <= 0.05 * gap, excess, -torch.inf)
    place = int(excess.argmax())
    if not float(excess.reshape(-1)[place]) > 0:
        return None
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), by_autograd.shape))
    numbers = (float(t.reshape(-1)[place]) for t in (by_autograd, values, error))
    return float(gap.reshape(-1)[place]) / scale, index, *numbers  # type: ignore[return-value]


def _direction(tensor: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, tuple(tensor.shape), generator=generator) * 2 - 1
    sizes = scale_of(tensor.detach().reshape(-1)).reshape(tensor.shape)
    return (signs * sizes * (0.5 + torch.rand(tuple(tensor.shape), generator=generator))).to(tensor)


@contextmanager
def _pushed(tensors: dict[str, Tensor], directions: dict[str, Tensor], step: float) -> Iterator[None]:
    """The variables moved, and moved back."""
    before = {name: t.detach().clone() for name, t in tensors.items()}
    try:
        for name, tensor in tensors.items():
            tensor.data.add_(directions[name], alpha=step)
        yield
    finally:
        for name, tensor in tensors.items():
            tensor.data.copy_(before[name])


@contextmanager
def _weights_as_leaves(problem: Problem) -> Iterator[dict[str, Tensor]]:
    """The projection's weights as variables: they stand for the upstream gradient."""
    own = problem.weights
    if problem.loss is not None or own is None:
        yield {}
        return
    problem.weights = [w.clone().requires_grad_() for w in own]
    try:
        yield {f"upstream gradient {n}": w for n, w in enumerate(problem.weights) if not w.is_complex()}
    finally:
        problem.weights = own
