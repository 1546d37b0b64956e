"""The checker is tested: a rule that is wrong, if only a little, must be caught."""

from dataclasses import replace

import pytest
import torch
from opinfo import Comparison

from gradlab.backprop.rules import RULES

aten = torch.ops.aten


def _square(seed):
    return torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


A, B = _square(0), _square(1)

WRONG = {
    "tanh, one percent too steep": (aten.tanh.default, lambda y, x: 1.01 * (1 - y * y), torch.tanh, (A,)),
    "tanh, a sign": (aten.tanh.default, lambda y, x: 1 + y * y, torch.tanh, (A,)),
    "mm, no transpose": (aten.mm.default, lambda g, y, a, b: (g @ b, a @ g), torch.mm, (A, B)),
    "mm, factors exchanged": (aten.mm.default, lambda g, y, a, b: (b.t() @ g, g @ a.t()), torch.mm, (A, B)),
    "mean, 1/n forgotten": (
        aten.mean.default,
        lambda g, y, x, dtype=None: g.expand(x.shape),
        torch.mean,
        (A,),
    ),
    "sum, a factor too many": (aten.sum.default, lambda g, y, x, dtype=None: (g / 2).expand(x.shape), torch.sum, (A,)),
    "mul, one factor unchanged": (aten.mul.Tensor, lambda y, a, b: (b, 1), torch.mul, (A, B)),
    "relu, open everywhere": (aten.relu.default, lambda g, y, x: g, torch.relu, (A,)),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_caught(case):
    op, wrong, function, args = WRONG[case]
    Comparison(function, args).check()
    comparison = Comparison(function, args, rules={**RULES, op: replace(RULES[op], function=wrong)})
    with pytest.raises(AssertionError, match="not close"):
        comparison.check()
