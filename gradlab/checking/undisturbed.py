"""Nothing of the user's is changed by a check."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gradlab.checking.targets import Target
from gradlab.witnesses.generators import unmoved
from gradlab.witnesses.surroundings import untouched

CONTAINERS = (list, dict, set)


@contextmanager
def undisturbed(target: Target, arguments: Any) -> Iterator[None]:
    """Afterwards all that the target may reach is as before; inside, nothing is compiled, and grad mode is on."""
    modules = [*target.seen, *((target.module,) if target.module is not None and not target.is_copy else ())]
    leaves = tree_leaves(arguments)
    modules += [leaf for leaf in leaves if isinstance(leaf, nn.Module)]
    tensors = [t for t in (*leaves, *target.tensors) if isinstance(t, Tensor)]
    with ExitStack() as stack:
        stack.enter_context(_same_attributes(modules))
        stack.enter_context(unmoved(target.generators))
        stack.enter_context(untouched(modules, tensors))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextmanager
def _same_attributes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """A forward pass may count its calls, or keep its last activation, as attributes of a module."""
    parts = {id(part): part for module in modules for part in module.modules()}.values()
    kept = [(vars(part), dict(vars(part))) for part in parts]
    inner = {id(v): (v, v.copy()) for _, before in kept for v in before.values() if type(v) in CONTAINERS}
    try:
        yield
    finally:
        for now, before in kept:
            _refill(now, before)
        for container, before in inner.values():
            _refill(container, before)


def _refill(container: Any, before: Any) -> None:
    if not _is_same(container, before):
        container.clear()
        container.extend(before) if isinstance(container, list) else container.update(before)


def _is_same(now: Any, before: Any) -> bool:
    """Whether two containers hold the very same objects; compared by identity, as tensors have no truth value."""
    if len(now) != len(before):
        return False
    if isinstance(now, dict):
        return all(key in now and now[key] is value for key, value in before.items())
    if isinstance(now, set):
        return set(map(id, now)) == set(map(id, before))
    return all(map(is_, now, before))
