"""What an evaluation touches besides its result: random numbers, buffers, `.grad`. It is put back each time."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from gradlab.witnesses.generators import Generator, put_back, state_of

SEED = 0


class Surroundings:
    """The same random numbers and the same buffers for every evaluation.

    Args:
        modules: whose buffers and training flags are put back.
        seed: seeds the random numbers of torch, NumPy and Python before each evaluation.
        generators: further ones, put back before each evaluation as they are now.

    Example:
        >>> around = Surroundings([nn.BatchNorm1d(2)])
        >>> with around.same():
        ...     first = torch.rand(1)
        >>> with around.same():
        ...     print(bool(torch.rand(1) == first))
        True
    """

    def __init__(
        self, modules: Iterable[nn.Module] = (), seed: int = SEED, generators: Iterable[Generator] = ()
    ) -> None:
        self.modules = list(modules)
        self.seed = seed
        parts = {id(part): part for module in self.modules for part in module.modules()}.values()
        self._flags = [(part, part.training) for part in parts]
        self._buffers = [(b, b.detach().clone()) for part in parts for b in part.buffers(recurse=False)]
        self._generators = [(generator, state_of(generator)) for generator in generators]
        self._others: bool | None = None  # whether NumPy's or Python's generators are used: known after one evaluation

    @contextmanager
    def same(self) -> Iterator[None]:
        """Around one evaluation. Buffers are put back before it: a backward pass after it may still read them."""
        self.restore()
        self._reseed()
        before = self._states() if self._others is None else None
        try:
            yield
        finally:
            if before is not None:
                self._others = before != self._states()

    def restore(self) -> None:
        """Buffers and training flags as they were at first; a tape that records does not see it."""
        with _disable_current_modes():
            for buffer, content in self._buffers:
                if not _is_functional(buffer) and not torch.equal(buffer, content):
                    buffer.data.copy_(content)
        for part, training in self._flags:
            part.training = training

    def _reseed(self) -> None:
        torch.default_generator.manual_seed(self.seed)
        for generator, state in self._generators:
            put_back(generator, state)
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(self.seed)
        if self._others is not False:
            random.seed(self.seed)
            np.random.seed(self.seed)

    @staticmethod
    def _states() -> tuple[Any, ...]:
        state: Any = np.random.get_state(legacy=True)
        return random.getstate(), state[1].tobytes(), *state[2:]


def _is_functional(tensor: Tensor) -> bool:
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)


@contextmanager
def untouched(modules: Iterable[nn.Module], leaves: Iterable[Tensor]) -> Iterator[None]:
    """Afterwards random states, buffers, training flags, `.grad` and `requires_grad` are as before, whatever happens.

    Args:
        modules: modules that may be called.
        leaves: tensors that a backward pass may reach, besides the modules' parameters.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> with untouched([], [x]):
        ...     x.sum().backward()
        >>> x.grad is None
        True
    """
    modules = list(modules)
    around = Surroundings(modules)
    touched = {id(t): t for t in (*leaves, *(p for m in modules for p in m.parameters()))}.values()
    grads = [(t, t.grad, t.requires_grad) for t in touched if t.is_leaf]
    states: tuple[Any, Any] = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        for tensor, _, _ in grads:
            tensor.grad = None
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            around.restore()
            for tensor, grad, requires_grad in grads:
                tensor.requires_grad_(requires_grad)
                tensor.grad = grad
