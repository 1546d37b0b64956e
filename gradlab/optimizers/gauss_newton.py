"""The Gauss-Newton method, by handwritten Jacobians."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradlab.backprop import Tape
from gradlab.optimizers.newton import flat, hessian
from gradlab.optimizers.second_order import SecondOrder


class GaussNewton(SecondOrder):
    """Gauss-Newton, θ ← θ − η (JᵀBJ + λI)⁻¹ g, with the Jacobian J = ∂ŷ/∂θ of the prediction and B = ∂²L/∂ŷ∂ŷᵀ.

    For least squares, L = mean (ŷ − y)² of N residuals, B = 2/N · I: the matrix is 2/N · JᵀJ, and the step solves the
    linear least-squares problem that fits here. Where the prediction is linear in θ, that is the whole solution in one
    step. In general the Hessian is JᵀBJ + Σ ∂L/∂ŷᵢ · ∂²ŷᵢ/∂θ∂θᵀ. Gauss-Newton leaves out the sum: it is small where
    the residuals are. JᵀBJ needs no second derivative of the model and has no negative eigenvalue where L is convex in
    ŷ, as mse and the cross entropy are. With λ > 0 it is Levenberg's method.

    Args:
        params, lr, damping: as in `SecondOrder`.
        limit: as there; for the entries of the prediction too.

    Example:
        >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), torch.tensor([1.0, 3.0, 5.0])
        >>> theta = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = GaussNewton([theta])
        >>> optimizer.descends(lambda: x @ theta, lambda prediction: (prediction - y).square().mean())
        >>> theta.grad = -2 / 3 * x.mT @ y
        >>> optimizer.step()
        >>> [round(number, 4) for number in theta.tolist()]  # y = 1 + 2·x
        [1.0, 2.0]

    References:
        J. Nocedal, S. J. Wright, *Numerical Optimization*, 2nd ed., 2006, section 10.3; with B, for other losses:
        N. N. Schraudolph, *Fast curvature matrix-vector products for second-order gradient descent*, Neural
        Computation 14(7), 2002.
    """

    def matrix(self, predict: Callable[[], Tensor], loss: Callable[[Tensor], Tensor]) -> Tensor:
        prediction = predict().detach()
        self.check_size(prediction.numel(), "entries of the prediction", "set a smaller data.batch_size")
        slopes = jacobian(predict, self._parameters)
        bend = hessian(lambda: loss(prediction), [prediction])
        return slopes.mT @ bend @ slopes


def jacobian(function: Callable[[], Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """∂ŷ/∂θ, row by row: a sweep from the i-th entry of ŷ gives the i-th row.

    Args:
        function: computes ŷ, m entries of any shape, from the tensors.
        tensors: θ, n entries together.

    Returns:
        The Jacobian, [m, n].

    Example:
        >>> x = torch.tensor([2.0, 3.0])
        >>> jacobian(lambda: torch.stack([x[0] * x[1], x[0] ** 2]), [x]).tolist()
        [[3.0, 2.0], [4.0, 0.0]]
    """
    with torch.no_grad(), Tape() as tape:
        y = function().reshape(-1)
    rows = [tape.backward(y, unit, retain_tape=True) for unit in torch.eye(len(y), dtype=y.dtype, device=y.device)]
    return torch.stack([torch.cat([flat(row.get(t), t) for t in tensors]) for row in rows])
