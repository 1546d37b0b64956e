"""The reconciler is a checker, so it is given things that are wrong and must name them."""

import pytest
import torch
from torch import nn

from gradlab.backprop import RULES, Rule, Tape
from gradlab.reconcile import GraphWatch, hint_for, reconcile

aten = torch.ops.aten


def reconciled(model, x, rules=RULES):
    watch_tape = Tape(rules=rules)
    with watch_tape as tape:
        loss = model(x).square().sum()
    watch, terms = GraphWatch(loss), []
    loss.backward()
    watch.close()
    return reconcile(watch, tape.backward(loss, terms=terms), terms, dict(model.named_parameters()))


def function(wrong_backward):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return wrong_backward(g * 2)

    return Double


class WithFunction(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 2)
        self.inner = Apply(function)

    def forward(self, x):
        return self.second(self.inner(self.first(x)).tanh())


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


@pytest.fixture
def x():
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_right_model_agrees_and_accuses_nobody(x):
    result = reconciled(WithFunction(function(lambda g: g)).double(), x)
    assert result.ok
    assert result.culprit is None
    assert result.worst.error < 1e-12


WRONG = {
    "factor": lambda g: g * 1.5,
    "sign": lambda g: -g,
    "zero": torch.zeros_like,
    "one column": lambda g: g * torch.tensor([1.0, 1.0, 0.9], dtype=g.dtype),
    "flipped": lambda g: g.flip(0),
    "mean for sum": lambda g: g / 4,
    "none": lambda g: None,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_function_is_named_with_its_module(x, wrong):
    result = reconciled(WithFunction(function(WRONG[wrong])).double(), x)
    assert not result.ok
    assert result.culprit.function == "Double"
    assert result.culprit.module == "inner"
    assert result.culprit.operations == ("mul",)


@pytest.mark.parametrize(
    ("op", "name", "module"), [(aten.tanh.default, "tanh", "WithFunction"), (aten.addmm.default, "addmm", "second")]
)
def test_a_wrong_rule_is_named_with_its_module(x, op, name, module):
    def damaged(*arguments, **keywords):
        parts = RULES[op].function(*arguments, **keywords)
        if isinstance(parts, tuple):
            return tuple(None if p is None else (lambda p=p: 1.01 * (p() if callable(p) else p)) for p in parts)
        return 1.01 * parts

    right = RULES[op]
    fields = {field: getattr(right, field) for field in Rule.__dataclass_fields__}
    rules = {**RULES, op: Rule(**{**fields, "function": damaged})}
    result = reconciled(WithFunction(function(lambda g: g)).double(), x, rules)
    assert name in result.culprit.operations
    assert result.culprit.module == module


def test_a_hook_that_changes_a_gradient_is_no_operation(x):
    model = nn.Linear(3, 2).double()
    model.weight.register_hook(lambda g: g * 2)
    result = reconciled(model, x)
    assert not result.ok
    assert result.culprit is None
    assert "hook" in result.note


def test_hooks_are_gone_afterwards(x):
    model = nn.Linear(3, 2).double()
    loss = model(x).sum()
    watch = GraphWatch(loss)
    watch.close()
    loss.backward()
    assert watch.upstream == {}


def test_hints():
    a = torch.tensor([1.0, -2.0, 4.0])
    assert "opposite sign" in hint_for(a, -a)
    assert "0.5 ×" in hint_for(a, a / 2)
    assert hint_for(a, a.flip(0)) == ""
    assert "None" in hint_for(a, None)
