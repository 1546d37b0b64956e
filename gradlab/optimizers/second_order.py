"""What Newton and Gauss-Newton share: a matrix of curvatures, damped until it is positive, and solved for the step."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gradlab.optimizers.base import check_not_negative, run_closure

LIMIT = 2000  # rows: a second for the eigenvalues, 32 MB in float64


@dataclass(frozen=True, slots=True)
class Curvature:
    """What the last step has seen.

    Attributes:
        least, largest: the eigenvalues at the ends.
        damping: what was added to all of them.
        flat: along how many eigenvectors there was, to rounding, no curvature, and so no step.
    """

    least: float
    largest: float
    damping: float
    flat: int


class SecondOrder(Optimizer, ABC):
    """θ ← θ − η (C + λI)⁻¹ g, with a matrix of curvatures C of all parameters together, [n, n].

    λ is the damping of Levenberg: 0 is the pure step, a large λ a short step along −g, namely −η g / λ. Where the least
    eigenvalue μ of C is negative, −C⁻¹g need not go downhill: λ is then raised to 2|μ|, if it is less, so that the
    curvature along that eigenvector counts as |μ|; a warning says so, once. Along eigenvectors whose damped eigenvalue
    is 0 to rounding there is no step: where C is singular, it is the shortest of all solutions.

    C takes n sweeps or so, so the loss has to be computable again: see `descends`. It has to come out the same each
    time (no dropout, no running statistics). Where gradients are accumulated, C is that of the last batch.

    Args:
        params: the parameters, in one group.
        lr: η; 1 for the whole step.
        damping: λ, at least 0.
        limit: the largest n.

    Attributes:
        curvature: what the last step has seen; None before it.

    Raises:
        ValueError: a number lies outside its range, there is more than one group, or n exceeds the limit.
    """

    def __init__(self, params: Any, lr: float = 1.0, damping: float = 0.0, limit: int = LIMIT) -> None:
        check_not_negative(lr=lr, damping=damping)
        super().__init__(params, {"lr": lr, "damping": damping})
        if len(self.param_groups) != 1:
            raise ValueError(f"{self._name} takes one group of parameters: its matrix is of all of them together")
        self._limit = limit
        self.check_size(sum(p.numel() for p in self._parameters), "parameters", "choose a smaller model")
        self.curvature: Curvature | None = None
        self._warned = False
        self._predict: Callable[[], Tensor] | None = None
        self._loss: Callable[[Tensor], Tensor] | None = None

    def descends(self, predict: Callable[[], Tensor], loss: Callable[[Tensor], Tensor]) -> None:
        """Says what is descended, ``loss(predict())``; gradlab's descents do it by themselves.

        Args:
            predict: the prediction at the present parameters, for the present batch.
            loss: the loss of a prediction, one number.
        """
        self._predict, self._loss = predict, loss

    @abstractmethod
    def matrix(self, predict: Callable[[], Tensor], loss: Callable[[Tensor], Tensor]) -> Tensor:
        """C at the present parameters, [n, n]."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update by the gradients that the parameters have.

        Args:
            closure: computes the loss and its gradients anew, before the update.

        Returns:
            What the closure returns; None without one.

        Raises:
            RuntimeError: nobody said what is descended, or C is not finite.
        """
        result = run_closure(closure)
        if self._predict is None or self._loss is None:
            raise RuntimeError(
                f"{self._name} needs the loss itself, not its gradient alone: call optimizer.descends(predict, loss) "
                "first, for example optimizer.descends(lambda: model(x), lambda prediction: loss_fn(prediction, y))"
            )
        matrix = self.matrix(self._predict, self._loss)
        if not bool(torch.isfinite(matrix).all()):
            raise RuntimeError(f"{self._name}: the second derivatives are not finite here, the gradient is")
        self._move(self._solve(matrix))
        return result

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _parameters(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def check_size(self, count: int, what: str, advice: str) -> None:
        if count > self._limit:
            raise ValueError(
                f"{self._name} makes a matrix of {count:,} × {count:,} numbers, for {count:,} {what}, and takes at "
                f"most {self._limit:,}: {advice}, or raise optimizer.limit"
            )

    def _solve(self, matrix: Tensor) -> Tensor:
        """(C + λI)⁻¹ g, by the eigenvectors of C."""
        g = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self._parameters])
        values, vectors = torch.linalg.eigh(((matrix + matrix.mT) / 2).double())
        rounding = len(g) * torch.finfo(g.dtype).eps * float(values.abs().max())
        least = float(values[0])
        damping = self.param_groups[0]["damping"]
        if least < -rounding and damping < -2 * least:
            self._say(least, damping)
            damping = -2 * least
        damped = values + damping
        is_flat = damped.abs() <= rounding
        self.curvature = Curvature(least, float(values[-1]), damping, int(is_flat.sum()))
        along = torch.where(is_flat, 0.0, (vectors.mT @ g.double()) / damped)
        return (vectors @ along).to(g.dtype)

    def _move(self, step: Tensor) -> None:
        pieces = step.split([p.numel() for p in self._parameters])
        for p, piece in zip(self._parameters, pieces, strict=True):
            p -= self.param_groups[0]["lr"] * piece.view_as(p)

    def _say(self, least: float, damping: float) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"gradlab: {self._name} met a direction in which the loss bends downwards (curvature {least:.3g}), so "
                f"its damping is raised from {damping:g} to {-2 * least:.3g}, here and wherever that is so again: the "
                "pure step might go uphill",
                stacklevel=2,
            )
