"""The sharpness of a loss: the largest eigenvalue of its Hessian, by Hessian-vector products and power iteration.

A Hessian-vector product is the derivative of a gradient in one direction, and costs about as much as two gradients. Two
witnesses compute it: autograd differentiates its own backward pass, and a tape records the handwritten sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradlab import Tape

Product = Callable[[list[Tensor]], list[Tensor]]


def by_double_backward(loss: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Product:
    """Products of the Hessian with vectors; autograd walks through its own backward pass, which is built once.

    Args:
        loss: a scalar function of the parameters.
        parameters: leaves that require gradients.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> by_double_backward(lambda: (x**3).sum(), [x])([torch.tensor([1.0, 1.0])])
        [tensor([ 6., 12.])]
    """
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True)

    def product(vector: list[Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(gradients, parameters, vector, retain_graph=True))

    return product


def by_two_tapes(loss: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Product:
    """The same products by gradlab's handwritten rules: the outer tape records the inner one's sweep.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> by_two_tapes(lambda: (x**3).sum(), [x])([torch.tensor([1.0, 1.0])])
        [tensor([ 6., 12.])]
    """

    def product(vector: list[Tensor]) -> list[Tensor]:
        with torch.no_grad(), Tape() as outer:
            with Tape() as inner:
                value = loss()
            gradients = _of(inner, value, parameters)
            slope = dot(gradients, vector)
        return _of(outer, slope, parameters)

    return product


def _of(tape: Tape, output: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of one number, zero for a parameter that it does not depend on."""
    found = tape.backward(output)
    gradients = ((p, found.get(p)) for p in parameters)
    return [torch.zeros_like(p) if g is None else g for p, g in gradients]


def largest(product: Product, start: list[Tensor], most: int = 200, close: float = 1e-5) -> tuple[float, list[Tensor]]:
    """The eigenvalue of the largest size, and its direction, by power iteration.

    Args:
        product: from a vector to the Hessian times it.
        start: any vector; a good guess saves rounds.
        most: the largest number of rounds.
        close: rounds end when the value changes by less than this share.

    Returns:
        The value v·Hv for the direction v found, and v with length 1.

    References:
        R. von Mises, H. Pollaczek-Geiringer, *Praktische Verfahren der Gleichungsauflösung*, ZAMM 9, 1929.

    Example:
        >>> matrix = torch.diag(torch.tensor([3.0, 1.0]))
        >>> round(largest(lambda v: [matrix @ v[0]], [torch.ones(2)])[0], 3)
        3.0
    """
    vector, value = unit(start), float("nan")
    for _ in range(most):
        image = product(vector)
        before, value = value, float(dot(vector, image))
        if abs(value - before) < close * abs(value):
            break
        vector = unit(image)
    return value, vector


def dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """The inner product of two vectors that are given in parts."""
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()


def unit(vector: Sequence[Tensor]) -> list[Tensor]:
    """The vector at length 1.

    Example:
        >>> unit([torch.tensor([3.0]), torch.tensor([4.0])])
        [tensor([0.6000]), tensor([0.8000])]
    """
    length = dot(vector, vector).sqrt()
    return [part / length for part in vector]
