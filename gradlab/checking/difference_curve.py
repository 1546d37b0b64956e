"""What a step h does to a difference.

(L(x+h) − L(x)) / h has a truncation error of h/2 · L″, which falls with h, and
(L(x+h) − L(x−h)) / 2h one of h²/6 · L‴; both have a rounding error of about ε·|L|/h, which grows. On logarithmic axes
these are straight lines, and the error follows the higher one: a V, whose bottom is the best h (Press et al.,
*Numerical Recipes*, 3rd ed., §5.7). The truth is autograd's gradient in float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table

from gradlab.checking.calls import Call, Loss, name_of, notes_on, reason_of
from gradlab.checking.targets import target_of
from gradlab.checking.texts import as_json, as_text, number
from gradlab.checking.undisturbed import undisturbed
from gradlab.errors import BadInput
from gradlab.tensors import dense
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.moves import Moves, flat, index_of
from gradlab.witnesses.problem import wide

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = tuple(10 ** (-k / 3) for k in range(3, 49))  # 1e-1 to 1e-16, three a decade
ABOVE = 30.0  # times the rounding error: there nothing but truncation is left


@dataclass(frozen=True, slots=True)
class Curve:
    """The error of one difference quotient over h, with the two lines that explain it.

    Attributes:
        formula: ``forward`` or ``central``.
        dtype: in which L was computed.
        order: of the truncation error, ``truncation · h**order``.
        steps: h.
        errors: |difference − gradient|; NaN where x + h is x, or where L is not finite.
        truncation: |L″|/2 for forward, |L‴|/6 for central, read off the float64 curve where its slope is ``order``;
            0.0 where there is no such stretch, as for a straight line.
        rounding: ε·|L|, so that ``rounding / h`` is the rounding error.
    """

    formula: str
    dtype: str
    order: int
    steps: tuple[float, ...]
    errors: tuple[float, ...]
    truncation: float
    rounding: float

    @property
    def best(self) -> tuple[float, float] | None:
        """The h with the smallest error, and this error; none counts as smaller than ε·|L|/h: that would be luck."""
        pairs = zip(self.steps, self.errors, strict=True)
        known = [(max(error, self.rounding / h), -h) for h, error in pairs if math.isfinite(error)]
        error, minus_h = min(known, default=(math.inf, 0.0))
        return (-minus_h, error) if known else None

    @property
    def expected_best(self) -> float | None:
        """The h at which ``truncation · h**order + rounding / h`` is smallest; None without truncation."""
        if not self.truncation:
            return None
        return float((self.rounding / (self.order * self.truncation)) ** (1 / (self.order + 1)))


@dataclass(frozen=True, slots=True)
class VCurve:
    """The error of differences over h, at one entry.

    Attributes:
        target: its name.
        variable, index: the entry.
        value: x, the entry itself (its real part, which is what moves).
        gradient: ∂L/∂x by autograd in float64.
        loss: L; where it is a sum of several terms, the sum of their magnitudes.
        curves: forward and central in each dtype.
        notes: what else a reader should know.
    """

    target: str
    variable: str
    index: tuple[int, ...]
    value: float
    gradient: float
    loss: float
    curves: tuple[Curve, ...]
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return self.variable + (f"[{','.join(map(str, self.index))}]" if self.index else "")

    @property
    def scale(self) -> float:
        """What errors are divided by: |∂L/∂x|, so that 1e-8 means eight digits right; 1 where that is 0."""
        return abs(self.gradient) or 1.0

    def to_json(self) -> str:
        """Everything as JSON; numbers that are not finite become text."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        curves = [asdict(c) | {"best": c.best, "expected_best": c.expected_best} for c in self.curves]
        return as_json(content | {"curves": curves})

    def figure(self) -> Figure:
        """The errors over h as a picture."""
        from gradlab.figures.v_curve import figure

        return figure(self)

    def __str__(self) -> str:
        """The bottoms of the Vs; errors are relative to the derivative, absolute where that is 0, as in the picture."""
        kind = "relative" if self.gradient else "absolute"
        table = Table("difference", "dtype", "best h", f"{kind} error about there", "best h by theory")
        for c in self.curves:
            h, error = (None, None) if c.best is None else (c.best[0], c.best[1] / self.scale)
            table.add_row(c.formula, c.dtype, number(h), number(error), number(c.expected_best))
        title = f"{self.target}: differences at {self.place} = {self.value:.6g}, where ∂L/∂x is {self.gradient:.6g}"
        return as_text(title, table, *self.notes)


def v_curve(
    target: Any,
    *inputs: Any,
    variable: str | None = None,
    index: Sequence[int] | int | None = None,
    loss: Loss | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dtypes: Sequence[torch.dtype] = (torch.float64, torch.float32),
) -> VCurve:
    """The error of forward and central differences over h, from 1e-1 to 1e-16, at one entry.

    The truth is autograd's gradient of a float64 copy, at the very point where the differences are taken (for float32:
    at the numbers rounded to float32). h is what x + h really moves by in its dtype. Nothing of the user's is changed.

    Args:
        target, inputs, loss, kwargs: as for `precision`.
        variable: whose entry; None means the one with the largest gradient.
        index: of the entry; None means the one with the largest gradient.
        dtypes: in which L is computed.

    Returns:
        The curves: ``print(curve)``, ``curve.to_json()``, ``curve.figure()``.

    Raises:
        BadInput: there is no such entry, or the target does not run in float64.

    Example:
        >>> curve = v_curve(torch.exp, torch.tensor(1.0), loss=torch.sum)
        >>> forward, central = curve.curves[:2]
        >>> round(forward.truncation, 2), round(central.truncation, 2)  # e/2 and e/6
        (1.36, 0.45)
        >>> 1e-9 < forward.best[0] < 1e-7 < central.best[0] < 1e-4
        True
    """
    call = Call(target_of(target), inputs, kwargs or {}, loss)
    with undisturbed(call.target, (inputs, call.kwargs)):
        double = call.attempt(torch.float64)
        if isinstance(double, str):
            raise BadInput(f"the truth would be autograd's gradient of a float64 copy, and there is none ({double})")
        name, place, where = _entry(double, variable, index)
        notes = [*call.notes(), *notes_on(double)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sharp = _curves(call, torch.float64, name, place, None)
            curves: list[Curve] = []
            for dtype in dtypes:
                try:
                    curves += sharp if dtype is torch.float64 else _curves(call, dtype, name, place, sharp)
                except Exception as error:  # it does not run in this dtype
                    notes.append(f"nothing runs in {name_of(dtype)} ({reason_of(error)})")
        gradient, x = double.autograd[name], flat(double.problem.variables[name].tensor)[place]
        slope = 0.0 if gradient is None else float(dense(gradient)[where].real)
        magnitude = double.problem.magnitude()
    notes += _notes_on_truncation(sharp)
    return VCurve(call.target.name, name, where, float(x.real), slope, magnitude, tuple(curves), tuple(notes))


def _entry(double: Backward, name: str | None, index: Sequence[int] | int | None) -> tuple[str, int, tuple[int, ...]]:
    """The name, the place in the flat variable, and the index of the entry that is meant."""
    variables = {n: v.tensor for n, v in double.problem.variables.items() if v.tensor.numel()}
    if not variables or (name is not None and name not in variables):
        raise BadInput(f"there is no variable {name!r} with entries: choose from {', '.join(variables) or '(none)'}")
    sizes = {
        n: flat(torch.zeros_like(t) if (g := double.autograd[n]) is None else dense(g)) for n, t in variables.items()
    }
    sizes = {n: g.abs().nan_to_num(nan=0.0, posinf=0.0) for n, g in sizes.items()}
    name = max(sizes, key=lambda n: float(sizes[n].max())) if name is None else name
    shape = variables[name].shape
    if index is None:
        place = int(sizes[name].argmax())
        return name, place, index_of(place, variables[name])
    where = (index,) if isinstance(index, int) else tuple(index)
    if len(where) != len(shape) or not all(0 <= i < n for i, n in zip(where, shape, strict=True)):
        raise BadInput(f"{name} of shape {tuple(shape)} has no entry {where}: give one index for each dimension")
    place = 0
    for i, n in zip(where, shape, strict=True):
        place = place * n + i
    return name, place, where


def _curves(call: Call, dtype: torch.dtype, name: str, place: int, sharp: list[Curve] | None) -> list[Curve]:
    """The curves of both formulas in one dtype; those in float64 lend theirs the truncation."""
    rounded = call.rounded(dtype)
    truth = rounded.backward(torch.float64)
    problem = truth.problem if dtype is torch.float64 else rounded.problem(dtype)
    problem.value()  # with gradients on once, which shows the problem what outputs L is made of
    gradient = truth.autograd[name]
    slope = 0.0 if gradient is None else float(flat(dense(gradient))[place].real)
    x, h = wide(flat(problem.variables[name].tensor)[place]).cpu(), torch.tensor(STEPS, dtype=torch.float64)
    points = torch.cat([x[None], x + h, x - h]).to(problem.variables[name].tensor.dtype)
    values = Moves(problem).at(name, torch.full((len(points),), place), points, one_by_one=True)
    ends, spots = ([part.numpy() for part in wide(t).real.split([1, len(h), len(h)])] for t in (values, points))
    rounding = torch.finfo(dtype).eps * problem.magnitude()
    curves = []
    for formula, order, low in (("forward", 1, 0), ("central", 2, 2)):
        rise, run = ends[1] - ends[low], spots[1] - spots[low]
        run[run == 0] = math.nan  # x + h is x
        errors = tuple(abs(rise / run - slope).tolist())
        fit = _truncation(errors, order, rounding) if sharp is None else sharp[order - 1].truncation
        curves.append(Curve(formula, name_of(dtype), order, STEPS, errors, fit, rounding))
    return curves


def _truncation(errors: Sequence[float], order: int, rounding: float) -> float:
    """c where the error is c · h**order: at the smallest steps at which it is far above rounding; else 0."""
    clear = [(h, e / h**order) for h, e in zip(STEPS, errors, strict=True) if e > ABOVE * rounding / h]
    for n in range(len(clear) - 3, -1, -1):
        three = [c for _, c in clear[n : n + 3]]
        # Another slope would show: three steps reach over a factor of 4.6 in h.
        if max(three) < 1.3 * min(three) and clear[n][0] < 5 * clear[n + 2][0]:
            return sorted(three)[1]
    return 0.0


def _notes_on_truncation(sharp: Sequence[Curve]) -> Iterator[str]:
    causes = {1: "L″ is 0, as on a straight line,", 2: "L‴ is 0, as on a straight line or a parabola,"}
    for curve in sharp:
        if not curve.truncation:
            why = f"{causes[curve.order]} or too small to see, or L has a kink there; another entry may show it"
            yield f"no truncation error of slope {curve.order} shows in {curve.formula} differences: {why}"
