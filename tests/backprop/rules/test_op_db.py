"""Every rule against autograd, over all samples of every operation that PyTorch can differentiate."""

import conformance
import pytest
from conformance import EXCEPTIONS, VERSION, demand_agreement, reported_version
from opinfo import differentiable, quiet

CONFORMING = [name for name in differentiable() if name not in EXCEPTIONS]


@quiet
@pytest.mark.parametrize("name", CONFORMING)
def test_agrees_with_autograd(name):
    finding = conformance.operation(name)
    demand_agreement(finding)
    assert finding.gradients > 0


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_is_one(name):
    if name not in differentiable():
        pytest.skip(f"PyTorch {VERSION} has no OpInfo {name!r}")
    with pytest.raises(AssertionError, match="not close"):  # or else: strike it off the list
        demand_agreement(conformance.operation(name))


@quiet
def test_how_many_agree():
    """All but the exceptions with the report's version of PyTorch; nearly all with another one."""
    names = differentiable()
    agreeing = [name for name in names if conformance.operation(name).failure is None]
    if reported_version() == VERSION:
        assert (len(agreeing), len(names)) == (538, 540)
    else:
        assert len(agreeing) / len(names) > 0.95, f"PyTorch {VERSION}; the report is about {reported_version()}"
