"""Where the tape cannot follow it says so, by name."""

import threading

import pytest
import torch
from torch import nn

from gradlab import MissingRuleError, Tape, TapeError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.inner(x)).sum()


X = torch.ones(2, 3)


def compiled_in_place(net):
    net.inner.compile(backend="eager")


def compiled_copy(net):
    net.inner = torch.compile(net.inner, backend="eager")


@pytest.mark.filterwarnings("ignore:Using `torch.compile:UserWarning")
@pytest.mark.parametrize("compile_it", [compiled_in_place, compiled_copy])
@pytest.mark.parametrize("ran_before", [False, True])
def test_a_compiled_module_is_named(compile_it, ran_before):
    net = Net()
    compile_it(net)
    if ran_before:
        net(X)
    with pytest.raises(TapeError, match="module inner is compiled"), Tape():
        net(X)
    net(X)  # nothing is left behind
    with Tape() as tape:
        loss = Net()(X)
    tape.backward(loss)


def test_a_compiled_function_runs_eagerly_while_it_is_recorded():
    net = Net()
    compiled = torch.compile(lambda x: net(x) * 2, backend="eager")
    compiled(X)
    with Tape() as tape:
        loss = compiled(X)
    expected = torch.autograd.grad(loss, list(net.parameters()))
    gradients = tape.backward(loss)
    torch.testing.assert_close([gradients[p] for p in net.parameters()], list(expected))


def test_a_module_in_another_thread_is_named():
    net, results = Net(), []
    with Tape() as tape:
        thread = threading.Thread(target=lambda: results.append(net(X)))
        thread.start()
        thread.join()
        loss = results[0] * 2
    with pytest.raises(TapeError, match="the module Net ran in another thread"):
        tape.backward(loss)


@pytest.mark.parametrize("with_terms", [False, True])
def test_an_operation_in_another_thread_is_named_where_it_goes_on_with_what_was_recorded(with_terms):
    w, results = torch.ones(3, requires_grad=True), []
    with Tape() as tape:
        recorded = w * 2
        thread = threading.Thread(target=lambda: results.append(recorded.exp()))
        thread.start()
        thread.join()
        loss = (results[0] * recorded).sum()
    with pytest.raises(TapeError, match=r"made of what the tape recorded \(ExpBackward0\), in another thread"):
        tape.backward(loss, terms=[] if with_terms else None)


@pytest.mark.parametrize("with_terms", [False, True])
def test_a_view_from_before_is_a_source_although_its_base_was_written(with_terms):
    base = torch.ones(2, 2, requires_grad=True) * 1
    view = base.view(-1)
    base.mul_(2)  # autograd makes the view's node anew when it is used
    with Tape() as tape:
        loss = (view * 3).sum()
    assert tape.backward(loss, terms=[] if with_terms else None)[view].tolist() == [3.0] * 4


def test_an_unrelated_module_in_another_thread_does_no_harm():
    net, other = Net(), Net()
    with Tape() as tape:
        thread = threading.Thread(target=lambda: other(X))
        thread.start()
        thread.join()
        loss = net(X)
    expected = torch.autograd.grad(loss, list(net.parameters()))
    gradients = tape.backward(loss)
    torch.testing.assert_close([gradients[p] for p in net.parameters()], list(expected))


def test_a_foreign_operation_is_named_with_its_module():
    with torch.library._scoped_library("gradlab_test", "FRAGMENT") as library:
        library.define("cube(Tensor x) -> Tensor")
        library.impl("cube", lambda x: x * x * x, "CPU")

        class Foreign(nn.Module):
            def forward(self, x):
                return torch.ops.gradlab_test.cube(x)

        model = nn.Sequential(nn.Linear(3, 2), Foreign())
        with torch.no_grad(), Tape() as tape:
            loss = model(X).sum()
        with pytest.raises(MissingRuleError, match=r"gradlab_test\.cube\.default \(module: 1\)"):
            tape.backward(loss)
