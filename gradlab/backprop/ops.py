"""Facts about one primitive operation that the tape asks for again and again, worked out once each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Op

aten = torch.ops.aten
ALIAS = aten.alias.default
DETACH = aten.detach.default
CLONE = aten.clone.default
ZEROS_WRITTEN_OUT = (aten.expand.default, aten._to_copy.default)

SHAPE_ONLY = frozenset(
    getattr(getattr(aten, name), overload)
    for name in (
        *("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"),
        *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"),
    )
    for overload in getattr(aten, name).overloads()
)


@dataclass(frozen=True, slots=True)
class OpFacts:
    """What an operation's schema says about it.

    Attributes:
        op: the operation itself.
        run: what computes it: PyTorch's own function below ``op``, which would call it by one more Python function.
        functional: the operation that computes the same without writing (``add`` for ``add_``), or itself.
        tensor_arguments: (position, name) of each argument that holds a tensor or a list of tensors.
        has_lists: whether one of them holds a list.
        has_tensors_first: whether they stand before all others.
        place_of: for each position, where among ``tensor_arguments`` it stands.
        written: (position, name) of each argument whose contents the operation overwrites.
        outs: the names of the arguments that only take the result (``out=``).
        is_inplace_view: whether it gives the tensor object itself another shape, as ``t_()`` does.
        is_plain: whether it only reads its arguments, and the tape records it as it is.
        is_shape_only: whether it looks at an argument's shape and never at its content: no gradient passes.
        is_shut: whether no gradient passes, for that reason or because it is ``detach``.
        is_without_tensors: whether it neither takes nor gives any, as what only marks a place in a profile.
        is_autograds: whether PyTorch may run it for itself, see `below`.
    """

    op: Op
    run: Callable[..., Any]
    functional: Op
    tensor_arguments: tuple[tuple[int, str], ...]
    has_lists: bool
    has_tensors_first: bool
    place_of: dict[int, int]
    written: tuple[tuple[int, str], ...]
    outs: frozenset[str]
    is_inplace_view: bool
    is_plain: bool
    is_shape_only: bool
    is_shut: bool
    is_without_tensors: bool
    is_autograds: bool

    def groups(self, args: Sequence, kwargs: Mapping[str, Any]) -> list[Any]:
        """What a call gave for each of the arguments that hold tensors: a tensor, a list with tensors, or None."""
        given = len(args)
        return [args[i] if i < given else kwargs.get(name) for i, name in self.tensor_arguments]

    def tensors(self, args: Sequence, kwargs: Mapping[str, Any], at: Collection[int] | None = None) -> list[Tensor]:
        """The tensors among the arguments of a call, in order; only those at some positions where these are given."""
        found: list[Tensor] = []
        for (position, _), group in zip(self.tensor_arguments, self.groups(args, kwargs), strict=True):
            if at is None or position in at:
                several = group if isinstance(group, (list, tuple)) else (group,)
                found += [each for each in several if isinstance(each, Tensor)]
        return found


KNOWN: dict[int, OpFacts] = {}  # by the operation's id, since hashing one is slow; the facts keep it alive


def facts(op: Op) -> OpFacts:
    """The facts of one operation, worked out once.

    Example:
        >>> facts(torch.ops.aten.add_.Tensor).functional
        <OpOverload(op='aten.add', overload='Tensor')>
    """
    known = KNOWN.get(id(op))
    if known is None:
        known = KNOWN[id(op)] = _work_out(op)
    return known


def _work_out(op: Op) -> OpFacts:
    arguments = list(enumerate(op._schema.arguments))
    holding = [(i, a) for i, a in arguments if "Tensor" in str(a.type)]
    is_without_tensors = not holding and not any("Tensor" in str(r.type) for r in op._schema.returns)
    return OpFacts(
        op=op,
        run=getattr(op, "_op", op),
        functional=_functional_twin(op) if op._schema.is_mutable else op,
        tensor_arguments=tuple((i, a.name) for i, a in holding),
        has_lists=any("List" in str(a.type) for _, a in holding),
        has_tensors_first=[i for i, _ in holding] == list(range(len(holding))),
        place_of={i: place for place, (i, _) in enumerate(holding)},
        written=tuple((i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write),
        outs=frozenset(a.name for _, a in arguments if a.is_out),
        is_inplace_view=torch.Tag.inplace_view in op.tags,
        is_plain=not (op._schema.is_mutable or op in (aten.native_batch_norm.default, DETACH) or is_without_tensors),
        is_shape_only=op in SHAPE_ONLY,
        is_shut=op in SHAPE_ONLY or op is DETACH,
        is_without_tensors=is_without_tensors,
        is_autograds=op is DETACH or op is CLONE or op in ZEROS_WRITTEN_OUT,
    )


def undeclared_writes(op: Op, args: tuple) -> tuple[tuple[int, str], ...]:
    """Arguments that an operation overwrites although its schema does not say so.

    ``native_batch_norm`` in training mode updates the running statistics.
    """
    if op is aten.native_batch_norm.default and args[5]:
        return tuple((i, name) for i, name in ((3, "running_mean"), (4, "running_var")) if args[i] is not None)
    return ()


def _functional_twin(op: Op) -> Op:
    """``add_`` and ``add.out`` compute what ``add`` computes; an operation without a twin stands for itself."""
    namespace, _, name = op._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    if packet is None:
        return op
    wanted = [(a.name, str(a.type)) for a in op._schema.arguments if not a.is_out]
    for overload in packet.overloads():
        candidate = getattr(packet, overload)
        same = [(a.name, str(a.type)) for a in candidate._schema.arguments] == wanted
        if same and not candidate._schema.is_mutable:
            return candidate
    return op
