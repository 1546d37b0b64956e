"""Each rule reads only the contents that it declares.

The tape keeps old contents of what an in-place operation overwrites only where a rule reads them. So a rule that
looks at more than it says would see a later content. Here everything that it does not declare is spoiled (NaN; an
index outside of every tensor; the opposite truth value), and what it sends downstream must stay the same.
"""

from dataclasses import replace

import pytest
import torch
from opinfo import Comparison, differentiable, quiet, samples

from gradlab.backprop.rules import RULES
from gradlab.backprop.sweep import Sweep
from gradlab.backprop.values import Entry, Value

aten = torch.ops.aten


def _spoilt(tensor):
    """A tensor with the same size, stride and offset, and nothing of the content. A sparse one stays as it is."""
    if tensor.layout is not torch.strided:
        return tensor
    memory = torch.empty(tensor.untyped_storage().nbytes() // tensor.element_size(), dtype=tensor.dtype)
    if tensor.dtype == torch.bool:
        memory.copy_(~tensor.detach().as_strided(memory.shape, (1,), 0))
    elif tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        memory.fill_(torch.nan)
    else:
        memory.fill_(torch.iinfo(tensor.dtype).max)
    return memory.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def _copy(entry, rule, spoil):
    """The same entry with a value of its own in each place; those that the rule does not declare may be spoilt."""
    inputs = []

    def place(group, is_read):
        if isinstance(group, list):
            return [place(value, is_read) for value in group]
        if group is None:
            return None
        inputs.append(Value(group.tensor if is_read or not spoil else _spoilt(group.tensor)))
        return inputs[-1].tensor

    args, kwargs = list(entry.args), dict(entry.kwargs)
    for (position, name), group in zip(entry.facts.tensor_arguments, entry.grouped(), strict=True):
        tensors = place(group, position in rule.reads)
        if position < len(args):
            args[position] = tensors if group is not None else args[position]
        elif name in kwargs:
            kwargs[name] = tensors
    copy = Entry(entry.facts, args, kwargs, inputs, entry.is_open, 0, True, entry.scope)
    copy.index = 0
    outputs = [v and (v.tensor if rule.reads_output or not spoil else _spoilt(v.tensor)) for v in entry.outputs]
    copy.outputs = tuple(None if t is None else Value(t, copy) for t in outputs)
    return copy


def _downstream(term, rule, spoil):
    entry = _copy(term.entry, rule, spoil)
    seeds = [(v, g) for v, g in zip(entry.outputs, term.upstream, strict=True) if g is not None]
    with torch.no_grad():
        gradients = Sweep([entry], {entry.op: rule}, everything=True).run(seeds)
    return [gradients.get(v) for v in entry.inputs]


def _check(term, rule):
    torch.testing.assert_close(
        _downstream(term, rule, spoil=True),
        _downstream(term, rule, spoil=False),
        rtol=0,
        atol=0,
        equal_nan=True,
        msg=lambda m: f"{rule.name} reads more than it declares: {m}",
    )


@quiet
@pytest.mark.parametrize("name", differentiable())
def test_a_rule_reads_only_what_it_declares(name):
    for function, args, kwargs in samples(name, count=1):
        for term in Comparison(function, args, kwargs).terms:
            if term.rule is not None:
                _check(term, term.rule)


@pytest.mark.parametrize(
    ("op", "function"), [(aten.tanh.default, torch.tanh), (aten.sin.default, torch.sin), (aten.max.dim, None)]
)
def test_a_rule_that_declares_too_little_is_caught(op, function):
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    (term,) = Comparison(function or (lambda x: torch.max(x, 0)), (x,)).terms
    _check(term, term.rule)
    with pytest.raises((AssertionError, RuntimeError, IndexError), match="reads more|out of"):
        _check(term, replace(RULES[op], reads=frozenset(), reads_output=False))
