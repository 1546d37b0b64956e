"""How a rule is written down, and the table that collects them.

A rule says how one primitive operation passes gradients back. There are two ways to state it:

- `pointwise`: the operation acts on every entry by itself, so its Jacobian is diagonal and the *local
  derivative* is a tensor shaped like the output. The sweep multiplies: downstream = upstream × local.
- `vjp`: the operation mixes entries (a matrix product, a sum, a permutation). The function receives the
  upstream gradient and returns the downstream ones: the vector-Jacobian product.

Both kinds of function take the operation's output ``y`` and then its arguments, under the names and with the
defaults that the operation itself has. They return one part for each tensor argument, in order; a part may be a
function without arguments, which the sweep calls only where a gradient is wanted. Arguments past the returned
parts, and parts that are None, have no gradient.

`reads` lists the names whose *contents* the rule looks at (shapes are always free to use). The tape keeps an old
copy of what a later in-place operation overwrites only where a rule reads it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Op = torch._ops.OpOverload


@dataclass(frozen=True, slots=True)
class Rule:
    """How one operation passes gradients back.

    Attributes:
        name: the operation's name as a person would say it, such as ``tanh``.
        formula: what it computes, such as ``y = tanh(x)``.
        local: its local derivative in words, such as ``1 − y²``.
        function: the rule itself, see the module's docstring.
        is_pointwise: whether ``function`` returns local derivatives (True) or downstream gradients (False).
        is_fresh: whether its one local derivative is a new tensor of the output's shape and dtype, which the sweep
            may multiply in place.
        reads_output: whether it looks at the contents of the output.
        reads: positions of the arguments whose contents it looks at.
    """

    name: str
    formula: str
    local: str
    function: Callable[..., Any]
    is_pointwise: bool
    is_fresh: bool
    reads_output: bool
    reads: frozenset[int]


class Family(Mapping[Op, Rule]):
    """The rules of one family of operations, each registered beside its formula.

    Example:
        >>> import torch
        >>> family = Family()
        >>> @family.pointwise(torch.ops.aten.sin.default, "y = sin(x)", "cos(x)", reads="x")
        ... def sin(y, x):
        ...     return x.cos()
        >>> family[torch.ops.aten.sin.default].local
        'cos(x)'
    """

    def __init__(self) -> None:
        self._rules: dict[Op, Rule] = {}

    def pointwise(
        self, ops: Op | tuple[Op, ...], formula: str, local: str, reads: str = "", fresh: bool = False
    ) -> Callable:
        """Registers a function ``(y, *arguments) -> local derivatives`` for one or several operations.

        With ``fresh`` it promises one local derivative of the output's shape and dtype that shares no memory with
        anything else. The product upstream × local is then made in its place: for large tensors new memory costs
        more than the product.
        """
        return self._register(ops, formula, local, reads, first_argument=1, is_fresh=fresh)

    def vjp(self, ops: Op | tuple[Op, ...], formula: str, local: str, reads: str = "") -> Callable:
        """Registers a function ``(g, y, *arguments) -> downstream gradients``; ``g`` is the upstream gradient.

        An operation with several outputs gets tuples for ``g`` (with None where nothing flows back) and ``y``.
        """
        return self._register(ops, formula, local, reads, first_argument=2)

    def _register(
        self,
        ops: Op | tuple[Op, ...],
        formula: str,
        local: str,
        reads: str,
        first_argument: int,
        is_fresh: bool = False,
    ) -> Callable:
        def register(function: Callable) -> Callable:
            names = list(inspect.signature(function).parameters)
            positions = {names.index(name) - first_argument for name in reads.split()}
            rule = Rule(
                name=function.__name__.strip("_"),
                formula=formula,
                local=local,
                function=function,
                is_pointwise=first_argument == 1,
                is_fresh=is_fresh,
                reads_output=-1 in positions,
                reads=frozenset(positions - {-1}),
            )
            for op in ops if isinstance(ops, tuple) else (ops,):
                if op in self._rules:
                    raise ValueError(f"{op} already has the rule {self._rules[op].name!r}")
                self._rules[op] = rule
            return function

        return register

    def __getitem__(self, op: Op) -> Rule:
        return self._rules[op]

    def __iter__(self):
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)


def merge(*families: Family) -> dict[Op, Rule]:
    """One table out of several families; an operation that stands in two of them is an error."""
    table: dict[Op, Rule] = {}
    for family in families:
        for op, rule in family.items():
            if op in table:
                raise ValueError(f"{op} has two rules: {table[op].name!r} and {rule.name!r}")
            table[op] = rule
    return table
