"""Gradients that a custom Function returns in another shape than its input has.

Autograd adds such a gradient up in silence where the input's shape expands to it, and checks nothing else about it. So
the backward of each Function is called once more, by itself, and what it returns is looked at before autograd does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from gradlab.blame import source_of
from gradlab.graph import GraphWatch, Node, is_leaf


@dataclass(frozen=True, slots=True)
class Misshapen:
    """One gradient of the wrong shape.

    Attributes:
        function: the class name of the custom Function.
        number: of its input.
        leaf: the input, where it is a leaf; else None.
        returned, expected: the shape of the gradient, and of the input.
        source: file and line of its backward.
    """

    function: str
    number: int
    leaf: Tensor | None
    returned: tuple[int, ...]
    expected: tuple[int, ...]
    source: str


def misshapen_gradients(watch: GraphWatch) -> list[Misshapen]:
    """All that a backward pass met; its graph must have been retained."""
    found = []
    for node in watch.nodes:
        is_function = isinstance(node, BackwardCFunction)
        if is_function and watch.upstream.get(node):
            for number, gradient in enumerate(_returned(node, watch.upstream[node])):
                target, place = _target(node, number)
                expected = _shape_of(target, place)
                if isinstance(gradient, Tensor) and expected is not None and tuple(gradient.shape) != expected:
                    leaf = target.variable if is_leaf(target) else None
                    name = node.name().removesuffix("Backward")
                    found.append(Misshapen(name, number, leaf, tuple(gradient.shape), expected, source_of(node)))
    return found


def _returned(node: Node, upstream: tuple[Tensor | None, ...]) -> tuple[Any, ...]:
    """What the Function's own backward gives for these upstream gradients; nothing where it cannot be run again."""
    # Copies: a backward may write to what it is given.
    given = [_zeros(node, number) if g is None else g.clone() for number, g in enumerate(upstream)]
    try:
        with torch.no_grad():
            result = node.apply(*given)
    except Exception:  # it may use up what it saved: then there is nothing to look at
        return ()
    return result if isinstance(result, tuple) else (result,)


def _zeros(node: Node, number: int) -> Tensor:
    """What autograd hands over for an output that is not used."""
    metadata = node._input_metadata[number]
    return torch.zeros(tuple(metadata.shape), dtype=metadata.dtype, device=metadata.device)


def _target(node: Node, number: int) -> tuple[Any, int]:
    return node.next_functions[number] if number < len(node.next_functions) else (None, 0)


def _shape_of(target: Any, place: int) -> tuple[int, ...] | None:
    if target is None:
        return None
    return tuple(target.variable.shape) if is_leaf(target) else tuple(target._input_metadata[place].shape)
