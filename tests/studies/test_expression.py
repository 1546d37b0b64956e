"""Formulas against torch's own functions; at a kink, one of the two slopes."""

import math

import pytest
import torch

from gradlab.errors import BadInput
from gradlab.studies.derivative import Derivative
from gradlab.studies.expression import Expression
from gradlab.studies.witnessed import gradients, worst_errors

OURS = {
    "Max(x, 0)": torch.relu,
    "max(0, x)": torch.relu,
    "relu(x)": torch.relu,
    "Max(x, 0, 1 - x)": lambda x: torch.maximum(torch.maximum(x, 0 * x), 1 - x),
    "Min(x, 0)": lambda x: -torch.relu(-x),
    "min(x, 1, x**2)": lambda x: torch.minimum(torch.minimum(x, x**2), 0 * x + 1),
    "sign(x)": torch.sign,
    "Heaviside(x)": lambda x: torch.heaviside(x.detach(), torch.tensor(0.5).double()) + 0 * x,
    "Heaviside(x, 1)": lambda x: torch.heaviside(x.detach(), torch.tensor(1.0).double()) + 0 * x,
    "Heaviside(x) * x**2": lambda x: torch.relu(x) * x,
    "sigmoid(x)": torch.sigmoid,
    "sqrt(2)*x + log(x**2 + 1, 2) + exp(2)": lambda x: math.sqrt(2) * x + torch.log2(x**2 + 1) + math.exp(2),
    "abs(x) + asin(x/4)": lambda x: x.abs() + torch.asin(x / 4),
}


@pytest.mark.parametrize("text", OURS)
def test_values_and_slopes_are_torchs(text):
    f = Expression(text, ["x"])
    x = torch.tensor([-1.3, -0.4, 0.0, 0.6, 2.1], dtype=torch.float64)
    assert torch.allclose(f(x), OURS[text](x), rtol=1e-14)
    for at in x[x != 0]:
        found = gradients(f, at)
        assert set(found) == {"autograd", "manual", "numeric", "symbolic"}
        assert max(worst_errors(found, 1.0).values()) < 1e-7
        at.requires_grad_()
        (slope,) = torch.autograd.grad(OURS[text](at), at)
        assert float(found["autograd"]) == pytest.approx(slope.item(), rel=1e-12)
        assert float(f.derivative("x").subs(f.symbols[0], at.item())) == pytest.approx(slope.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("kink", "slopes"), [("Max(x, 0)", (0, 1)), ("relu(x)", (0, 1)), ("Min(x, 0)", (1, 0)), ("Max(x, 2*x)", (1, 2))]
)
def test_at_a_kink_autograd_has_one_of_the_slopes(kink, slopes):
    numbers = Derivative(kink=kink)(None).numbers
    found = [numbers[f"slope {side} of the kink"] for side in ("left", "right")]
    assert found == pytest.approx(slopes)
    assert math.copysign(1, found[0]) == 1  # no −0
    assert numbers["autograd at the kink"] in slopes


@pytest.mark.parametrize(
    ("text", "word"),
    [("x +", "no formula"), ("y*x", "y is no variable"), ("gamma(x)", "gamma"), ("foo(x)", "foo"), ("sec(x)", "sec")],
)
def test_what_is_no_formula_for_torch_is_said(text, word):
    with pytest.raises(BadInput, match=word):
        Expression(text, ["x"])
