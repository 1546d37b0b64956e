"""What every handwritten update rule shares: the walk over the parameters, so that a rule is its formula alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

Setting: TypeAlias = float | Sequence[float] | Tensor


class Handwritten(Optimizer):
    """Calls ``update`` once for each parameter; a rule writes that method, and nothing else.

    A setting is one number, or, for a population, a number for each of its members: P numbers, where the first axis of
    every parameter counts the P members. Since a rule acts entry by entry, each member then goes its own way.

    Args:
        params: the parameters, or groups of them, each a dictionary with settings of its own, as in torch.optim.
        lr: the learning rate η, at least 0; one, or one for each member.
        weight_decay: λ, at least 0: the gradient of the penalty ½ λ ‖θ‖², which is λθ, is added to g. As ``lr``.
        maximize: whether to go uphill: g counts as −g.
        settings: further numbers that the rule reads from its group, each as ``lr``, or a tuple of such.

    Raises:
        ValueError: a number lies outside its range; or there are several, and not as many as a parameter has rows.

    Example:
        >>> class SignDescent(Handwritten):
        ...     def update(self, p, g, memory, group):
        ...         p -= group["lr"] * g.sign()
        >>> theta = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
        >>> theta.grad = torch.tensor([40.0, -0.1])
        >>> SignDescent([theta], lr=0.5).step()
        >>> theta.tolist()
        [2.5, -1.5]
        >>> SignDescent([theta], lr=[0.5, 0.25]).step()  # a learning rate for each row
        >>> theta.tolist()
        [2.0, -1.25]
    """

    def __init__(
        self, params: Any, lr: Setting, weight_decay: Setting = 0.0, maximize: bool = False, **settings: Any
    ) -> None:
        check_not_negative(lr=lr, weight_decay=weight_decay)
        numbers = {"lr": lr, "weight_decay": weight_decay, **settings}
        super().__init__(params, {"maximize": maximize, **{name: each(value) for name, value in numbers.items()}})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch.optim.

        Raises:
            ValueError: as in the class.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, value in group.items():
            for numbers in value if isinstance(value, tuple) else (value,):
                if isinstance(numbers, Tensor) and name != "params":
                    _check_length(name, numbers, group["params"])

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
        decay = group["weight_decay"]
        return g + decay * p if isinstance(decay, Tensor) or decay else g

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
        group = {name: _beside(value, p) for name, value in group.items()}
        self.update(p, self.decay(p, g, group), self.state[parameter], group)


def run_closure(closure: Callable[[], Any] | None) -> Any:
    """What a step's closure returns, run with gradients on; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def each(value: Any) -> Any:
    """A setting as it stands in a group: a number, a tensor [P] of float64, or a tuple of those; others as they are.

    Example:
        >>> each(0.1), each([0.1, 0.2])
        (0.1, tensor([0.1000, 0.2000], dtype=torch.float64))
    """
    if isinstance(value, tuple):
        return tuple(each(one) for one in value)
    if isinstance(value, str) or not isinstance(value, (Tensor, Sequence)):
        return value
    return torch.as_tensor(value if isinstance(value, Tensor) else list(value), dtype=torch.float64)


def check_not_negative(**numbers: Setting) -> None:
    """Raise a ValueError that names the first number below 0."""
    for name, value in numbers.items():
        if not bool((_numbers(name, value) >= 0).all()):
            raise ValueError(f"{name} has to be at least 0, got {value}: such as a learning rate, it scales a step")


def check_fraction(**numbers: Setting) -> None:
    """Raise a ValueError that names the first number outside 0 ≤ β < 1."""
    for name, value in numbers.items():
        found = _numbers(name, value)
        if not bool(((found >= 0) & (found < 1)).all()):
            raise ValueError(f"{name} is the share that is kept of the past: at least 0 and below 1, got {value}")


def _numbers(name: str, value: Setting) -> Tensor:
    try:
        return torch.as_tensor(each(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value}: give a number, or a list of numbers, one for each member") from error


def _check_length(name: str, numbers: Tensor, parameters: Sequence[Tensor]) -> None:
    rows = [p.shape[0] if p.dim() else 0 for p in parameters]
    if numbers.dim() == 1 and all(len(numbers) == count for count in rows):
        return
    size = f"{len(numbers)} numbers" if numbers.dim() == 1 else f"a tensor of shape {list(numbers.shape)}"
    raise ValueError(
        f"{name} is {size}, and the parameters have {', '.join(map(str, sorted(set(rows))))} rows: give one number, or "
        "for a population (model.population) one for each of its members"
    )


def _beside(value: Any, p: Tensor) -> Any:
    """A setting of P numbers, shaped so that each meets its own row of p, and in p's precision."""
    if isinstance(value, tuple):
        return tuple(_beside(one, p) for one in value)
    return value.to(p).reshape(-1, *[1] * (p.dim() - 1)) if isinstance(value, Tensor) else value


def _real(tensor: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones: every rule acts on the two parts by themselves."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
