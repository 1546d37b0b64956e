"""Sample inputs for PyTorch's operations and modules, and one comparison of the tape with autograd on any of them.

`op_db` and `module_db` are the lists by which PyTorch tests itself: each entry with a function that makes inputs.
"""

from __future__ import annotations

import random
import sys
import unittest
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from types import ModuleType

import pytest
import torch
from torch.utils._pytree import tree_leaves

import gradlab
from gradlab.backprop.rules import RULES

Call = tuple[Callable, tuple, dict]

RTOL, ATOL = 1e-8, 1e-10  # double precision, after a dozen operations on small tensors

_WARNINGS = (  # what PyTorch says about some of its own samples
    "ComplexHalf support is experimental",
    "Using torch.cross without specifying the dim arg",
    "`nn.functional.upsample_(bilinear|nearest)` is deprecated",
    "dropout2d. Received a 3D input",
    "reduction. 'mean' divides the total loss by both",
    "torch.(cholesky|qr|lu|lu_solve|triangular_solve) is deprecated",
    "Sparse CSR tensor support is in beta",
    "Sparse invariant checks are implicitly disabled",
    "A window was not provided",
    "stft with return_complex=False",
    "index_reduce.. is in beta",
    "Using padding='same' with even kernel lengths",
    "linear_cross_entropy. ``options`` ignored",
    "enable_nested_tensor is True, but",
    "LSTM with projections is not supported with oneDNN",
)


def quiet(test):
    """Lets the warnings pass that PyTorch gives about its own samples, and no others."""
    for message in _WARNINGS:
        test = pytest.mark.filterwarnings(f"ignore:{message}:UserWarning")(test)
    return test


# --- PyTorch's lists ----------------------------------------------------------------------------------------


@cache
def operations() -> dict:
    """PyTorch's operations by name."""
    return {
        ".".join(filter(None, (op.name, op.variant_test_name))): op for op in _list("common_methods_invocations.op_db")
    }


@cache
def modules() -> dict:
    """PyTorch's modules by name."""
    return {info.name: info for info in _list("common_modules.module_db")}


def differentiable() -> list[str]:
    """The operations that PyTorch can differentiate in double precision on a CPU."""
    found = operations().items()
    return [n for n, op in found if op.supports_autograd and torch.float64 in op.supported_backward_dtypes("cpu")]


def _list(place: str) -> list:
    """A list of PyTorch's own tests, without the global switches that its modules throw when they are imported."""
    module, name = place.split(".")
    with warnings.catch_warnings(), _expecttest():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = getattr(import_module(f"torch.testing._internal.{module}"), name)
    torch.backends.__allow_nonbracketed_mutation_flag = True  # or Lightning may not set cudnn's flags any more
    return found


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


# --- their samples ------------------------------------------------------------------------------------------


def samples(name: str, count: int | None = None) -> list[Call]:
    """The sample inputs of an operation, or the first few: (the function, its positional and its named arguments).

    A sample in which nothing requires a gradient is none: there is nothing to compare.
    """
    op = operations()[name]
    _same_numbers()
    found = op.sample_inputs("cpu", torch.float64, requires_grad=True)
    calls = ((_processed(op, s), (s.input, *s.args), s.kwargs) for s in found)
    return list(islice((call for call in calls if _differentiable(call)), count))


def module_samples(name: str, dtype: torch.dtype = torch.float64) -> list[Call]:
    """Every input of a module, in training and in evaluation; the parameters stand first among the arguments."""
    info, calls = modules()[name], []
    for training in (True, False):
        _same_numbers()
        found = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
        for sample in found:
            made, given = sample.constructor_input, sample.forward_input
            module = info.module_cls(*made.args, **made.kwargs).to(dtype).train(training)
            calls.append((partial(_run, module), (list(module.parameters()), *given.args), given.kwargs))
    return calls


def _same_numbers() -> None:
    random.seed(0)
    torch.manual_seed(0)


def _processed(op, sample) -> Callable:
    process = sample.output_process_fn_grad or (lambda output: output)
    return lambda *args, **kwargs: process(op(*args, **kwargs))


def _run(module, parameters, *args, **kwargs):
    return module(*args, **kwargs)


# --- the comparison -----------------------------------------------------------------------------------------


class Comparison:
    """One call, recorded and differentiated twice with the same random upstream gradients.

    Attributes:
        inputs: the tensors that require a gradient.
        manual, autograd: their gradients by either way, zeros where an input is not reached.
        terms: one `gradlab.backprop.sweep.Term` for each operation that the sweep passed.
    """

    def __init__(self, function, args: tuple = (), kwargs: dict | None = None, rules=RULES) -> None:
        kwargs = kwargs or {}
        self.inputs = _differentiable((args, kwargs))
        torch.manual_seed(1)
        with gradlab.Tape(rules=rules) as tape:
            outputs = _differentiable(function(*args, **kwargs))
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

    def check(self, rtol: float = RTOL, atol: float = ATOL) -> None:
        """Raises AssertionError where the two ways differ."""
        torch.testing.assert_close(self.manual, self.autograd, rtol=rtol, atol=atol, equal_nan=True)

    def worst(self) -> float:
        """The largest difference of two entries, in proportion to autograd's, on the scale of `check`."""
        return max((_difference(m, a) for m, a in zip(self.manual, self.autograd, strict=True)), default=0.0)


def _differentiable(tree) -> list[torch.Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor) and t.requires_grad]


def _dense(gradient, x: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x) if gradient is None else gradient.to_dense()


def _difference(manual: torch.Tensor, autograd: torch.Tensor) -> float:
    same = (manual == autograd) | (manual.isnan() & autograd.isnan())
    relative = ((manual - autograd).abs() / (autograd.abs() + ATOL / RTOL)).nan_to_num(torch.inf)
    return torch.where(same, 0, relative).max().item() if same.numel() else 0.0
