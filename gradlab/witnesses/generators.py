"""Random generators of the user's own, of whatever library: their state, taken and put back."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch

Generator: TypeAlias = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def state_of(generator: Generator) -> Any:
    """Where a generator stands.

    Example:
        >>> drawing = np.random.default_rng(0)
        >>> before = state_of(drawing)
        >>> first = drawing.random()
        >>> put_back(drawing, before)
        >>> bool(drawing.random() == first)
        True
    """
    if isinstance(generator, np.random.Generator):
        return copy.deepcopy(generator.bit_generator.state)
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def put_back(generator: Generator, state: Any) -> None:
    """Has a generator go on from where `state_of` found it."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)


@contextmanager
def unmoved(generators: Iterable[Generator]) -> Iterator[None]:
    """Afterwards the generators stand where they stood."""
    states = [(generator, state_of(generator)) for generator in generators]
    try:
        yield
    finally:
        for generator, state in states:
            put_back(generator, state)
