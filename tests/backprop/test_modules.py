"""Module paths: relative to the outermost module called, followed only while a tape is open."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from gradlab.backprop import Tape

aten = torch.ops.aten


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x).tanh()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(Block(), Block())

    def forward(self, x):
        return self.encoder(x).exp()


def scopes(tape, op):
    return [entry.scope for entry in tape.entries if entry.op is op]


def test_paths_are_relative_to_the_outermost_module_called():
    model = Net()
    with Tape() as tape:
        model(torch.ones(1, 2)).sum()
    assert [s.path for s in scopes(tape, aten.addmm.default)] == ["encoder.0.fc", "encoder.1.fc"]
    assert [s.path for s in scopes(tape, aten.tanh.default)] == ["encoder.0", "encoder.1"]
    (top,) = scopes(tape, aten.exp.default)
    assert (top.path, top.label, top.module, top.root) == ("", "Net", model, model)
    (outside,) = scopes(tape, aten.sum.default)
    assert (outside.path, outside.label, outside.module) == ("", "(no module)", None)


def test_a_part_called_by_itself_is_its_own_root():
    model = Net()
    with Tape() as tape:
        model.encoder[1](torch.ones(1, 2))
        model(torch.ones(1, 2))
    paths = [s.path for s in scopes(tape, aten.addmm.default)]
    assert paths == ["fc", "encoder.0.fc", "encoder.1.fc"]


def test_modules_around_the_tape_do_not_count():
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, x):
            with Tape() as tape:
                self.net(x).sum()
            return tape

    tape = nn.Sequential(Watched())(torch.ones(1, 2))
    assert [s.path for s in scopes(tape, aten.addmm.default)] == ["encoder.0.fc", "encoder.1.fc"]
    assert [s.label for s in scopes(tape, aten.sum.default)] == ["(no module)"]


def test_a_module_that_the_root_does_not_own_goes_by_its_class():
    class Wrapper(nn.Module):
        def forward(self, x):
            return nn.Tanh()(x)

    with Tape() as tape:
        Wrapper()(torch.ones(2))
    assert [s.path for s in scopes(tape, aten.tanh.default)] == ["Tanh"]


def test_a_shared_module_has_one_path():
    block = nn.Linear(2, 2)
    model = nn.Sequential(block, block)
    with Tape() as tape:
        model(torch.ones(1, 2))
    assert [s.path for s in scopes(tape, aten.addmm.default)] == ["0", "0"]


def test_a_caught_error_does_not_shift_the_paths():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError

    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.fails, self.act = nn.Sequential(Fails()), nn.Tanh()

        def forward(self, x):
            try:
                return self.fails(x)
            except ValueError:
                return self.act(x).exp()

    with Tape() as tape:
        Careful()(torch.ones(2)).sin()
    assert [s.path for s in scopes(tape, aten.tanh.default)] == ["act"]
    assert [s.label for s in scopes(tape, aten.exp.default)] == ["Careful"]
    assert [s.label for s in scopes(tape, aten.sin.default)] == ["(no module)"]


class Recurrent(nn.Module):
    """Calls one cell three times, itself once, and a block by way of activation checkpointing."""

    def __init__(self):
        super().__init__()
        self.cell, self.block = nn.GRUCell(2, 2), Block()

    def forward(self, x, again=True):
        h = x
        for _ in range(3):
            h = self.cell(x, h)
        h = checkpoint(self.block, h, use_reentrant=False)
        return self(h, again=False) * 2 if again else h + x


class ByHooks(TorchDispatchMode):
    """The modules that run at each operation, outermost first, as PyTorch's own hooks tell them, call by call."""

    def __init__(self):
        super().__init__()
        self.running, self.seen, self.calls = [], [], 0

    def __enter__(self):
        self.handles = [
            torch_module.register_module_forward_pre_hook(self.begin),
            torch_module.register_module_forward_hook(lambda *_: self.running.pop() and None),
        ]
        return super().__enter__()

    def __exit__(self, *exception):
        for handle in self.handles:
            handle.remove()
        super().__exit__(*exception)

    def begin(self, module, _):
        self.calls += 1
        self.running.append((self.calls, module))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is not aten.detach.default:  # under no_grad a constant, and no entry
            self.seen.append(tuple(self.running))
        return func(*args, **(kwargs or {}))


def called_from(scope):
    chain = []
    while scope is not None and scope.module is not None:
        chain.append(scope)
        scope = scope.caller
    return chain[::-1]


@pytest.mark.parametrize("grad_mode", [False, True])
@pytest.mark.parametrize(
    "model",
    [Net(), Recurrent(), nn.TransformerEncoderLayer(2, 1, 4, dropout=0.1, batch_first=True), nn.LSTM(2, 2)],
    ids=["net", "recurrent", "transformer", "lstm"],
)
def test_every_operation_belongs_to_the_calls_that_hooks_tell(model, grad_mode):
    x = torch.ones(3, 2) if not isinstance(model, nn.TransformerEncoderLayer) else torch.ones(1, 3, 2)
    with torch.set_grad_enabled(grad_mode), Tape() as tape, ByHooks() as hooks:
        for _ in range(2):
            model(x)
        x.exp()
    entries = [entry for entry in tape.entries if entry.op is not aten.detach.default]
    of_call = {}
    for entry, calls in zip(entries, hooks.seen, strict=True):
        chain = called_from(entry.scope)
        assert [scope.module for scope in chain] == [module for _, module in calls]
        for (call, _), scope in zip(calls, chain, strict=True):
            assert of_call.setdefault(call, scope) is scope  # one call is one scope, and
    assert len({id(scope) for scope in of_call.values()}) == len(of_call) > 1  # another call another one


def test_what_a_module_was_called_with_is_let_go():
    class Note:
        pass

    class Annotated(nn.Module):
        def forward(self, x, note):
            return x.exp()

    model = Annotated()
    with torch.no_grad(), Tape() as tape:
        note = Note()
        alive = weakref.ref(note)
        model(torch.ones(2), note)
        del note
    assert alive() is None
    assert [entry.scope.label for entry in tape.entries] == ["(no module)", "Annotated"]


def test_hooks_exist_only_while_the_tape_is_open():
    def count():
        return len(torch_module._global_forward_pre_hooks) + len(torch_module._global_forward_hooks)

    before = count()
    with Tape():
        assert count() == before + 1
        with Tape():
            assert count() == before + 2
        assert count() == before + 1
    assert count() == before
    with torch.no_grad(), Tape():
        assert count() == before


def test_a_call_that_somebody_wrapped_is_seen(monkeypatch):
    """As profilers do; the wrapper's own arguments may have any names."""
    call = nn.Module.__call__
    monkeypatch.setattr(nn.Module, "__call__", lambda it, *args: call(it, *args))
    model = Net()
    with torch.no_grad(), Tape() as tape:
        model(torch.ones(1, 2))
    assert [s.path for s in scopes(tape, aten.addmm.default)] == ["encoder.0.fc", "encoder.1.fc"]
