"""`gradlab.check` on all by which PyTorch tests itself: whatever it accuses there is a false alarm, or a discovery.

python tests/checking/false_alarms.py          every sample of every operator and module (half an hour)
python tests/checking/false_alarms.py 2        the first two samples of each
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from opinfo import _same_numbers, differentiable, modules, operations

import gradlab
from gradlab.checking import Report

Case = tuple[str, Callable[..., Any], tuple, dict]

SECOND = "its chunked form has no second derivative, and says nothing of it"
REPEATED = "where two inputs are put in one place the last one counts, and autograd gives both a gradient"

KNOWN = {  # what the check accuses, and why it is right to do so
    "as_strided_scatter": "autograd gives x a gradient in places that were replaced",
    "nn.functional.linear_cross_entropy.chunked": SECOND,
    "nn.functional.max_unpool1d": REPEATED,
    "nn.functional.max_unpool2d": REPEATED,
    "nn.functional.max_unpool3d": REPEATED,
    "normal": "autograd's derivative by the mean is 0; that of the same noise, moved, is 1",
}


def operation_cases(name: str, count: int | None = None) -> Iterator[Case]:
    """The samples of one operator, in float64."""
    op = operations()[name]
    _same_numbers()
    for sample in islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), count):
        yield name, _function(op, sample), (sample.input, *sample.args), sample.kwargs


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


def check(case: Case) -> Report:
    _, target, args, kwargs = case
    return gradlab.check(target, *args, kwargs=kwargs, seconds=5.0)


def _function(op, sample) -> Callable[..., Any]:
    process = sample.output_process_fn_grad or (lambda output: output)
    return lambda *args, **kwargs: process(op.gradcheck_wrapper(op.get_op(), *args, **kwargs))


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count = int(arguments[0]) if arguments else None
    begin, verdicts, samples, accused = time.time(), Counter(), Counter(), Counter()
    for kind, names, cases in (("operators", differentiable(), operation_cases), ("modules", modules(), module_cases)):
        for name in names:
            for number, case in enumerate(cases(name, count)):
                report = check(case)
                samples[kind] += 1
                verdicts.update(finding.verdict for finding in report.findings)
                if not report.ok:
                    accused[name] += 1
                    print(f"{name}, sample {number}\n{report}", flush=True)
        print(f"{samples[kind]:,} samples of {len(names)} {kind}", flush=True)
    print(f"verdicts: {dict(verdicts)}\naccused, and known: { {n: c for n, c in accused.items() if n in KNOWN} }")
    print(f"false alarms: { {n: c for n, c in accused.items() if n not in KNOWN} }")
    print(f"{time.time() - begin:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
