"""Sample inputs for PyTorch's operations, and one comparison of the tape with autograd, for the tests beside this.

`op_db` is the list of operations by which PyTorch tests itself: each with a function that makes sample inputs.
"""

from __future__ import annotations

import random
import sys
import unittest
import warnings
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils._pytree import tree_leaves

import gradlab
from gradlab.backprop.rules import RULES

CONFORMING = (Path(__file__).parent / "conforming.txt").read_text().split()
SAMPLES = 4

_WARNINGS = (  # what PyTorch says about some of its own samples
    "ComplexHalf support is experimental",
    "Using torch.cross without specifying the dim arg",
    "`nn.functional.upsample_(bilinear|nearest)` is deprecated",
    "dropout2d. Received a 3D input",
    "reduction. 'mean' divides the total loss by both",
)


def quiet(test):
    """Lets the warnings pass that PyTorch gives about its own samples, and no others."""
    for message in _WARNINGS:
        test = pytest.mark.filterwarnings(f"ignore:{message}:UserWarning")(test)
    return test


@cache
def operations() -> dict:
    """PyTorch's list by name, without the global switches that its module throws when it is imported."""
    with warnings.catch_warnings(), _expecttest():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.testing._internal.common_methods_invocations import op_db
    torch.backends.__allow_nonbracketed_mutation_flag = True  # or Lightning may not set cudnn's flags any more
    return {".".join(filter(None, (op.name, op.variant_test_name))): op for op in op_db}


@contextmanager
def _expecttest():
    """PyTorch's module derives a class, of no use here, from one in a package that may not be installed."""
    if find_spec("expecttest") is not None:
        yield
        return
    stand_in = ModuleType("expecttest")
    stand_in.TestCase = unittest.TestCase
    sys.modules["expecttest"] = stand_in
    try:
        yield
    finally:
        del sys.modules["expecttest"]


def samples(name: str, count: int = SAMPLES) -> list[tuple]:
    """Up to ``count`` sample inputs of an operation: (the function, its positional and its named arguments)."""
    op = operations()[name]
    random.seed(0)
    torch.manual_seed(0)
    found = islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), count)
    return [(_processed(op, s), (s.input, *s.args), s.kwargs) for s in found]


def _processed(op, sample):
    process = sample.output_process_fn_grad or (lambda output: output)
    return lambda *args, **kwargs: process(op(*args, **kwargs))


class Comparison:
    """One call, recorded and differentiated twice with the same random upstream gradients.

    Attributes:
        inputs: the tensors that require a gradient.
        manual, autograd: their gradients by either way, zeros where an input is not reached.
        terms: one `gradlab.backprop.sweep.Term` for each operation that the sweep passed.
    """

    def __init__(self, function, args: tuple = (), kwargs: dict | None = None, rules=RULES) -> None:
        kwargs = kwargs or {}
        self.inputs = [t for t in tree_leaves((args, kwargs)) if _is_differentiable(t)]
        torch.manual_seed(1)
        with gradlab.Tape(rules=rules) as tape:
            outputs = [t for t in tree_leaves(function(*args, **kwargs)) if _is_differentiable(t)]
            # An operation may hand its argument through without doing anything at all.
            outputs = [t.clone() if any(t is x for x in self.inputs) else t for t in outputs]
        generator = torch.Generator().manual_seed(2)
        self.outputs = outputs
        self.upstream = [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in outputs]
        found = torch.autograd.grad(outputs, self.inputs, self.upstream, allow_unused=True)
        self.terms: list = []
        gradients = tape.backward(outputs, self.upstream, terms=self.terms)
        self.autograd = [_dense(g, x) for g, x in zip(found, self.inputs, strict=True)]
        self.manual = [_dense(gradients.get(x), x) for x in self.inputs]

    def check(self, rtol: float = 1e-8, atol: float = 1e-10) -> None:
        """Raises AssertionError where the two ways differ."""
        torch.testing.assert_close(self.manual, self.autograd, rtol=rtol, atol=atol, equal_nan=True)


def _is_differentiable(t) -> bool:
    return isinstance(t, torch.Tensor) and t.requires_grad


def _dense(gradient, x: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x) if gradient is None else gradient.to_dense()
