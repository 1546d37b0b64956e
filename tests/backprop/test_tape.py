"""The tape's contract: what goes in, what comes out, and how it refuses."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

from gradlab.backprop import RULES, MissingRuleError, Tape, TapeError

aten = torch.ops.aten


# --- what comes out -----------------------------------------------------------------------------------------


def test_gradients_have_a_key_for_all_that_entered_from_outside(leaf):
    w, data, unused = leaf(3), torch.ones(3, dtype=torch.float64), leaf(3)
    made_before = (w * 2).tanh()
    with Tape() as tape:
        middle = w * data
        loss = (middle + made_before).sum()
    grads = tape.backward(loss)
    assert {id(t) for t in grads} == {id(w), id(data), id(made_before)}
    assert len(grads) == 3
    assert torch.equal(grads[w], data)
    assert grads[data] is None
    assert torch.equal(grads[made_before], torch.ones(3, dtype=torch.float64))
    assert grads.get(unused) is None
    assert middle not in grads
    with pytest.raises(KeyError, match="did not enter"):
        grads[unused]


def test_keys_are_told_apart_by_identity_not_by_content(leaf):
    a = leaf(3)
    b = a.detach().clone().requires_grad_()
    with Tape() as tape:
        loss = (2 * a + 5 * b).sum()
    grads = tape.backward(loss)
    assert grads[a].tolist() == [2, 2, 2]
    assert grads[b].tolist() == [5, 5, 5]


def test_not_reached_is_none_and_reached_by_zero_is_zero(leaf):
    a, b = leaf(3), leaf(3)
    with Tape() as tape:
        b.exp()
        loss = (a * 0).sum()
    grads = tape.backward(loss)
    assert grads[a].tolist() == [0, 0, 0]
    assert b in grads
    assert grads[b] is None


def test_named_gives_what_grad_would_be():
    torch.manual_seed(0)
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)}).double()
    model["used"].bias.requires_grad_(False)
    x = torch.randn(4, 3, dtype=torch.float64)
    with Tape() as tape:
        loss = model["used"](x).square().sum()
    loss.backward()
    named = tape.backward(loss).named(model)
    assert list(named) == [name for name, _ in model.named_parameters()]
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert named[name] is None
        else:
            torch.testing.assert_close(named[name], parameter.grad)


def test_several_outputs_with_their_upstream_gradients(leaf):
    x = leaf(3, 2)
    with Tape() as tape:
        first, second = x.sin(), x.exp().sum()
    upstream = [leaf(3, 2).detach(), None]
    expected = torch.autograd.grad([first, second], x, [upstream[0], torch.tensor(1.0).double()])[0]
    torch.testing.assert_close(tape.backward([first, second], upstream)[x], expected)


def test_the_same_output_twice_counts_twice(leaf):
    x = leaf()
    with Tape() as tape:
        y = x * 3
    assert float(tape.backward([y, y])[x]) == 6


def test_one_output_that_the_other_is_made_of(agree, leaf):
    x = leaf()
    with Tape() as tape:
        y = x * 3
        z = y * 5
    assert float(tape.backward([y, z])[x]) == 18


def test_an_outside_tensor_may_be_the_output(leaf):
    x = leaf()
    with Tape() as tape:
        x.sin()
    assert float(tape.backward(x)[x]) == 1


@pytest.mark.parametrize(
    ("gradient", "message"),
    [(None, "needs grad_outputs"), (torch.ones(2), "for an output"), ([torch.ones(3)] * 2, "as many grad_outputs")],
)
def test_upstream_gradients_must_fit(gradient, message):
    x = torch.ones(3, requires_grad=True)
    with Tape() as tape:
        y = x * 2
    with pytest.raises(TapeError, match=message):
        tape.backward(y, gradient)


def test_a_refused_call_does_not_use_up_the_tape():
    x = torch.ones(3, requires_grad=True)
    with Tape() as tape:
        y = x * 2
    with pytest.raises(TapeError, match="needs grad_outputs"):
        tape.backward(y)
    assert tape.backward(y, torch.ones(3))[x].tolist() == [2, 2, 2]


# --- sums over paths, broadcasting, types -------------------------------------------------------------------


def test_a_tensor_used_many_times(agree, leaf):
    agree(lambda x: sum((k * x).sin() for k in range(20)).sum() + (x * x * x).sum(), leaf(3))


def test_the_same_tensor_in_every_place_of_one_operation(agree, leaf):
    agree(lambda x: torch.cat([x, x, x]).exp().sum() + torch.addmm(x, x, x).sum(), leaf(3, 3))


def test_tied_parameters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Tanh(), nn.Linear(4, 5, bias=False)).double()
    model[2].weight = model[0].weight
    with Tape() as tape:
        loss = model(torch.tensor([0, 3, 3])).logsumexp(-1).sum()
    loss.backward()
    named = tape.backward(loss).named(model)
    assert list(named) == ["0.weight"]
    torch.testing.assert_close(named["0.weight"], model[0].weight.grad)


@pytest.mark.parametrize(("a", "b"), [((3, 1), (4,)), ((), (2, 3)), ((1, 1, 2), (3, 1)), ((2, 1), (2, 1)), ((1,), ())])
def test_broadcasting(agree, leaf, a, b):
    agree(lambda x, y: ((x * y + y) / (y * y + 1) - x).sin().sum(), leaf(*a), leaf(*b))


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float64, torch.complex128)])
def test_type_promotion(leaf, dtypes):
    a, b = leaf(3, dtype=dtypes[0]), leaf(3, dtype=dtypes[1])
    with Tape() as tape:
        product = a * b + a
        loss = (product * product).abs().sum()
    expected = torch.autograd.grad(loss, (a, b))
    found = tape.backward(loss)
    for x, theirs in zip((a, b), expected, strict=True):
        assert found[x].dtype == x.dtype
        torch.testing.assert_close(found[x], theirs)


def test_python_numbers_and_integer_tensors(agree, leaf):
    agree(lambda x: (x * torch.arange(3) + 2 - x * True).sum(), leaf(3))


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
def test_zero_size(agree, leaf, shape):
    agree(lambda x, y: (x.exp() * 2).sum() + y.sin().sum() + torch.cat([x, x]).sum(), leaf(*shape), leaf())


# --- using the tape twice, or wrongly -----------------------------------------------------------------------


def test_a_tape_is_used_up_unless_retained(leaf):
    x = leaf(3)
    with Tape() as tape:
        loss = x.exp().sum()
    first = tape.backward(loss, retain_tape=True)[x]
    second = tape.backward(loss)[x]
    assert torch.equal(first, second)
    with pytest.raises(TapeError, match="retain_tape=True"):
        tape.backward(loss)


def test_a_used_up_tape_lets_go_of_intermediate_tensors(leaf):
    x = leaf(3)
    with Tape() as tape:
        middle = x.exp()
        loss = middle.sum()
    watch = weakref.ref(middle)
    tape.backward(loss)
    del middle, loss
    gc.collect()
    assert watch() is None


def test_the_sweep_lets_go_as_it_passes_without_waiting_for_the_garbage_collector(leaf):
    x = leaf(3)
    with Tape() as tape:
        middle = x.exp()
        loss = middle.square().sum()
    watch = weakref.ref(middle)
    del middle
    gc.disable()
    try:
        with torch.no_grad():
            tape.backward(loss.detach_())
        assert watch() is None
    finally:
        gc.enable()


def test_a_leaf_frozen_after_its_use_has_no_gradient(leaf):
    x, w = leaf(3), leaf(3)
    with Tape() as tape:
        loss = (x * w).sum()
        x.requires_grad_(False)
    loss.backward()
    found = tape.backward(loss)
    assert x.grad is None
    assert found[x] is None
    torch.testing.assert_close(found[w], w.grad)


def test_backward_inside_the_block_is_refused(leaf):
    x = leaf(3)
    with Tape() as tape:
        loss = x.sum()
        with pytest.raises(TapeError, match="still recording"):
            tape.backward(loss)
    assert tape.backward(loss)[x].tolist() == [1, 1, 1]


def test_an_output_that_the_tape_has_not_seen_is_refused(leaf):
    x = leaf(3)
    with Tape() as tape:
        loss = x.sum()
    for strange in (x.sum(), loss.detach(), loss * 2):
        with pytest.raises(TapeError, match="has not seen"):
            tape.backward(strange)
    assert tape.backward(loss)[x].tolist() == [1, 1, 1]


def test_a_tape_records_once(leaf):
    x = leaf(3)
    with Tape() as tape:
        x.sum()
    with pytest.raises(TapeError, match="one forward pass"), tape:
        pass


def test_inference_mode_is_refused():
    with torch.inference_mode(), pytest.raises(TapeError, match="inference_mode"), Tape():
        pass
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_an_error_in_the_block_leaves_nothing_behind():
    hooks = torch.nn.modules.module
    before = len(hooks._global_forward_pre_hooks), len(hooks._global_forward_hooks)

    def fail():
        with Tape():
            nn.Linear(2, 2)(torch.ones(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (len(hooks._global_forward_pre_hooks), len(hooks._global_forward_hooks)) == before
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_a_changed_tensor_is_noticed():
    model = nn.Linear(2, 2)
    with Tape() as tape:
        loss = model(model(torch.ones(2))).sum()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    with pytest.raises(TapeError, match="changed after it was recorded"):
        tape.backward(loss)


def test_a_changed_output_is_noticed(leaf):
    x = leaf(3)
    with Tape() as tape:
        y = x.exp()
        loss = y.sum()
    with torch.no_grad():
        y.mul_(2)
    with pytest.raises(TapeError, match="changed after it was recorded"):
        tape.backward(loss)


def test_a_changed_result_is_noticed(leaf):
    x = leaf()
    with Tape() as tape:
        y = x.exp()
    with torch.no_grad():
        y.mul_(2)
    with pytest.raises(TapeError, match="changed after it was recorded"):
        tape.backward(y)


def test_tensors_made_in_inference_mode_may_enter(leaf):
    x = leaf(3)
    with torch.inference_mode():
        data = torch.arange(3).double()
    with Tape() as tape:
        loss = (x + data).sum()
    assert tape.backward(loss)[x].tolist() == [1, 1, 1]


def test_a_change_that_no_rule_reads_does_no_harm(leaf):
    x = leaf(3)
    with Tape() as tape:
        loss = (x + 2).sum()
    with torch.no_grad():
        x.zero_()
    assert tape.backward(loss)[x].tolist() == [1, 1, 1]


# --- a missing rule -----------------------------------------------------------------------------------------


class Squash(nn.Module):
    def forward(self, x):
        return x.tanh()


def test_a_missing_rule_is_named_with_its_module():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Squash()))
    rules = {op: rule for op, rule in RULES.items() if op is not aten.tanh.default}
    with Tape(rules) as tape:
        loss = model(torch.ones(2)).sum()
    with pytest.raises(MissingRuleError, match=r"aten\.tanh\.default \(module: 1\.0\)"):
        tape.backward(loss)


def test_a_missing_rule_matters_only_where_a_gradient_arrives(leaf):
    x = leaf(3)
    rules = {op: rule for op, rule in RULES.items() if op is not aten.tanh.default}
    with Tape(rules) as tape:
        x.tanh().sum()
        loss = (x * x.detach().tanh()).sum()
    torch.testing.assert_close(tape.backward(loss)[x], x.detach().tanh())


# --- without grad mode --------------------------------------------------------------------------------------


def test_under_no_grad_everything_is_differentiated(leaf):
    w, data = leaf(3), torch.randn(3, dtype=torch.float64)
    index = torch.tensor([2, 0])
    with torch.no_grad(), Tape() as tape:
        loss = (w * data).sin()[index].sum()
    grads = tape.backward(loss)
    mask = torch.tensor([1.0, 0, 1], dtype=torch.float64)
    slope = (w * data).detach().cos() * mask
    torch.testing.assert_close(grads[w], slope * data)
    torch.testing.assert_close(grads[data], (slope * w).detach())
    assert grads[index] is None


def test_detach_stops_even_under_no_grad(leaf):
    x = leaf(3)
    with torch.no_grad(), Tape() as tape:
        loss = (x * x.detach()).sum()
    assert torch.equal(tape.backward(loss)[x], x.detach())


def test_data_put_aside_must_not_have_changed_when_asked_for(leaf):
    w, data = leaf(3), torch.randn(3, dtype=torch.float64)
    with torch.no_grad(), Tape() as tape:
        loss = w @ data
    grads = tape.backward(loss)
    torch.testing.assert_close(grads[w], data)
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(TapeError, match=r"read by dot in module .* was changed after it was recorded"):
        grads[data]


def test_data_used_several_times_under_no_grad(leaf):
    w, data = leaf(3), torch.randn(3, dtype=torch.float64)
    with torch.no_grad(), Tape() as tape:
        loss = (w * data).sum() + (data.exp() * data).sum()
    expected = w.detach() + data.exp() * (1 + data)
    torch.testing.assert_close(tape.backward(loss)[data], expected)


def test_statistics_of_a_normalization_have_no_gradient_under_no_grad():
    layer = nn.BatchNorm1d(3).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    with torch.no_grad(), Tape() as tape:
        loss = layer(x).square().sum()
    grads = tape.backward(loss)
    assert grads[layer.running_mean] is None
    assert grads[layer.running_var] is None


@pytest.mark.parametrize("make", [lambda: torch.zeros(3), lambda: torch.arange(3).double()])
def test_a_leaf_made_under_no_grad_has_a_gradient(make):
    with torch.no_grad(), Tape() as tape:
        inside = make().requires_grad_()
        loss = (inside * 2).sum()
    assert tape.backward(loss)[inside].tolist() == [2, 2, 2]


def test_entries_of_a_forward_pass_under_no_grad_are_there_when_asked_for():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    with torch.no_grad(), Tape() as tape:
        loss = model(torch.ones(1, 2)).sum()
    assert [(e.name, e.scope.label) for e in tape.entries][1:] == [
        *(("t", "0"), ("addmm", "0"), ("tanh", "1"), ("sum", "(no module)")),
    ]
    terms: list = []
    grads = tape.backward(loss, terms=terms)
    assert [term.rule.name for term in terms] == ["sum", "tanh", "addmm", "t"]
    assert grads[model[0].bias].shape == (2,)


# --- autograd's numbers -------------------------------------------------------------------------------------


def test_entries_carry_the_sequence_number_of_autograds_nodes(leaf):
    x, w = leaf(4, 3), leaf(3, 3)
    with Tape() as tape:
        h = torch.relu(x @ w)
        h = h.add_(1).t()
        loss = nn.functional.layer_norm(h.contiguous(), (4,)).exp().mean()
    nodes = {}
    stack = [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and type(node).__name__ != "AccumulateGrad" and node._sequence_nr() not in nodes:
            nodes[node._sequence_nr()] = node
            stack.extend(parent for parent, _ in node.next_functions)
    recorded = {}
    for entry in tape.entries:
        if any(entry.is_open) and entry.op is not aten.detach.default:  # how autograd saves a result for itself
            recorded.setdefault(entry.number, []).append(entry.op)
    assert recorded == {
        number: [operation]
        for number, operation in zip(
            sorted(number for number in nodes),
            [
                aten.mm.default,
                aten.relu.default,
                aten.add.Tensor,
                aten.t.default,
                aten.clone.default,
                aten.native_layer_norm.default,
                aten.exp.default,
                aten.mean.default,
            ],
            strict=True,
        )
    }


def turned(g, y, a, b):
    return lambda: (g @ b.mT).mT, lambda: a.mT @ g


def unfit(g, y, a, b):
    return lambda: g @ b, lambda: a.mT @ g


@pytest.mark.parametrize(
    ("wrong", "says"),
    [(turned, r"gradient of shape \(3, 2\) for a value of shape \(2, 3\)"), (unfit, "cannot be multiplied")],
)
@pytest.mark.parametrize("asks", ["terms", "in grad mode", "without grad", "for data", "for data beside a write"])
def test_a_rule_that_cannot_be_applied_is_named(wrong, says, asks):
    class Product(nn.Module):
        def forward(self, x, w):
            return x @ w

    x, w = torch.ones(2, 3, requires_grad="data" not in asks), torch.ones(3, 4, requires_grad=True)
    rules = {**RULES, aten.mm.default: replace(RULES[aten.mm.default], function=wrong)}
    with torch.set_grad_enabled(asks in ("terms", "in grad mode")), Tape(rules=rules) as tape:
        y = Product()(x, w)
        if "write" in asks:
            y.add_(1)
        y = y.sum()
    with pytest.raises(TapeError, match=rf"rule for the operation aten.mm.default \(module: Product\) failed.*{says}"):
        tape.backward(y, terms=[] if asks == "terms" else None)[x]
