"""`gradlab.check`: from a target to a report. The main path, readable from top to bottom."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gradlab.agreement import coarsest
from gradlab.checking import second_order as curvature
from gradlab.checking import symmetric
from gradlab.checking.asked import (
    check_finite,
    check_question,
    check_variables,
    chosen_witnesses,
    explain_call,
    hidden_tensors,
)
from gradlab.checking.conditions import conditions as conditions_of
from gradlab.checking.conditions import look_under
from gradlab.checking.coverage import Budget
from gradlab.checking.examine import Examination
from gradlab.checking.findings import Finding
from gradlab.checking.forward_mode import wrong_jvps
from gradlab.checking.lower import against_double
from gradlab.checking.nearby import name_captured
from gradlab.checking.report import Report
from gradlab.checking.stability import not_stable
from gradlab.checking.targets import Target, in_dtype, problem_of, target_of
from gradlab.checking.undisturbed import undisturbed
from gradlab.errors import BadInput
from gradlab.witnesses import Problem, Variable, Witness
from gradlab.witnesses.backward import Backward
from gradlab.witnesses.complex_step import ComplexStep
from gradlab.witnesses.differences import Numeric
from gradlab.witnesses.forward import Forward
from gradlab.witnesses.moves import Moves
from gradlab.witnesses.symbolic import Symbolic

SINGLE: dict[str, Callable[[Problem, Moves], Witness]] = {
    "numeric": lambda problem, moves: Numeric(moves),
    "forward": lambda problem, moves: Forward(problem),
    "complex_step": lambda problem, moves: ComplexStep(problem),
    "symbolic": lambda problem, moves: Symbolic(problem),
}
WITNESSES = ("autograd", "manual", *SINGLE)
LOWER = (torch.float32, torch.bfloat16, torch.float16)
# In a low precision that nobody asked for, an error has to be larger than any that rounding makes over all of PyTorch's
# own samples: there the largest is 0.14, of a softmax in float16.
LOWER_SLACK, LOWER_MOST = 6.5, 0.2
SECOND = (
    "possibly what the backward computes from does not come from save_for_backward, or is computed there by operations "
    "that are not differentiable: mend that, or mark the backward @once_differentiable"
)
SLOW = 0.5  # seconds a forward and two backward passes may take, for what takes many more of them
LARGE = 200_000  # entries, likewise


def check(
    target: Any,
    *inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    witnesses: str | Sequence[str] = ("autograd", "manual", "numeric"),
    seconds: float = 30.0,
    second_order: bool = True,
    conditions: bool = True,
) -> Report:
    """Asks several witnesses for every derivative of a target, and says which of them is wrong.

    Autograd's gradient is compared with the handwritten sweep's and with differences, entry by entry; where they
    differ, with all other witnesses too. Then follow double backward, other layouts in memory, broadcasting, and other
    precisions. Nothing of the user's is changed: random states, buffers, ``.grad``, training flags, hooks.

    L is the scalar that is differentiated: ``loss(output)``, or without it a fixed random projection of the outputs.
    The witnesses to its derivatives: ``autograd``, PyTorch's backward pass, which is checked; ``manual``, gradlab's
    own, by handwritten rules for each operation of the forward pass; ``numeric``, which moves an entry and looks at how
    L changes; ``forward``, PyTorch's forward mode; ``complex_step``, which moves an entry along the imaginary axis;
    ``symbolic``, computer algebra.

    There is a verdict for each tensor; *wrong* and *nondeterministic* make ``report.ok`` False.

    - *agree*: every witness asked gives autograd's number, up to rounding.
    - *wrong*: what PyTorch gives is not the derivative of the forward pass.
    - *kink*: there is no single slope, as of relu at 0, and autograd gives one of those possible.
    - *precision*: right in float64, and another number by rounding or overflow in the dtype given.
    - *nondeterministic*: the same call with the same seed gave another answer.
    - *not reached*: L does not depend on the tensor, and its gradient is None.
    - *not differentiable*: PyTorch has no derivative for something on the way.

    Args:
        target: a function; an ``nn.Module``, whose parameters that require a gradient are checked without being given;
            a ``torch.autograd.Function``; or a LightningModule with a batch, whose training step is the function.
        inputs: what it is called with. Of their floating tensors those are checked that require a gradient; all, where
            none does. float64 makes the check sharpest; for lower precisions a float64 copy is checked beside them.
        loss: maps the output to a scalar; None means a fixed random projection of every floating output.
        kwargs: named arguments of the call.
        witnesses: who is asked about every entry: autograd, manual, numeric, forward, complex_step, symbolic.
        seconds: about how long witnesses of single entries may take, in seconds; where that does not suffice for every
            entry, the report says what was left out.
        second_order: whether double backward is checked.
        conditions: whether other layouts, shapes and precisions are tried.

    Returns:
        The report: ``report.ok``, ``print(report)``, ``report.counts``, and ``report.raise_for_failure()``, which
        raises `gradlab.GradientError`, an AssertionError, where ``report.ok`` is False.

    Raises:
        BadInput: the target is none of these, nothing can be differentiated here, or a witness is unknown.

    Example:
        >>> report = check(torch.tanh, torch.linspace(-1, 1, 5, dtype=torch.float64))
        >>> report.ok, report.counts["numeric"]
        (True, 5)
    """
    witnesses = chosen_witnesses(witnesses, WITNESSES)
    begin = time.perf_counter()
    recognized = target_of(target)
    check_question(recognized, (inputs, kwargs or {}), loss)
    with undisturbed(recognized, (inputs, kwargs or {})):
        run = _Check(recognized, inputs, kwargs or {}, loss, witnesses, seconds)
        findings, notes = run.everything(second_order, conditions)
    return Report(recognized.name, tuple(findings), tuple(notes), time.perf_counter() - begin)


class _Check:
    """One check, from the first forward pass to the last."""

    def __init__(
        self,
        target: Target,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        loss: Callable[[Any], Tensor] | None,
        witnesses: Sequence[str],
        seconds: float,
    ) -> None:
        self.target, self.args, self.kwargs, self.loss = target, args, kwargs, loss
        self.witnesses = witnesses
        self.seconds = seconds
        self.notes: list[str] = []
        self.problem = problem_of(target, args, kwargs, loss)
        begin = time.perf_counter()
        self.backward = self._with_captured()
        check_variables(self.problem)
        self.took = time.perf_counter() - begin
        self.entries = sum(v.tensor.numel() for v in self.problem.variables.values())

    def _with_captured(self) -> Backward:
        """The first backward pass, which also shows what tensors the function uses that nobody gave it."""
        try:
            backward = Backward(self.problem)
        except Exception as error:
            clearer = explain_call(error, self.target, self.problem)
            if clearer is error:
                raise
            raise clearer from error
        if not backward.found:
            return backward
        names = name_captured(self.target.call, backward.found)
        captured = [Variable(n, "captured", t) for n, t in zip(names, backward.found, strict=True)]
        self.problem = problem_of(self.target, self.args, self.kwargs, self.loss, captured)
        return Backward(self.problem)

    def everything(self, with_second_order: bool, with_conditions: bool) -> tuple[list[Finding], list[str]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first forward pass has said whatever there is to say
            unstable = not_stable(self.problem, self.backward)
            if unstable:
                return unstable, self.notes
            findings = self._first_order()
            if not all(f.ok for f in findings):
                self.notes.append("second derivatives and other conditions wait until the first derivatives are right")
                return findings, self.notes
            small = self.took <= SLOW and self.entries <= LARGE
            if with_second_order:
                findings += self._second_order(findings) if small else self._left_out("second derivatives")
            if with_conditions:
                findings += self._conditions() if small else self._left_out("other layouts, shapes and precisions")
        return findings, self.notes

    # --- the first derivative --------------------------------------------------------------------------------

    def _first_order(self) -> list[Finding]:
        own = self.backward
        self.arena, self.arena_backward = self._in_double()
        check_finite(self.arena, self.arena_backward.value)
        examination = self._examination(self.arena, self.arena_backward)
        findings = list(examination.findings())
        self._note_coverage(findings)
        if self.arena is self.problem:
            return findings
        dtype = str(coarsest(own.dtypes)).removeprefix("torch.")
        self.notes.append(f"the witnesses looked at a float64 copy; the gradients in {dtype} were compared with its")
        return [
            against_double(own, self.arena_backward, self._as_given(f), f"in {dtype}, and right in float64")
            for f in findings
        ]

    def _examination(self, problem: Problem, backward: Backward) -> Examination:
        moves = Moves(problem, backward.epsilon, backward.noise)
        every = {name: make(problem, moves) for name, make in SINGLE.items()}
        asked = {n: w for n, w in every.items() if n in self.witnesses}
        others = {n: w for n, w in every.items() if n not in self.witnesses and n != "numeric"}
        budget = Budget(self.seconds, self.entries)
        return Examination(problem, backward, moves, asked, others, budget, "manual" in self.witnesses)

    def _in_double(self) -> tuple[Problem, Backward]:
        """A copy in double precision, where there can be one; else the problem itself."""
        low = [d for d in self.backward.dtypes if torch.finfo(d).eps > torch.finfo(torch.float64).eps]
        if not low:
            return self.problem, self.backward
        try:
            if any(v.kind == "captured" for v in self.problem.variables.values()):
                raise BadInput("the function uses tensors that it was not given, and they cannot be copied")
            target = in_dtype(self.target, torch.float64)
            problem = problem_of(target, self.args, self.kwargs, self.loss, dtype=torch.float64)
            backward = Backward(problem)
            if backward.error is not None:
                raise backward.error
        except Exception as error:  # whatever keeps it from running in float64: its own precision remains
            reason = str(error).strip().partition("\n")[0]
            self.notes.append(f"no float64 copy could be checked ({reason}): differences are as coarse as the dtype")
            return self.problem, self.backward
        return problem, backward

    def _as_given(self, finding: Finding) -> Finding:
        dtype = str(self.problem.variables[finding.name].tensor.dtype).removeprefix("torch.")
        return replace(finding, dtype=dtype)

    def _note_coverage(self, findings: list[Finding]) -> None:
        if self.arena_backward.failure:
            self.notes.append(f"no handwritten sweep: {self.arena_backward.failure}")
        self.notes += self.problem.unattached()
        self.notes += [
            f"tensors inside a {n} were not looked at: pass them by themselves"
            for n in hidden_tensors(self.problem.leaves)
        ]
        total = sum(f.entries for f in findings)
        for name in self.witnesses:
            missing = sum(f.entries - f.compared.get(name, 0) for f in findings) if name in SINGLE else 0
            if missing:
                self.notes.append(f"{name} did not look at {missing:,} of {total:,} entries")

    # --- further ---------------------------------------------------------------------------------------------

    def _second_order(self, first: list[Finding]) -> list[Finding]:
        if self.arena_backward.conventions:
            self.notes.append(f"second derivatives were not compared: {self.arena_backward.conventions[0]}")
            return []
        if any(finding.note == symmetric.NOTE for finding in first):
            self.notes.append("second derivatives were not compared: a matrix is only moved so that it stays symmetric")
            return []
        if self.arena_backward.cuts:
            cut = self.arena_backward.cuts[0]
            self.notes.append(f"second derivatives were not compared: the gradient is cut at {cut}")
            return []
        result = curvature.second_order(self.arena, self.arena_backward.epsilon, self.arena_backward.noise)
        how = f"not compared: {result.reason}" if result.reason else f"compared, {result.compared:,} entries"
        self.notes.append(f"second derivatives were {how}")
        found = []
        for name, (error, index, own, quotient, uncertainty) in result.wrong.items():
            variable = self.arena.variables.get(name)
            shape = tuple(variable.tensor.shape) if variable is not None else ()
            found.append(
                Finding(
                    name=name,
                    kind=variable.kind if variable is not None else "output",
                    shape=shape,
                    dtype="float64",
                    verdict="wrong",
                    condition="second derivative",
                    error=error,
                    tolerance=1e-5,
                    index=index,
                    numbers={"double backward": own, "differences of the gradient": quotient},
                    errors={"differences of the gradient": uncertainty},
                    entries=variable.tensor.numel() if variable is not None else 0,
                    alone="double backward",
                    hint=SECOND if self.arena_backward.has_functions else "",
                )
            )
        return found

    def _conditions(self) -> list[Finding]:
        found: list[Finding] = []
        tried: list[str] = []
        could_not: list[str] = []
        for condition in conditions_of(self.problem, self.backward.has_functions):
            wrong, reason = look_under(condition)
            found += wrong
            (could_not if reason else tried).append(condition.name)
        if self.backward.has_functions:
            found += wrong_jvps(self.arena, self.arena_backward)
        for dtype in self._lower():
            wrong, reason = self._in_lower(dtype)
            found += wrong
            (could_not if reason else tried).append(f"in {str(dtype).removeprefix('torch.')}")
        if tried:
            self.notes.append(f"also tried: {'; '.join(tried)}")
        if could_not:
            self.notes.append(f"not possible, or without meaning here: {'; '.join(could_not)}")
        return found

    def _lower(self) -> list[torch.dtype]:
        """Precisions below those that took part, where the double one is right."""
        if coarsest(self.arena_backward.dtypes) not in (torch.float64, torch.complex128):
            return []
        own = self.backward.epsilon
        return [dtype for dtype in LOWER if torch.finfo(dtype).eps > own]

    def _in_lower(self, dtype: torch.dtype) -> tuple[list[Finding], str]:
        try:
            problem = problem_of(in_dtype(self.target, dtype), self.args, self.kwargs, self.loss, dtype=dtype)
            low = Backward(problem)
        except Exception as error:  # it does not run in this precision
            return [], type(error).__name__
        if low.error is not None or not low.manual:
            return [], low.failure or type(low.error).__name__
        name = str(dtype).removeprefix("torch.")
        condition = f"in {name}, and right in float64"
        slack = min(LOWER_SLACK, max(1.0, LOWER_MOST / math.sqrt(torch.finfo(dtype).eps)))
        found = [against_double(low, self.arena_backward, f, condition, slack) for f in self._as_right()]
        return [f for f in found if not f.ok], ""

    def _as_right(self) -> list[Finding]:
        return [
            Finding(v.name, v.kind, tuple(v.tensor.shape), "float64", "agree", entries=v.tensor.numel())
            for v in self.arena.variables.values()
        ]

    def _left_out(self, what: str) -> list[Finding]:
        self.notes.append(
            f"not looked at: {what} (a backward pass takes {self.took:.2g} s, and there are {self.entries:,} entries)"
        )
        return []
