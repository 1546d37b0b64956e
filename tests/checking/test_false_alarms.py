"""No false alarms over the operators and modules by which PyTorch tests itself.

Here one sample of every fifth one; all samples of all of them by ``python tests/checking/false_alarms.py``.
"""

from itertools import islice

import pytest
from false_alarms import KNOWN, cases, check, module_cases, operation_cases
from opinfo import differentiable, modules, quiet


def first(some):
    """The report on the first sample that the check does not refuse."""
    return next(report for report in map(check, some) if report is not None)


@quiet
@pytest.mark.parametrize("name", [name for name in differentiable() if name not in KNOWN][::5])
def test_an_operator_is_not_accused(name):
    report = first(operation_cases(name, 8))
    assert report.ok, str(report)


@quiet
@pytest.mark.parametrize("name", [name for name in modules() if name not in KNOWN][::5])
def test_a_module_is_not_accused(name):
    report = first(module_cases(name, 8, trainings=(True,)))
    assert report.ok, str(report)


@quiet
@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_is_accused(name):
    known = KNOWN[name]
    reports = [check(case) for case in islice(cases(name), known.first, known.first + 3)]
    assert not all(report.ok for report in reports)
    assert all(known.covers(report) for report in reports), "\n".join(map(str, reports))
