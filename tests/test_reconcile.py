"""The reconciler is a checker, so it is given things that are wrong and must name them."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from wrong_functions import WIDTH, WRONG, Slot

from gradlab.backprop import RULES, Tape
from gradlab.graph import GraphWatch
from gradlab.hints import Evidence, hint_for
from gradlab.reconcile import reconcile
from gradlab.tally import Tally

aten = torch.ops.aten


class Network(nn.Module):
    """A transformer's encoder over short sequences, with one custom Function in its middle."""

    def __init__(self, slot):
        super().__init__()
        self.embed = nn.Linear(4, WIDTH)
        self.encoder = nn.TransformerEncoderLayer(WIDTH, 2, 8, dropout=0.1, batch_first=True)
        self.middle = nn.Sequential(nn.LayerNorm(WIDTH), slot)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.middle(self.encoder(self.embed(x)))))


X = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network(function=None, call=lambda slot, x: x * 2):
    torch.manual_seed(0)
    return Network(Slot(function, call)).double()


def reconciled(model, x=X, rules=RULES, lines=False):
    with Tape(rules=rules, lines=lines) as tape:
        loss = model(x).square().sum()
    watch = GraphWatch(loss, model.parameters())
    loss.backward()
    watch.close()
    return reconcile(watch, *tape.sweep(loss), dict(model.named_parameters()))


def test_a_right_model_agrees_and_accuses_nobody():
    result = reconciled(network())
    assert result.ok
    assert result.culprit is None
    assert result.unmatched == ()
    assert result.worst.error < 1e-12


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_function_is_named_with_its_module_and_a_hint(case):
    function, call, hint = WRONG[case]
    result = reconciled(network(function, call))
    assert not result.ok
    assert result.culprit.function == function.__name__
    assert result.culprit.module == "middle.1"
    assert hint in result.culprit.hint
    assert bool(hint) == bool(result.culprit.hint)
    assert result.culprit.source.startswith("wrong_functions.py:")


def test_what_a_tally_keeps_holds_no_tensor():
    result = reconciled(network(*WRONG["factor"][:2]))
    tally = Tally()
    tally.add(0, result)
    kept, gradient = tally.first.reconciliation, weakref.ref(result.pair("head.weight")[0])
    assert gradient() is not None
    assert str(kept.culprit) == str(result.culprit)
    del result
    gc.collect()
    assert gradient() is None
    assert kept.pair("head.weight") == (None, None)
    assert kept.by_operation() == {}


def test_the_numbers_of_the_worst_entry_are_those_of_both_sides():
    function, call, _ = WRONG["factor"]
    agreement = reconciled(network(function, call)).culprit.agreement
    assert agreement.autograd == pytest.approx(1.5 * agreement.manual, rel=1e-9)
    assert agreement.error == pytest.approx(1 / 3)
    assert len(agreement.index) == 3


def test_a_transpose_that_is_only_laid_out_wrongly():
    a = torch.arange(6.0).reshape(2, 3)
    assert "transposed" in hint_for(Evidence(a, a.t().reshape(2, 3)))


@pytest.mark.parametrize(
    ("op", "name", "module"),
    [
        (aten.tanh.default, "tanh", "Network"),
        (aten.native_layer_norm.default, "native_layer_norm", "middle.0"),
        (aten._safe_softmax.default, "_safe_softmax", "encoder.self_attn"),
        (aten.relu.default, "relu", "encoder"),
    ],
)
def test_a_wrong_rule_is_named_with_its_module(op, name, module):
    def damaged(*arguments, **keywords):
        parts = RULES[op].function(*arguments, **keywords)
        if isinstance(parts, tuple):
            return tuple(None if p is None else (lambda p=p: 1.01 * (p() if callable(p) else p)) for p in parts)
        return 1.01 * parts

    rules = {**RULES, op: replace(RULES[op], function=damaged)}
    result = reconciled(network(), rules=rules)
    assert name in result.culprit.operations
    assert result.culprit.module == module
    assert "0.990099 ×" in result.culprit.hint


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("op", [aten.tanh.default, aten.native_layer_norm.default, aten.transpose.int, aten.mean.dim])
def test_a_rule_that_forgets_its_gradient_is_named_and_not_the_operation_above(op, at_once):
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2)).double()
    rules = {**RULES, op: replace(RULES[op], function=lambda *arguments, **keywords: None)}
    with Tape(rules=rules) as tape:
        loss = model(X).transpose(0, 1).mean(0).square().sum()
    watch, terms = GraphWatch(loss, model.parameters()), []
    loss.backward()
    watch.close()
    swept = tape.sweep(loss) if at_once else (tape.backward(loss, terms=terms), terms)
    culprit = reconcile(watch, *swept, dict(model.named_parameters())).culprit
    assert culprit.operations == (op._schema.name.removeprefix("aten::"),)
    assert "nothing flows here" in culprit.hint


def test_lines_are_noted_where_asked_for():
    function, call, _ = WRONG["sign"]
    culprit = reconciled(network(function, call), lines=True).culprit
    file, _, line = culprit.line.partition(":")
    assert file == "wrong_functions.py"
    with open(__file__.replace("test_reconcile", "wrong_functions")) as source:
        assert ".apply(" in source.readlines()[int(line) - 1]
    assert reconciled(network(function, call)).culprit.line == ""


def test_of_two_uses_of_a_function_the_line_tells_the_wrong_one():
    class Late(torch.autograd.Function):
        """Wrong by a factor, but for the numbers that the first use gets."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * g if float(x.abs().max()) < 1 else 3 * g

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((3,), 0.5, dtype=torch.float64))

        def forward(self, x):
            y = Late.apply(self.weight * x)
            return Late.apply(y + 1)

    culprit = reconciled(Twice(), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), lines=True).culprit
    with open(__file__) as source:
        assert "return Late.apply(y + 1)" in source.readlines()[int(culprit.line.partition(":")[2]) - 1]


def test_a_wrong_gradient_of_data_is_a_disagreement_too():
    function, call, _ = WRONG["sign"]
    x = torch.randn(4, WIDTH, dtype=torch.float64, requires_grad=True)
    result = reconciled(Slot(function, call).double(), x)
    assert not result.ok
    assert result.culprit.function == "Tanh"
    assert [name for name, a in result.agreements.items() if not a.ok] == ["leaf 0 of shape (4, 6)"]


def test_the_first_of_two_wrong_functions_is_named():
    function, call, _ = WRONG["factor"]
    other, other_call, _ = WRONG["exchanged"]
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), Slot(function, call), Slot(other, other_call)).double()
    assert reconciled(model, torch.randn(4, WIDTH).double()).culprit.function == "Exchanged"


def test_a_write_through_a_view_is_not_taken_for_the_culprit():
    function, call, _ = WRONG["factor"]
    layers = [nn.Linear(WIDTH, WIDTH), Slot(function, call), nn.Hardtanh(), nn.Flatten(0), nn.ReLU(inplace=True)]
    culprit = reconciled(nn.Sequential(*layers).double(), torch.randn(4, WIDTH).double()).culprit
    assert culprit.function == "Tanh"
    assert "1.5 ×" in culprit.hint


def test_a_wrong_rule_within_a_write_through_a_view_is_named():
    damaged = replace(RULES[aten.relu.default], function=lambda g, y, x: 1.01 * g * y.sign())
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Hardtanh(), nn.Flatten(0), nn.ReLU(inplace=True)).double()
    culprit = reconciled(model, torch.randn(4, WIDTH).double(), {**RULES, aten.relu.default: damaged}).culprit
    assert "relu" in culprit.operations


class Scan(nn.Module):
    """A recurrence that writes its states into one tensor."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        states, state = torch.zeros(3, *x.shape, dtype=x.dtype), x
        for t in range(3):
            state = torch.tanh(self.cell(state))
            states[t] = state
        return states


@pytest.mark.parametrize("op", [aten.tanh.default, aten.addmm.default, aten.copy.default])
def test_a_wrong_rule_between_writes_into_one_tensor_is_named(op):
    def damaged(*arguments):
        parts = RULES[op].function(*arguments)
        return tuple(p and -2 * p() for p in parts) if isinstance(parts, tuple) else -2 * parts

    result = reconciled(
        Scan().double(), torch.randn(4, WIDTH).double(), {**RULES, op: replace(RULES[op], function=damaged)}
    )
    assert op._schema.name.removeprefix("aten::") in result.culprit.operations


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
def test_checkpoints_agree_and_a_wrong_function_below_is_named(reentrant):
    class Checkpointed(nn.Module):
        def __init__(self, below):
            super().__init__()
            self.below, self.inner = below, nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

        def forward(self, x):
            return checkpoint(self.inner, self.below(x), use_reentrant=reentrant)

    x = torch.randn(4, WIDTH).double()
    right = reconciled(Checkpointed(nn.Linear(WIDTH, WIDTH)).double(), x)
    assert right.ok
    assert len(right.agreements) == 4
    function, call, _ = WRONG["sign"]
    below = nn.Sequential(nn.Linear(WIDTH, WIDTH), Slot(function, call))
    assert reconciled(Checkpointed(below).double(), x).culprit.function == "Tanh"


def test_a_hook_that_changes_a_gradient_is_no_operation():
    model = network()
    model.head.weight.register_hook(lambda g: g * 2)
    result = reconciled(model)
    assert not result.ok
    assert result.culprit is None
    assert "hook" in result.note


def test_hooks_are_gone_afterwards():
    model = nn.Linear(3, 2)
    loss = model(torch.ones(4, 3)).sum()
    watch = GraphWatch(loss)
    watch.close()
    loss.backward()
    assert watch.upstream == {}


def test_a_difference_without_a_pattern_gives_no_hint():
    a = torch.tensor([1.0, -2.0, 4.0])
    assert hint_for(Evidence(a, torch.tensor([3.0, 1.0, 0.5]))) == ""
