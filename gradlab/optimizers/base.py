"""What every handwritten update rule shares: the walk over the parameters, so that a rule is its formula alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Handwritten(Optimizer):
    """Calls ``update`` once for each parameter; a rule writes that method, and nothing else.

    Args:
        params: the parameters, or groups of them, each a dictionary with settings of its own, as in torch.optim.
        lr: the learning rate η, at least 0.
        weight_decay: λ, at least 0: the gradient of the penalty ½ λ ‖θ‖², which is λθ, is added to g.
        maximize: whether to go uphill: g counts as −g.
        settings: further numbers that the rule reads from its group.

    Raises:
        ValueError: a number lies outside its range.

    Example:
        >>> class SignDescent(Handwritten):
        ...     def update(self, p, g, memory, group):
        ...         p -= group["lr"] * g.sign()
        >>> theta = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
        >>> theta.grad = torch.tensor([40.0, -0.1])
        >>> SignDescent([theta], lr=0.5).step()
        >>> theta.tolist()
        [2.5, -1.5]
    """

    def __init__(
        self, params: Any, lr: float, weight_decay: float = 0.0, maximize: bool = False, **settings: Any
    ) -> None:
        check_not_negative(lr=lr, weight_decay=weight_decay)
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "maximize": maximize, **settings})

    def update(self, p: Tensor, g: Tensor, memory: dict[str, Any], group: dict[str, Any]) -> None:
        """Changes one parameter in place.

        Args:
            p: the parameter θ, any shape.
            g: its gradient, of the same shape; not to be changed.
            memory: what the rule keeps of this parameter from step to step; empty at the first one.
            group: the settings of its group, such as ``group["lr"]``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update(p, g, memory, group): write the rule there")

    def decay(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        """The gradient with the weight decay in it: g + λθ."""
        return g + group["weight_decay"] * p if group["weight_decay"] else g

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew, before the update.

        Returns:
            What the closure returns; None without one.
        """
        loss = run_closure(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if gradient.is_sparse:
            raise RuntimeError(f"{type(self).__name__} takes dense gradients, and got a sparse one")
        p, g = _real(parameter), _real(gradient)
        g = -g if group["maximize"] else g
        self.update(p, self.decay(p, g, group), self.state[parameter], group)


def run_closure(closure: Callable[[], Any] | None) -> Any:
    """What a step's closure returns, run with gradients on; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def check_not_negative(**numbers: float) -> None:
    """Raise a ValueError that names the first number below 0."""
    for name, value in numbers.items():
        if not value >= 0:
            raise ValueError(f"{name} has to be at least 0, got {value}: such as a learning rate, it scales a step")


def check_fraction(**numbers: float) -> None:
    """Raise a ValueError that names the first number outside 0 ≤ β < 1."""
    for name, value in numbers.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} is the share that is kept of the past: at least 0 and below 1, got {value}")


def _real(tensor: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones: every rule acts on the two parts by themselves."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
