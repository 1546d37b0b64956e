"""The plain sweep against the general one: the same gradients, bit for bit, over PyTorch's own samples."""

import pytest
import torch
from opinfo import differentiable, module_samples, modules, quiet, samples
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from gradlab.backprop import Tape
from gradlab.backprop import tape as recording


def numbers_in(tree):
    return [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor) and t.dtype.is_floating_point | t.is_complex()]


def gradients(call, retain_tape):
    """What the sweep finds for each of a call's tensors, and whether it was the plain one."""
    function, args, kwargs = call
    inputs = numbers_in((args, kwargs))
    torch.manual_seed(1)
    with torch.no_grad(), Tape() as tape:
        outputs = [t for t in numbers_in(function(*args, **kwargs)) if all(t is not x for x in inputs)]
    is_plain = tape._notes is not None and tape._met.are_small
    upstream = [torch.randn(t.shape, dtype=t.dtype, generator=torch.Generator().manual_seed(2)) for t in outputs]
    found = tape.backward(outputs, upstream, retain_tape=retain_tape)
    return [found.get(x) if x in found else None for x in inputs], is_plain


def compare(calls):
    """How many of the calls the plain sweep took part in."""
    plain = 0
    for call in calls:
        if any(is_lazy(t) for t in tree_leaves(call[1])):
            call[0](*call[1], **call[2])  # it makes its parameters now
        direct, is_plain = gradients(call, retain_tape=False)
        general, _ = gradients(call, retain_tape=True)
        for ours, theirs in zip(direct, general, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours.to_dense(), theirs.to_dense(), rtol=0, atol=0, equal_nan=True)
        plain += is_plain
    return plain


@quiet
@pytest.mark.parametrize("name", differentiable())
def test_operations(name):
    compare(samples(name, 2))


@quiet
@pytest.mark.parametrize("name", modules())
def test_modules(name):
    compare(module_samples(name)[:2])


@quiet
def test_most_samples_need_no_more():
    names = differentiable()
    plain = [compare(samples(name, 1)) for name in names]
    assert sum(plain) > 0.9 * len(names)


def test_a_sweep_that_drops_a_use_is_caught(monkeypatch):
    run = recording.DirectSweep.run

    def forgetful(self, notes, seeds):
        return run(self, notes[:1] + notes[2:], seeds)

    monkeypatch.setattr(recording.DirectSweep, "run", forgetful)
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(AssertionError):
        compare([(lambda x: (x.sin() + x.cos()).sum(), (x,), {})])
