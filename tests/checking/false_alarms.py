"""`gradlab.check` on all by which PyTorch tests itself: whatever it accuses there is a false alarm, or a discovery.

python tests/checking/false_alarms.py          every sample of every operator and module (half an hour)
python tests/checking/false_alarms.py 2        the first two samples of each
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from opinfo import _same_numbers, differentiable, modules, operations

import gradlab
from gradlab.checking import Report
from gradlab.errors import BadInput

Case = tuple[str, Callable[..., Any], tuple, dict]


class Known(NamedTuple):
    """A rightful accusation.

    Attributes:
        reason: why autograd's number is not the derivative.
        condition: of the findings; any other finding is a false alarm all the same.
        first: the first sample that is accused.
    """

    reason: str
    condition: str = ""
    first: int = 0

    def covers(self, report: Report) -> bool:
        return all(finding.condition == self.condition for finding in report.failures)


SECOND = "second derivative"
CHUNKED = "its chunked form has no second derivative, gives 0, and says nothing of it (gradgradcheck finds it too)"
REPEATED = "where two inputs are put in one place the last one counts, and autograd gives both a gradient"
NOISE = "autograd's derivative by {} is 0; that of the same noise, {}"
OVERFLOW = "‖x‖⁵ is beyond float16 where ‖x‖ > 9.2, and autograd, which divides by it, gives 0 in every entry"

KNOWN = {
    "as_strided_scatter": Known("autograd gives x its gradient in the places that were replaced, and 0 in the others"),
    "linalg.vector_norm": Known(OVERFLOW, "in float16, and right in float64", first=72),
    "nn.LinearCrossEntropyLoss": Known(CHUNKED, SECOND, first=168),
    "nn.functional.linear_cross_entropy.chunked": Known(CHUNKED, SECOND),
    "nn.functional.max_unpool1d": Known(REPEATED),
    "nn.functional.max_unpool2d": Known(REPEATED),
    "nn.functional.max_unpool3d": Known(REPEATED),
    "normal": Known(NOISE.format("the mean", "moved, is 1")),
    "normal.number_mean": Known(NOISE.format("the deviation", "stretched, is the noise"), first=2),
    "_weight_norm": Known("its double backward is wrong in PyTorch 2.13 (gradgradcheck finds it too)", SECOND),
}


def cases(name: str, count: int | None = None) -> Iterator[Case]:
    """The samples of an operator or a module, by its name; the modules in training and in evaluation."""
    if name in modules():
        return module_cases(name, count)
    return operation_cases(name, count) if name in operations() else iter([UNLISTED[name]])


def operation_cases(name: str, count: int | None = None) -> Iterator[Case]:
    """The samples of one operator, in float64."""
    op = operations()[name]
    _same_numbers()
    for sample in islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), count):
        yield name, _function(op, sample), (sample.input, *sample.args), sample.kwargs


def _numbers(*shape: int) -> torch.Tensor:
    return torch.linspace(-1, 1, math.prod(shape), dtype=torch.float64).sin().add(1.5).reshape(shape)


UNLISTED: dict[str, Case] = {  # which PyTorch's lists leave out
    "_weight_norm": ("_weight_norm", lambda v, g: torch._weight_norm(v, g, 0), (_numbers(3, 4), _numbers(3, 1)), {}),
}


def module_cases(name: str, count: int | None = None, trainings: tuple[bool, ...] = (True, False)) -> Iterator[Case]:
    """The inputs of one module in float64, in training and in evaluation."""
    info = modules()[name]
    for training in trainings:
        _same_numbers()
        found = info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=True, training=training)
        for sample in islice(found, count):
            made, given = sample.constructor_input, sample.forward_input
            module = info.module_cls(*made.args, **made.kwargs).double().train(training)
            yield name, module, given.args, given.kwargs


def check(case: Case) -> Report | None:
    """None where the check refuses a sample, as one whose output is NaN."""
    _, target, args, kwargs = case
    try:
        return gradlab.check(target, *args, kwargs=kwargs, seconds=5.0)
    except BadInput:
        return None


def _function(op, sample) -> Callable[..., Any]:
    process = sample.output_process_fn_grad or (lambda output: output)
    return lambda *args, **kwargs: process(op.gradcheck_wrapper(op.get_op(), *args, **kwargs))


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count = int(arguments[0]) if arguments else None
    begin, verdicts, samples, known, false = time.time(), Counter(), Counter(), Counter(), Counter()
    for kind, names in (("operators", differentiable()), ("modules", modules()), ("others", UNLISTED)):
        for name in names:
            for number, case in enumerate(cases(name, count)):
                report = check(case)
                samples[kind] += 1
                if report is None:
                    samples["refused"] += 1
                    continue
                verdicts.update(finding.verdict for finding in report.findings)
                if not report.ok:
                    is_known = name in KNOWN and KNOWN[name].covers(report)
                    (known if is_known else false)[name] += 1
                    print(f"{name}, sample {number}{', known' if is_known else ''}\n{report}", flush=True)
        print(f"{samples[kind]:,} samples of {len(names)} {kind}", flush=True)
    print(f"of these {samples['refused']:,} were refused")
    print(f"verdicts: {dict(verdicts)}\nrightly accused: {dict(known)}\nfalse alarms: {dict(false)}")
    print(f"{time.time() - begin:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
