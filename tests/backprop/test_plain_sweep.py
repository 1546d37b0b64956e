"""Small forward passes that write nothing are swept from notes alone: the same gradients, and the terms on demand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradlab.backprop import RULES, MissingRuleError, Tape, TapeError

aten = torch.ops.aten


def leaves():
    numbers = torch.Generator().manual_seed(3)
    return [torch.randn(3, 4, generator=numbers, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def lists_with_and_without_grad(x, w, v):
    return (torch.cat([x, torch.ones_like(x), w.detach(), v]) * torch.stack([v.detach(), w, x, x]).flatten(0, 1)).sum()


def a_leaf_tracked_after_its_first_use(x, w, v):
    data = torch.full((4,), 3.0, dtype=torch.float64)
    first = data * x
    data.requires_grad_()
    return (first * w).sum() + (data * v).sum(), data


def an_intermediate_result_tracked(x, w, v):
    constant = x.detach() * 2
    constant.requires_grad_()
    return (constant * w).sum() + constant.exp().mean(), constant


def one_of_several_results_tracked(x, w, v):
    left, right = torch.split(torch.arange(8.0, dtype=torch.float64), 4)
    left.requires_grad_()
    return (left * x + right * w).sum(), left


def the_only_one_of_several_tracked(x, w, v):
    (only,) = torch.split(torch.arange(4.0, dtype=torch.float64), 4)
    only.requires_grad_()
    return (only * x + w).sum(), only


def arguments_left_out(x, w, v):
    return (F.layer_norm(x, (4,), weight=w[0]) * F.layer_norm(v, (4,))).sum() + F.conv1d(x[None], v[:, :3, None]).sum()


def some_results_unused(x, w, v):
    values, places = torch.sort(x @ w.T, dim=1)
    chunks = values.unbind(1)
    return (chunks[0] * chunks[2]).sum() + v.max(0).values.sum() + places.double().mean()


def what_autograd_keeps_handed_back(x, w, v):
    (slope,) = torch.autograd.grad((x.tanh() * w).sum(), x, create_graph=True)
    return (slope * v).sum()


def a_conjugate_written_out(x, w, v):
    return (torch.complex(x, w).conj().sin() * v).real.sum()


PROGRAMS = [
    lists_with_and_without_grad,
    a_leaf_tracked_after_its_first_use,
    an_intermediate_result_tracked,
    one_of_several_results_tracked,
    the_only_one_of_several_tracked,
    arguments_left_out,
    some_results_unused,
    what_autograd_keeps_handed_back,
    a_conjugate_written_out,
]


def run(program):
    """The tape, the loss, and the leaves."""
    variables = leaves()
    with Tape() as tape:
        result = program(*variables)
    loss, *made = result if isinstance(result, tuple) else (result,)
    return tape, loss, [*variables, *made]


def assert_same(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_all_ways_like_autograd(program):
    tape, loss, variables = run(program)
    expected = torch.autograd.grad(loss, variables, allow_unused=True)
    swept, terms = tape.sweep(loss)
    assert_same(map(swept.get, variables), expected)

    tape, loss, variables = run(program)
    kept = []
    assert_same(map(tape.backward(loss, terms=kept).get, variables), expected)
    assert [term.entry.name for term in terms] == [term.entry.name for term in kept]

    tape, loss, variables = run(program)
    assert_same(map(tape.backward(loss).get, variables), expected)


def test_terms_are_those_of_the_same_pass():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(5, 3)
    with Tape() as tape:
        loss = net(x).square().mean()
    gradients, terms = tape.sweep(loss)
    names = ["mean", "pow", "addmm", "t", "tanh", "addmm", "t"]
    assert [term.entry.name for term in terms] == names
    assert terms[1].entry.name == "pow"
    assert len(terms[2:4]) == 2
    assert terms.numbers >= {term.entry.number for term in terms}
    (arrived,) = (g for term in terms for value, g in term.downstream if value.tensor is net[0].bias)
    assert torch.equal(arrived, gradients[net[0].bias])


def test_terms_asked_for_after_the_update_are_refused():
    net = nn.Linear(3, 2)
    with Tape() as tape:
        loss = net(torch.ones(4, 3)).tanh().sum()
    _, terms = tape.sweep(loss)
    with torch.no_grad():
        net.weight.add_(1)
    with Tape() as untouched:
        after = net(torch.ones(4, 3)).tanh().sum()
    assert len(untouched.sweep(after)[1]) > 0
    with pytest.raises(TapeError, match="was changed after it was recorded"):
        _ = terms[0]


def test_a_sweep_leaves_the_tape_for_another():
    x = torch.tensor(3.0, requires_grad=True)
    with Tape() as tape:
        y = x * x
    assert [float(tape.sweep(y)[0][x]) for _ in range(2)] == [6.0, 6.0]
    assert float(tape.backward(y)[x]) == 6.0


def test_a_missing_rule_counts_only_where_a_gradient_arrives():
    without = {op: rule for op, rule in RULES.items() if op is not aten.sin.default}
    x, data = torch.ones(3, requires_grad=True), torch.ones(3)
    with Tape(rules=without) as tape:
        y = (x * data.sin()).sum()
    assert tape.backward(y)[x].tolist() == pytest.approx([0.8414709848] * 3)  # sin 1
    with Tape(rules=without) as tape:
        y = (x.sin() * data).sum()
    with pytest.raises(MissingRuleError, match="aten.sin"):
        tape.backward(y)


def test_a_tensor_made_before_gets_its_gradient_and_one_that_is_lost_is_refused():
    w = torch.tensor(2.0, requires_grad=True)
    before = w * 3
    with Tape() as tape:
        y = before * before
    gradients = tape.backward(y)
    assert float(gradients[before]) == 12.0
    assert w not in gradients

    before = w * 3
    with Tape() as tape:
        with torch._C._DisableTorchDispatch():
            unseen = w.exp()
        y = unseen * before
    with pytest.raises(TapeError, match="is lost: autograd made it during the recording"):
        tape.backward(y)
