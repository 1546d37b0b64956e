"""Module paths: relative to the outermost module called, followed only while a tape is open."""

import torch
from torch import nn
from torch.nn.modules import module as torch_module

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


def test_hooks_exist_only_while_the_tape_is_open():
    def count():
        return len(torch_module._global_forward_pre_hooks) + len(torch_module._global_forward_hooks)

    before = count()
    with Tape():
        assert count() == before + 2
        with Tape():
            assert count() == before + 4
        assert count() == before + 2
    assert count() == before
