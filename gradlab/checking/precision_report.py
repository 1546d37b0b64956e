"""What a dtype does to a gradient, and what a step h does to a difference.

A number of b bits holds the nearest of finitely many values. One operation is off by up to ε/2 of its result, where ε
is the distance from 1 to the next number: 2⁻⁵² in float64, 2⁻²³ in float32, 2⁻¹⁰ in float16, 2⁻⁷ in bfloat16. What is
too large overflows to infinity (above 65,504 in float16), what is too small underflows to 0 (below 6·10⁻⁸ in float16).
`precision` takes the same gradient in several dtypes and lays each beside the one in float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from gradlab.agreement import tolerance_for
from gradlab.checking.calls import Call, Loss, blame_on, disputed_in, errors_against, name_of, notes_on
from gradlab.checking.targets import target_of
from gradlab.checking.texts import as_json, as_text, number
from gradlab.checking.undisturbed import undisturbed
from gradlab.errors import BadInput
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.problem import wide

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TRUTH = "float64"
NOISE = 1000.0  # times the rounding of float64: up to there an entry may be a true zero


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor's gradient in one dtype; or, with a ``reason`` and no name, why nothing ran in this dtype.

    Attributes:
        name, kind: of the argument or parameter.
        dtype: in which everything ran.
        epsilon: the distance from 1 to the next number of this dtype.
        error: the relative error of autograd's gradient against autograd's in float64, as in DESIGN; infinite where
            one of the two is not finite; None where there is nothing to compare with.
        manual_error: the same of the handwritten sweep's gradient.
        overflow: the share of entries that are inf or NaN here, and finite in float64.
        underflow: the share of entries that are exactly 0 here, too small for this dtype or cancelled in it, and that
            are neither 0 nor rounding noise in float64.
        marks: what a reader should not miss, by name.
        blame: the operation at which autograd and the handwritten sweep part in this dtype.
        reason: why nothing ran.
    """

    name: str
    kind: str
    dtype: str
    epsilon: float
    error: float | None = None
    manual_error: float | None = None
    overflow: float = 0.0
    underflow: float = 0.0
    marks: tuple[str, ...] = ()
    blame: str = ""
    reason: str = ""

    @property
    def roundings(self) -> float | None:
        """The error in units of ε."""
        return None if self.error is None else self.error / self.epsilon

    @property
    def label(self) -> str:
        """The name after its kind, ``parameter weight``; ``input`` alone where it is called just that."""
        if not self.name:
            return "(all)"
        return self.name if self.name == self.kind else f"{self.kind} {self.name}"

    @property
    def remarks(self) -> str:
        """The marks with their numbers, and the reason."""
        shares = {"overflow": self.overflow, "underflow": self.underflow}
        words = [f"{mark} of {_share(shares[mark])}" if mark in shares else mark for mark in self.marks]
        return ": ".join(part for part in (", ".join(words), self.reason) if part)


@dataclass(frozen=True, slots=True)
class PrecisionReport:
    """The gradient of one target in several dtypes.

    Attributes:
        target: its name.
        dtypes: in the order in which they were asked for.
        rows: of all tensors, dtype by dtype.
        notes: what else a reader should know.
    """

    target: str
    dtypes: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: tuple[str, str]) -> Row:
        """The row of a (tensor, dtype); of a dtype in which nothing ran the row that says why."""
        for row in self.rows:
            if row.dtype == key[1] and row.name in (key[0], ""):
                return row
        raise KeyError(f"no row {key}; there are {', '.join(f'({r.name}, {r.dtype})' for r in self.rows)}")

    @property
    def table(self) -> list[dict[str, Any]]:
        """The rows as plain data, with the error in units of ε as ``roundings``."""
        return [asdict(row) | {"marks": list(row.marks), "roundings": row.roundings} for row in self.rows]

    def to_json(self) -> str:
        """Everything as JSON; numbers that are not finite become text."""
        return as_json({"target": self.target, "dtypes": self.dtypes, "rows": self.table, "notes": self.notes})

    def figure(self) -> Figure:
        """The errors of all tensors as a picture."""
        from gradlab.figures.precision import figure

        return figure(self)

    def __str__(self) -> str:
        """The table as plain text, nothing cut, and below it in full what is marked there.

        Autograd in float64 is what all others are measured by: it has no error of its own.
        """
        last = ["marks"] if any(row.remarks for row in self.rows) else []
        table = Table("tensor", "dtype", "autograd's error", "in units of ε", "handwritten sweep's error", *last)
        names = list(dict.fromkeys(row.name for row in self.rows))
        for row in sorted(self.rows, key=lambda row: names.index(row.name)):
            remark = [escape(row.remarks)] if last else []
            table.add_row(escape(row.label), row.dtype, *_own(row), number(row.manual_error), *remark)
        title = f"the gradient of {self.target} in each dtype: relative errors against autograd's gradient in float64"
        blames: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            if row.blame:
                blames.setdefault((row.dtype, row.blame), []).append(row.name)
        found = [f"to blame in {dtype} for {', '.join(names)}: {b}" for (dtype, b), names in blames.items()]
        return as_text(title, table, *found, *self.notes)


def _own(row: Row) -> tuple[str, str]:
    """The error of autograd, and in units of ε."""
    is_reference = row.dtype == TRUTH and row.error == 0
    return ("reference", "") if is_reference else (number(row.error), number(row.roundings))


def _share(share: float) -> str:
    return "all entries" if share == 1 else f"{100 * share:.3g}% of the entries"


def precision(
    target: Any,
    *inputs: Any,
    loss: Loss | None = None,
    dtypes: Sequence[torch.dtype] = DTYPES,
    kwargs: Mapping[str, Any] | None = None,
) -> PrecisionReport:
    """Takes the same gradient in several dtypes, and compares each with the one in float64.

    In each dtype, a copy of the module and of the arguments is rounded to it, so that the error has the rounding of the
    numbers themselves in it, as it has when a model is trained in that dtype. With b the float64 gradient and G the
    largest entry among all tensors, the error of one tensor's gradient a is

        max|a − b| / max(max|a|, max|b|, 1e-3 · G)

    A few ε are usual; a tensor whose gradient is tiny beside G has a small error even where all of it underflows, which
    is marked. The handwritten sweep's error beside autograd's tells a dtype that is too coarse (both are off)
    from a backward that goes wrong in it (autograd alone is off). Nothing of the user's is changed.

    Args:
        target: as for `gradlab.check`.
        inputs: what it is called with, of any floating dtype.
        loss: maps the output to a scalar; None means a fixed random projection of every floating output.
        dtypes: real floating dtypes; a complex tensor takes their complex counterpart.
        kwargs: named arguments of the call.

    Returns:
        The report: ``print(report)``, ``report.table``, ``report.to_json()``, ``report.figure()``. A dtype in which the
        target does not run has a row that says why.

    Raises:
        BadInput: the target is nothing that can be checked, or a dtype is none of real floating numbers.

    Example:
        >>> report = precision(torch.square, torch.tensor([0.1, 0.7]))
        >>> [row.roundings < 3 for row in report.rows]
        [True, True, True, True]
        >>> precision(lambda x: x.exp(), torch.tensor(12.0))["x", "float16"].marks
        ('overflow',)
    """
    for dtype in dtypes:
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise BadInput(
                f"{dtype} is no dtype of real floating numbers: choose from {', '.join(map(name_of, DTYPES))}"
            )
    call = Call(target_of(target), inputs, kwargs or {}, loss)
    with undisturbed(call.target, (inputs, call.kwargs)):
        double = call.attempt(torch.float64)
        notes = [*call.notes(), *notes_on(double)]
        rows: list[Row] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the pass in float64 has said whatever there is to say
            for dtype in dtypes:
                low = double if dtype is torch.float64 else call.attempt(dtype)
                rows += _rows(low, double, dtype)
                if isinstance(low, Backward) and low.failure and low is not double:
                    notes.append(f"no handwritten sweep in {name_of(dtype)}: {low.failure}")
    return PrecisionReport(call.target.name, tuple(map(name_of, dtypes)), tuple(rows), tuple(notes))


def _rows(low: Backward | str, double: Backward | str, dtype: torch.dtype) -> list[Row]:
    epsilon = torch.finfo(dtype).eps
    if isinstance(low, str):
        return [Row("", "", name_of(dtype), epsilon, marks=("does not run",), reason=low)]
    errors, by_hand, disputed = {}, {}, set[str]()
    if isinstance(double, Backward):
        errors, by_hand, disputed = (
            errors_against(low.autograd, double),
            errors_against(low.manual, double),
            disputed_in(double),
        )
    rows = []
    for name, variable in low.problem.variables.items():
        right, sweep = None, None
        if isinstance(double, Backward):
            right, sweep = double.autograd[name], double.manual.get(name)
        overflow, underflow = _lost(low.autograd[name], right, sweep if name not in disputed else None)
        own, manual = errors.get(name), by_hand.get(name)
        marks = _marks(own, manual, tolerance_for(dtype), name in disputed)
        named = {"overflow": overflow, "underflow": underflow, "not reached": low.autograd[name] is None}
        marks = tuple(mark for mark, applies in named.items() if applies) + marks
        blame = blame_on(low) if "autograd alone is off" in marks else ""
        rows.append(Row(name, variable.kind, name_of(dtype), epsilon, own, manual, overflow, underflow, marks, blame))
    return rows


def _lost(own: Tensor | None, right: Tensor | None, by_hand: Tensor | None) -> tuple[float, float]:
    """The shares of entries that became inf or NaN, and 0; without float64, of those that are inf or NaN."""
    if own is None or not own.numel():
        return 0.0, 0.0
    own = wide(own)
    right = own.nan_to_num() if right is None else wide(right)
    overflow, underflow = ~own.isfinite() & right.isfinite(), (own == 0) & (right.abs() > _noise(right, by_hand))
    return float(overflow.double().mean()), float(underflow.double().mean())


def _noise(right: Tensor, by_hand: Tensor | None) -> Tensor:
    """Up to where an entry in float64 may be a true zero, such as that of a key bias before a softmax.

    What the two witnesses differ by is rounding, and so is ε of the tensor's largest entry; NOISE leaves room, since a
    noise of few bits may happen to be nearly the same in both.
    """
    known = torch.finfo(torch.float64).eps * right.abs().nan_to_num(posinf=0.0).max()
    if by_hand is not None:
        known = torch.maximum(known, (right - wide(by_hand)).abs().nan_to_num(posinf=0.0).max())
    return NOISE * known


def _marks(own: float | None, manual: float | None, tolerance: float, isdisputed_in: bool) -> tuple[str, ...]:
    """Who is off by more than √ε, where fewer than half of the digits are right."""
    if isdisputed_in:
        return ("disputed in float64",)
    is_off, is_manual_off = (error is not None and not error <= tolerance for error in (own, manual))
    if is_off and manual is not None and not is_manual_off:
        return ("autograd alone is off",)
    if is_manual_off and not is_off:
        return ("the handwritten sweep alone is off",)
    return ("imprecise",) if is_off and own is not None and math.isfinite(own) else ()
