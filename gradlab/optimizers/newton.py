"""Newton's method, by the handwritten second derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradlab.backprop import Tape
from gradlab.optimizers.second_order import SecondOrder


class Newton(SecondOrder):
    """Newton's method, θ ← θ − η (H + λI)⁻¹ g, with the Hessian H = ∂²L/∂θ∂θᵀ.

    It steps to where the parabola that fits L here is stationary. On a quadratic that is the minimizer, in one step.
    Near a minimizer the number of right digits doubles with each step, as long as the last ones hold any.

    Args:
        params, lr, damping, limit: as in `SecondOrder`, which says what happens where H is not positive.

    Example:
        >>> theta = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
        >>> optimizer = Newton([theta])
        >>> optimizer.descends(lambda: theta, lambda x: x[0] ** 2 + 5 * (x[1] - x[0]) ** 2)
        >>> theta.grad = torch.tensor([2 * 3.0 + 50.0, -50.0])
        >>> optimizer.step()
        >>> bool(theta.abs().max() < 1e-5)
        True

    References:
        J. Nocedal, S. J. Wright, *Numerical Optimization*, 2nd ed., 2006, sections 2.2 and 3.3; the damping:
        K. Levenberg, *A method for the solution of certain non-linear problems in least squares*, 1944.
    """

    def matrix(self, predict: Callable[[], Tensor], loss: Callable[[Tensor], Tensor]) -> Tensor:
        return hessian(lambda: loss(predict()), self._parameters)


def hessian(function: Callable[[], Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """∂²L/∂θ∂θᵀ, column by column.

    A tape records how L is computed, and its sweep gives g = ∂L/∂θ; a tape around both has recorded how g is computed.
    A sweep of that one, from the unit vector eᵢ, gives ∂(eᵢᵀg)/∂θ: the i-th column.

    Args:
        function: computes L, one number, from the tensors.
        tensors: θ, n entries together.

    Returns:
        The Hessian, [n, n].

    Example:
        >>> x = torch.tensor([1.0, 2.0])
        >>> hessian(lambda: x[0] ** 2 * x[1], [x]).tolist()
        [[4.0, 2.0], [2.0, 0.0]]
    """
    with torch.no_grad(), Tape() as outer:
        with Tape() as inner:
            value = function()
        first = inner.backward(value)
        g = torch.cat([flat(first.get(t), t) for t in tensors])
    columns = [outer.backward(g, unit, retain_tape=True) for unit in torch.eye(len(g), dtype=g.dtype, device=g.device)]
    return torch.stack([torch.cat([flat(column.get(t), t) for t in tensors]) for column in columns], dim=1)


def flat(gradient: Tensor | None, like: Tensor) -> Tensor:
    """A gradient as a row of numbers; zeros where nothing reaches the tensor."""
    return (torch.zeros_like(like) if gradient is None else gradient).reshape(-1)
