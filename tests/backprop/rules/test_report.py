"""`CONFORMANCE.md` says what the rules do."""

import conformance
import pytest
from conformance import COMMAND, REPORT, VERSION, reported_version
from opinfo import differentiable, modules, quiet


def _report():
    if reported_version() != VERSION:
        pytest.skip(f"CONFORMANCE.md is about PyTorch {reported_version()}, and this is {VERSION}")
    return REPORT.read_text(encoding="utf-8")


def test_names_every_operator_and_every_module():
    rows = [line.split("`")[1] for line in _report().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted([*differentiable(), *modules()])


@quiet
def test_is_what_the_rules_do():
    """Cheap where the tests of all operations and modules ran before it: each is compared only once."""
    differing = set(_report().splitlines()) ^ set(conformance.report().splitlines())
    assert not differing, f"remake it: {COMMAND}"
    assert _report() == conformance.report()
