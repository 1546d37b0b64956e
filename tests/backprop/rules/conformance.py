"""How far the handwritten rules reach: they and autograd, on every sample by which PyTorch tests itself.

python tests/backprop/rules/conformance.py                  prints the report
python tests/backprop/rules/conformance.py CONFORMANCE.md   writes it too, without what depends on the processor
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from opinfo import ATOL, RTOL, Call, Comparison, differentiable, module_samples, modules, samples

from gradlab import TapeError
from gradlab.backprop.rules import RULES

REPORT = Path(__file__).parents[3] / "CONFORMANCE.md"
COMMAND = "python tests/backprop/rules/conformance.py CONFORMANCE.md"
VERSION = torch.__version__.split("+")[0]

EXCEPTIONS = {  # operations that do not agree with autograd, and why; see test_beyond_autograd.py
    "as_strided_scatter": "autograd gives x a gradient in places that were replaced; the rule agrees with differences",
    "nn.functional.hardsigmoid": "autograd's slope is 1/6 in single precision; the rule's is 1/6 in double precision",
}


@dataclass(frozen=True)
class Finding:
    """What comparing all samples of an operation or a module came to.

    Attributes:
        samples: how many were compared.
        gradients: how many tensors' gradients that made.
        worst: the largest difference d of two numbers, as d / (|autograd's number| + 0.01). Up to 1e-8 is agreement.
        failure: the first disagreement, or error; None where all agree.
    """

    samples: int
    gradients: int
    worst: float
    failure: Exception | None


@cache
def operation(name: str) -> Finding:
    """All samples of one operation. It is compared once, however many tests ask."""
    return _compare(samples(name))


@cache
def module(name: str) -> Finding:
    """All inputs of one module, in training and in evaluation. It is compared once, however many tests ask."""
    return _compare(module_samples(name))


def _compare(calls: list[Call]) -> Finding:
    gradients, worst, failures = 0, 0.0, []
    for call in calls:
        try:
            comparison = Comparison(*call)
            gradients += len(comparison.inputs)
            worst = max(worst, comparison.worst())
            comparison.check()
        except Exception as error:  # whatever it is, it is this sample's finding
            failures.append(error)
    return Finding(len(calls), gradients, worst, failures[0] if failures else None)


def reported_version() -> str:
    """The version of PyTorch that the report is about."""
    return re.search(r"PyTorch (\d\S*)\.", REPORT.read_text(encoding="utf-8")).group(1)


def demand_agreement(finding: Finding) -> None:
    """Raises what kept one from agreeing.

    Another version of PyTorch than the report's may run operations that have no rule. The tape's refusal is no wrong
    gradient, so that it is an expected failure there; a disagreement is a failure with every version.
    """
    if isinstance(finding.failure, TapeError) and reported_version() != VERSION:
        pytest.xfail(f"PyTorch {VERSION} (the report is about {reported_version()}): {finding.failure}")
    if finding.failure is not None:
        raise finding.failure


# --- the report ---------------------------------------------------------------------------------------------


def report(with_worst: bool = False) -> str:
    """The whole comparison in Markdown; ``with_worst`` adds the differences, which depend on the processor."""
    of_operations = {name: operation(name) for name in sorted(differentiable(), key=str.lower)}
    of_modules = {name: module(name) for name in sorted(modules(), key=str.lower)}
    exceptions = [f"- `{name}`: {why}." for name, why in EXCEPTIONS.items() if name in of_operations]
    parts = [
        "# Conformance",
        _summary(of_operations, of_modules),
        "The samples are those of `op_db` and `module_db`, the lists by which PyTorch tests itself: every operator "
        "that it can differentiate in double precision on a CPU, every module (parameters and inputs, in training and "
        "in evaluation). Each sample runs once, with random upstream gradients, and is differentiated by autograd and "
        "by the handwritten rules. They agree where no entry of any gradient differs by more than "
        f"{RTOL:.0e} · |autograd's| + {ATOL:.0e}.",
        f"This file is made by `{COMMAND}`; a test compares it with what the rules do.",
        "\n".join(["## Exceptions", "", *exceptions]),
        "\n".join(["## Operators", "", *_table("operator", "samples", of_operations, with_worst)]),
        "\n".join(["## Modules", "", *_table("module", "inputs", of_modules, with_worst)]),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(of_operations: Mapping[str, Finding], of_modules: Mapping[str, Finding]) -> str:
    def tell(findings: Mapping[str, Finding], kind: str, samples: str) -> str:
        agreeing = sum(f.failure is None for f in findings.values())
        compared, gradients = (sum(getattr(f, what) for f in findings.values()) for what in ("samples", "gradients"))
        return f"**{agreeing} of {len(findings)} {kind}** ({compared:,} {samples}, {gradients:,} gradients)"

    return (
        f"The handwritten rules agree with autograd on {tell(of_operations, 'operators', 'samples')} and "
        f"{tell(of_modules, 'modules', 'inputs')} of PyTorch {VERSION}. "
        f"There are rules for {len(RULES)} primitive operations."
    )


def _table(kind: str, samples: str, findings: Mapping[str, Finding], with_worst: bool) -> list[str]:
    def row(name: str, finding: Finding) -> str:
        worst = f" {finding.worst:.0e} |" if with_worst else ""
        return f"| `{name}` | {finding.samples} | {finding.gradients} |{worst} {_verdict(name, finding)} |"

    head = f"| {kind} | {samples} | gradients |{' worst difference |' if with_worst else ''} |"
    line = "|---|--:|--:|" + ("--:|" if with_worst else "") + "---|"
    return [head, line, *(row(name, finding) for name, finding in findings.items())]


def _verdict(name: str, finding: Finding) -> str:
    if finding.failure is None:
        return "agrees"
    if name in EXCEPTIONS:
        return "see above"
    return f"**{type(finding.failure).__name__}**: {str(finding.failure).strip().splitlines()[0]}"


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what PyTorch says about some of its own samples
        print(report(with_worst=True), end="")
        unexplained = [name for name in differentiable() if operation(name).failure and name not in EXCEPTIONS]
        unexplained += [name for name in modules() if module(name).failure]
        if unexplained:
            sys.exit(f"nothing is written: {', '.join(unexplained)} do not agree, and no exception gives a reason")
        for path in arguments:
            Path(path).write_text(report(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
