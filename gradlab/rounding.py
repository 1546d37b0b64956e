"""Whether two backward passes that differ do so by nothing but rounding that cancellation has magnified.

A gradient that is a sum of large terms which cancel, such as that of a bias before BatchNorm (exactly 0), consists of
rounding alone, another one in each of two passes. It can exceed what is allowed of it by itself. So each operation
is asked again, given the *same* upstream gradient: autograd's. If in every one of them autograd passes down what the
handwritten rule makes of that, and everything that arrives anywhere is the sum of what was sent there, then the two
passes make the same steps, and their difference is rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gradlab.agreement import Pair, compare
from gradlab.backprop import Value

if TYPE_CHECKING:
    from gradlab.blame import Blame

SHARE = 0.1  # of what is allowed between two whole passes: a single operation adds little of its own
# An operation that sums n terms is off by up to n roundings of them. Upstream gradients that are off by one rounding
# each, at random, move the sum by about √n of those: as many such moves explain it for n up to 64² = 4,096.
MOVES = 64


def is_rounding(blame: Blame) -> bool:
    """Whether every operation of a backward pass is right by itself, so that a difference at its leaves is rounding.

    False also where that cannot be found out: an operation wrote to its upstream gradient, or is unknown to the tape.

    Args:
        blame: of the two passes.
    """
    if blame.watch.written:
        return False
    try:
        pairs = list(_pairs(blame))
    except _UnknownError:
        return False
    found = compare({str(i): pair for i, (pair, _) in enumerate(pairs)}, blame.through)
    apart = [pairs[int(name)] for name, a in found.items() if not a.error <= SHARE * a.tolerance]
    return all(_is_own_rounding(pair, moved()) for pair, moved in apart)


class _UnknownError(Exception):
    """Something that cannot be asked again."""


Moved = Callable[[], "Tensor | None"]


def _is_own_rounding(pair: Pair, moved: Tensor | None) -> bool:
    """Whether two results of one operation differ by no more than its own cancellation explains.

    Args:
        pair: by the handwritten rule, and autograd's.
        moved: the former, with upstream gradients that were moved by a rounding each; None where there is none.
    """
    expected, autograd = pair
    if expected is None or autograd is None or moved is None or not expected.numel():
        return False
    return bool((expected - autograd).abs().max() <= MOVES * (moved - expected).abs().max())


def _pairs(blame: Blame) -> Iterator[tuple[Pair, Moved]]:
    """What the rules make of autograd's upstream gradients beside what autograd sends; what was sent, what arrived."""
    watch = blame.watch
    sent: dict[Hashable, Tensor] = {}
    for node in blame.nodes:
        if node not in watch.downstream:  # nothing came to it, which those above it answer for
            continue
        given = blame.given_autograds_upstream(node)
        if given is None:
            raise _UnknownError
        for key, flow in blame.flows_of(node).items():
            values = list(dict.fromkeys(value for value, _ in flow.manual))
            expected = _sum(given, values)
            if expected is not None and flow.autograd is not None and expected.shape != flow.autograd.shape:
                raise _UnknownError
            yield (expected, flow.autograd), partial(_moved, blame, node, values)
            if flow.autograd is not None:
                sent[key] = flow.autograd if key not in sent else sent[key] + flow.autograd
    for node in blame.nodes:
        for number, arrived in enumerate(watch.upstream.get(node, ())):
            if arrived is not None and node is not watch.nodes[0]:  # where the backward pass was started
                yield (sent.get((node, number)), arrived), _not_moved
    for leaf, arrived in watch.leaf_gradients():
        yield (sent.get(id(leaf)), arrived), _not_moved


def _moved(blame: Blame, node: Any, values: list[Value]) -> Tensor | None:
    draw = torch.Generator().manual_seed(0)

    def change(g: Tensor) -> Tensor:
        sign = torch.randint(0, 2, g.shape, generator=draw).to(g.device, g.dtype) * 2 - 1
        return g * (1 + torch.finfo(g.dtype).eps * sign)

    return _sum(blame.given_autograds_upstream(node, change) or {}, values)


def _not_moved() -> None:
    """A sum of a few gradients has no cancellation of its own to speak of."""


def _sum(given: Mapping[Value, Tensor], values: list[Value]) -> Tensor | None:
    own = [given[value] for value in values if value in given]
    return sum(own[1:], own[0]) if own else None
