"""The chain rule module by module: what enters each from above, and what it passes on to the ones below."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from gradlab.backprop.chain.graph import Block, Graph, graph_of
from gradlab.backprop.chain.names import Names
from gradlab.backprop.chain.numbers import lengths
from gradlab.backprop.modules import Scope
from gradlab.backprop.sweep import Term
from gradlab.backprop.values import Value


@dataclass(frozen=True, slots=True)
class Flow:
    """What flows through one module in the backward pass.

    Attributes:
        module: its path; empty for what runs outside of every module.
        upstream: the L2 norm of the gradient that enters at its outputs.
        downstream: the L2 norm of what it passes on to values made outside of it, parameters left out; None where it
            passes nothing on.
    """

    module: str
    upstream: float
    downstream: float | None

    @property
    def gain(self) -> float | None:
        """Downstream over upstream; NaN where nothing enters."""
        if self.downstream is None:
            return None
        return self.downstream / self.upstream if self.upstream else math.nan


def flows(terms: Iterable[Term], model: nn.Module | None = None) -> list[Flow]:
    """The flow through each module, from the loss down: the norms of `Breakdown.of_modules` and nothing else.

    Args:
        terms: what ``tape.backward(loss, terms=terms)`` filled.
        model: module paths are relative to it; by default to the outermost module called.

    Example:
        >>> import torch
        >>> from gradlab.backprop import Tape
        >>> net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        >>> _ = nn.init.constant_(net[1].weight, 3.0)
        >>> with Tape() as tape:
        ...     loss = net(torch.ones(1, 1)).sum()
        >>> terms = []
        >>> gradients = tape.backward(loss, terms=terms)
        >>> [(flow.module, flow.upstream, flow.gain) for flow in flows(terms) if flow.module]
        [('1', 1.0, 3.0), ('0', 3.0, None)]
    """
    whole = graph_of(terms)
    names = Names(model, {}, whole)
    blocks = by_module(whole, together=True).blocks
    entering = [[g for _, g in block.outputs if g is not None] for block in blocks]
    leaving = [passed_on(block, _is_parameter) for block in blocks]
    length = lengths([g for each in (*entering, *leaving) for g in each])
    together = [[math.hypot(*(length[id(g)] for g in each)) for each in side] for side in (entering, leaving)]
    return [
        Flow(names.label(block.scope), upstream, downstream if passed else None)
        for block, upstream, downstream, passed in zip(blocks, *together, leaving, strict=True)
    ]


def by_module(graph: Graph, depth: int | None = None, together: bool = False) -> Graph:
    """Operations in a row that ran in one call of a module joined; or all of a module, wherever they ran.

    Args:
        graph: operation by operation.
        depth: how far below the outermost module the joining begins, which is 0; None joins at the innermost.
        together: one block for each module.
    """
    keys: dict[Block, tuple[Scope, Hashable] | None] = {}
    before: Scope | None = None
    run = 0
    for block in graph.blocks:
        scope = _caller_at(block.scope, depth)
        run += scope is not before
        before = scope
        keys[block] = None if scope.module is None else (scope, scope.module if together else run)
    return graph.collapsed(lambda block: keys[block])


def passed_on(block: Block, is_parameter: Callable[[Value], bool]) -> list[Tensor]:
    """What a block passes on to each value but parameters, its uses of the value summed."""
    passed: dict[Value, Tensor] = {}
    for use in block.uses:
        if use.gradient is not None and not is_parameter(use.value):
            sofar = passed.get(use.value)
            passed[use.value] = use.gradient if sofar is None else sofar + use.gradient
    return list(passed.values())


def _is_parameter(value: Value) -> bool:
    return isinstance(value.users_tensor, nn.Parameter)


def _caller_at(scope: Scope, depth: int | None) -> Scope:
    """The module that many calls below the outermost one; the innermost where there are not so many."""
    callers: list[Scope] = []
    at: Scope | None = scope
    while at is not None and at.module is not None:
        callers.append(at)
        at = at.caller
    return scope if depth is None or not callers else callers[max(len(callers) - 1 - depth, 0)]
