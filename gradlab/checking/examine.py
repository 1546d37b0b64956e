"""Every variable of a problem: autograd's gradient against each witness, and a close look where they differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gradlab.agreement import FLOOR
from gradlab.checking import symmetric
from gradlab.checking.conditions import blame_of
from gradlab.checking.coverage import Budget, telling_order
from gradlab.checking.findings import Finding, Verdict, about
from gradlab.checking.judge import Ruling, judge
from gradlab.checking.testimony import numbers_at, who_stands_alone
from gradlab.checking.tolerances import rounding_floor, tolerance_of
from gradlab.tensors import dense
from gradlab.witnesses import CannotSay, Problem, Variable, Witness
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.differences import Numeric
from gradlab.witnesses.moves import Moves, index_of
from gradlab.witnesses.numeric import directions, look_along, look_closely, scale_of

MOST_CLOSE_LOOKS = 24
SAMPLERS = frozenset(("_standard_gamma", "_sample_dirichlet"))  # by rejection
JUMPS = (
    "samples are drawn by rejection, so that one with the same random numbers jumps as the parameter moves; autograd "
    "gives the derivative of a sample at a fixed probability (Figurnov et al., Implicit Reparameterization Gradients, "
    "2018), which was not compared with anything"
)


@dataclass(slots=True)
class Gathered:
    """What is known of one variable's gradient.

    Attributes:
        variable: whose.
        autograd: its flat gradient, zeros where it is None.
        manual: the handwritten one, None where there is no sweep.
        scale: max|gradient|, but at least 1e-3 · G, as in DESIGN's relative error.
        margin: the absolute difference that rounding explains.
        disputed: place → by how much a witness differs from autograd there, beyond its own error.
        compared: how many entries each witness compared.
        cannot: why a witness had nothing to say.
    """

    variable: Variable
    autograd: Tensor
    manual: Tensor | None
    scale: float
    margin: float
    disputed: dict[int, float] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    cannot: dict[str, str] = field(default_factory=dict)

    def dispute(self, places: Tensor, values: Tensor, errors: Tensor | float) -> None:
        """Notes where a witness's values differ from autograd's by more than rounding."""
        own = self.autograd[places]
        gap = (own - values).abs() - errors
        # Two infinities of one sign, or two NaN, are the same answer; else what is not finite is a difference.
        same = (own == values) | (own.isnan() & values.isnan())
        gap = torch.where(same, 0.0, gap.nan_to_num(nan=math.inf, posinf=math.inf))
        for place in (gap > self.margin).nonzero().reshape(-1).tolist():
            where = int(places[place])
            self.disputed[where] = max(self.disputed.get(where, 0.0), float(gap[place]))


class Examination:
    """Compares the witnesses of one problem, variable by variable.

    Args:
        problem: what is examined.
        backward: autograd's and the handwritten backward pass of it.
        moves: evaluates it with entries moved.
        single: makes each witness of single entries that is asked at every entry, by name.
        others: those that are asked only at the worst entry.
        budget: for the entries.
    """

    def __init__(
        self,
        problem: Problem,
        backward: Backward,
        moves: Moves,
        single: dict[str, Witness],
        others: dict[str, Witness],
        budget: Budget,
        use_manual: bool = True,
    ) -> None:
        self.problem = problem
        self.backward = backward
        self.moves = moves
        self.single = single
        self.others = others
        self.budget = budget
        self.use_manual = use_manual and bool(backward.manual)
        self.tolerance = tolerance_of(backward)
        self._largest = self._largest_entry()

    def findings(self) -> Iterator[Finding]:
        """One for each variable."""
        for variable in self.problem.variables.values():
            yield self.finding(variable)

    def finding(self, variable: Variable) -> Finding:
        gathered = self.gather(variable)
        rulings = dict(self._rulings(gathered))
        return self._conclude(gathered, rulings)

    # --- gathering -------------------------------------------------------------------------------------------

    def gather(self, variable: Variable) -> Gathered:
        """Asks every witness about every entry that there is time for."""
        gathered = self._start(variable)
        places = torch.arange(len(gathered.autograd))
        # L is finite, and another witness that finds no number either excuses none.
        gathered.disputed |= dict.fromkeys(gathered.autograd.isnan().nonzero().reshape(-1).tolist(), math.inf)
        if gathered.manual is not None:
            gathered.compared["manual"] = len(places)
            gathered.dispute(places, gathered.manual, 0.0)
        if len(places):
            order = telling_order(gathered.autograd)
            done = self.budget.look(order, lambda some: self._ask(gathered, some)) if self.single else 0
            gathered.compared |= {n: done for n in self.single if n not in gathered.cannot}
        return gathered

    def _start(self, variable: Variable) -> Gathered:
        own, manual = self.backward.autograd[variable.name], self.backward.manual.get(variable.name)
        autograd = _flat(own, variable.tensor)
        by_hand = _flat(manual, variable.tensor) if self.use_manual else None
        size = max(_largest(autograd), _largest(by_hand) if by_hand is not None else 0.0, FLOOR * self._largest)
        return Gathered(variable, autograd, by_hand, size, self._margin(variable, size))

    def _margin(self, variable: Variable, size: float) -> float:
        return self.tolerance * size + rounding_floor(variable.tensor, self.moves.noise, self._largest)

    def _ask(self, gathered: Gathered, places: Tensor) -> None:
        for name, witness in self.single.items():
            if name in gathered.cannot:
                continue
            try:
                values = witness.slopes(gathered.variable.name, places)
            except CannotSay as reason:
                gathered.cannot[name] = str(reason)
                continue
            errors = witness.errors(gathered.variable.name, places) if isinstance(witness, Numeric) else 0.0
            gathered.dispute(places, values, errors)
            size = max(gathered.scale, _largest(values))
            if size > gathered.scale:  # a gradient that autograd leaves out
                gathered.scale, gathered.margin = size, self._margin(gathered.variable, size)

    def _largest_entry(self) -> float:
        tensors = [*self.backward.autograd.values(), *(self.backward.manual.values() if self.use_manual else ())]
        return max((_largest(dense(t)) for t in tensors if t is not None), default=0.0)

    # --- judging ---------------------------------------------------------------------------------------------

    def _rulings(self, gathered: Gathered) -> Iterator[tuple[int, Ruling]]:
        """A close look at the entries that are most disputed; for a complex entry the worse of its two directions."""
        worst = sorted(gathered.disputed, key=lambda place: -gathered.disputed[place])[:MOST_CLOSE_LOOKS]
        for place in worst:
            value = gathered.autograd[place].item()
            parts = zip((value.real, value.imag), directions(gathered.variable.tensor.dtype), strict=False)
            rulings = [self._ruling(gathered, place, part, direction) for part, direction in parts]
            yield place, max(rulings, key=lambda r: ("agree", "kink", "unclear", "wrong").index(r.status))

    def _ruling(self, gathered: Gathered, place: int, value: float, direction: complex) -> Ruling:
        look = look_closely(self.moves, gathered.variable.name, place, direction)
        return judge(value, look, gathered.margin)

    def _conclude(self, gathered: Gathered, rulings: dict[int, Ruling]) -> Finding:
        wrong = [p for p, r in rulings.items() if r.status == "wrong" or self._is_contradicted(gathered, p, r)]
        kinks = [p for p, r in rulings.items() if r.status == "kink"]
        if wrong and (note := self._excuse(gathered)):
            verdict: Verdict = "not differentiable" if note is JUMPS else "agree"
            described = self._describe(verdict, gathered, rulings, None, 0)
            return replace(described, note=note, error=self._gap(gathered), index=None, numbers={}, errors={})
        if wrong:
            off = len(gathered.disputed) - (len(rulings) - len(wrong))
            return self._describe("wrong", gathered, rulings, wrong[0], off)
        sampled = self._along(gathered)
        if sampled is not None:
            return sampled
        if kinks:
            return self._describe("kink", gathered, rulings, kinks[0], 0)
        if self.backward.autograd[gathered.variable.name] is None:
            return self._describe("not reached", gathered, rulings, None, 0)
        return self._describe("agree", gathered, rulings, None, 0)

    def _excuse(self, gathered: Gathered) -> str:
        """Why differences may say something else and autograd be right all the same; empty where nothing does."""
        if not SAMPLERS.isdisjoint(self.backward.operations) and gathered.manual is None:
            return JUMPS
        if gathered.manual is None or self._gap(gathered) * gathered.scale > gathered.margin:
            return ""
        if self.backward.conventions:
            return self.backward.conventions[0]
        if self.backward.has_functions or symmetric.OPERATIONS.isdisjoint(self.backward.operations):
            return ""
        name, witness = gathered.variable.name, self.single.get("numeric")
        is_it = symmetric.is_symmetrized(self.moves, witness, name, gathered.autograd, gathered.margin)
        return symmetric.NOTE if is_it else ""

    def _gap(self, gathered: Gathered) -> float:
        """The relative error of autograd against the handwritten sweep alone; 0 where there is no sweep."""
        if gathered.manual is None or not gathered.scale:
            return 0.0
        return float((gathered.autograd - gathered.manual).abs().max()) / gathered.scale

    def _is_contradicted(self, gathered: Gathered, place: int, ruling: Ruling) -> bool:
        """Where differences cannot tell, whether another witness can, and autograd stands against it."""
        if ruling.status != "unclear":
            return False
        own = gathered.autograd[place].item()
        numbers = numbers_at(gathered.variable.name, place, {}, self.others)
        if gathered.manual is not None and not gathered.cannot.get("manual"):
            numbers["manual"] = gathered.manual[place].item()
        voices = [v for v in numbers.values() if v is not None]
        same_nan = [v for v in voices if v != v and own != own]
        against = [v for v in voices if not abs(v - own) <= gathered.margin and v != own and v not in same_nan]
        return bool(against) and 2 * len(against) > len(voices)

    def _along(self, gathered: Gathered) -> Finding | None:
        """Where not every entry was compared: whether the rest agrees along random directions."""
        least = min((count for name, count in gathered.compared.items() if name in self.single), default=0)
        if not self.single or least >= len(gathered.autograd):
            return None
        x = gathered.variable.tensor.detach()
        generator = torch.Generator().manual_seed(1)
        scale = scale_of(x.reshape(-1)).reshape(x.shape)
        for _ in range(2):
            signs = torch.randint(0, 2, tuple(x.shape), generator=generator).double() * 2 - 1
            direction = (signs * scale).to(x.device)
            expected = (gathered.autograd.reshape(x.shape).real * direction).sum()
            sizes = gathered.autograd.reshape(x.shape).abs() * direction.abs()
            margin = self.tolerance * float(sizes.square().sum().sqrt())
            ruling = judge(float(expected), look_along(self.moves, gathered.variable.name, direction), margin)
            gathered.compared["directions"] = gathered.compared.get("directions", 0) + 1
            if ruling.status == "wrong":
                return self._in_direction(gathered, float(expected), ruling)
        return None

    def _in_direction(self, gathered: Gathered, expected: float, ruling: Ruling) -> Finding:
        variable = gathered.variable
        error = abs(expected - ruling.numeric) / max(abs(expected), abs(ruling.numeric))
        return Finding(
            **about(variable),
            verdict="wrong",
            error=error,
            tolerance=self.tolerance,
            numbers={"autograd": expected, "numeric": ruling.numeric},
            errors={"numeric": ruling.error},
            compared=gathered.compared,
            note="along a random direction in which all of its entries move; no single entry was found",
        )

    # --- wording ---------------------------------------------------------------------------------------------

    def _describe(
        self, verdict: Verdict, gathered: Gathered, rulings: dict[int, Ruling], place: int | None, off: int
    ) -> Finding:
        variable = gathered.variable
        shown = place if place is not None else self._most_different(gathered)
        ruling = rulings.get(shown) if shown is not None else None
        numbers, errors, error = self._numbers(gathered, shown, ruling)
        blame, hint = self._blame() if verdict == "wrong" else ("", "")
        return Finding(
            **about(variable),
            verdict=verdict,
            error=error,
            tolerance=self.tolerance,
            index=index_of(shown, variable.tensor) if shown is not None else None,
            numbers=numbers,
            errors=errors,
            off=off,
            compared=gathered.compared,
            alone=who_stands_alone(numbers, errors, gathered.margin) if verdict == "wrong" else "",
            note=ruling.why if ruling is not None and verdict in ("wrong", "kink") else "",
            blame=blame,
            hint=hint,
        )

    def _blame(self) -> tuple[str, str]:
        reconciliation = self.backward.reconciliation
        if reconciliation is not None and not reconciliation.ok:
            return blame_of(reconciliation)
        if self.backward.cuts:
            shown = "; ".join(self.backward.cuts[:3]) + ("; …" if len(self.backward.cuts) > 3 else "")
            return "", f"the gradient is cut at {shown}. Where that is meant, autograd does what it was told"
        return "", ""

    def _numbers(
        self, gathered: Gathered, place: int | None, ruling: Ruling | None
    ) -> tuple[dict[str, float | complex | None], dict[str, float], float]:
        if place is None:
            return {}, {}, 0.0
        name = gathered.variable.name
        numbers: dict[str, float | complex | None] = {
            "autograd": None if self.backward.autograd[name] is None else gathered.autograd[place].item()
        }
        if gathered.manual is not None:
            numbers["manual"] = None if self.backward.manual[name] is None else gathered.manual[place].item()
        errors = {}
        if ruling is not None and not gathered.variable.tensor.is_complex():
            numbers["numeric"], errors["numeric"] = ruling.numeric, ruling.error
        asked = self.single if ruling is None else {n: w for n, w in self.single.items() if n != "numeric"}
        numbers |= numbers_at(name, place, asked, self.others if gathered.disputed else {})
        others = (numbers.get(n) for n in ("numeric", "manual", *numbers) if n != "autograd")
        reference = next((number for number in others if number is not None), None)
        own = gathered.autograd[place].item()
        error = abs(own - reference) / gathered.scale if reference is not None and gathered.scale else 0.0
        return numbers, errors, error if math.isfinite(error) else math.inf

    def _most_different(self, gathered: Gathered) -> int | None:
        if gathered.manual is None or not len(gathered.autograd):
            return None
        gap = (gathered.autograd - gathered.manual).abs().nan_to_num(nan=-1.0)
        return int(gap.argmax())


def _flat(gradient: Tensor | None, like: Tensor) -> Tensor:
    dtype = torch.complex128 if like.is_complex() else torch.float64
    if gradient is None:
        return torch.zeros(like.numel(), dtype=dtype)
    return dense(gradient).reshape(-1).to(dtype).cpu()


def _largest(tensor: Tensor) -> float:
    size = tensor.detach().abs().double()
    size = size[size.isfinite()]
    return float(size.max()) if size.numel() else 0.0
