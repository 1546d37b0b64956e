"""Many networks of one shape as one module: each parameter has a first axis that counts them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class Population(nn.Module):
    """P networks that take the same batch, each for itself.

    Parameters keep the names that they have in a single network, such as ``0.weight``, and hold those of all members,
    shape [P, …]; modules keep their paths. What a member computes depends on its own rows alone: in the gradient of the
    sum of the members' losses, each row is the gradient of its own member.

    ``forward`` is the single network's, mapped over the first axis by `torch.func.vmap`, so that P small products of
    matrices become one large one. What is random, such as dropout, is drawn for each member.

    Args:
        members: the networks, alike but for their numbers. The first becomes part of the population; the others stay
            as they are.

    Attributes:
        population: P.

    Raises:
        ValueError: there is no member, or they are not alike, or one has a layer that cannot be mapped.

    Example:
        >>> population = Population([nn.Linear(2, 1) for _ in range(5)])
        >>> {name: tuple(parameter.shape) for name, parameter in population.named_parameters()}
        {'weight': (5, 1, 2), 'bias': (5, 1)}
        >>> x = torch.ones(3, 2)
        >>> population(x).shape
        torch.Size([5, 3, 1])
        >>> torch.allclose(population.member(4)(x), population(x)[4])
        True

        A member out of what was saved of all:

        >>> saved = population.state_dict()
        >>> nn.Linear(2, 1).load_state_dict({name: rows[4] for name, rows in saved.items()})
        <All keys matched successfully>
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        _check(members)
        super().__init__()
        self.population = len(members)
        network = members[0]
        _stack_into(network, members)
        self._network = (network,)  # in a tuple, since its parts are registered here, under the names they have there
        for name, part in network.named_children():
            self.add_module(name, part)
        for name, parameter in network.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in network.named_buffers(recurse=False):
            self.register_buffer(name, buffer, persistent=name in network.state_dict())

    def forward(self, x: Any) -> Tensor:
        """The members' predictions, [P, …], for one batch as a single network takes it.

        Raises:
            ValueError: the network's forward cannot be mapped: it asks what a number is, as ``if`` and ``.item()`` do.
        """

        def predict(own: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(self._network[0], own, (x,))

        # The fused kernels of attention cannot be mapped, and PyTorch would run one member after the other.
        with sdpa_kernel(SDPBackend.MATH):
            try:
                return torch.func.vmap(predict, randomness="different")(_tensors(self))
            except RuntimeError as error:
                if not str(error).startswith("vmap: "):
                    raise
                raise ValueError(_why(error, type(self._network[0]).__name__)) from error

    def member(self, index: int) -> nn.Module:
        """Member ``index``, from 0, as a network of its own: a copy, of the class that the members had.

        Raises:
            IndexError: there is no such member.
        """
        if not 0 <= index < self.population:
            raise IndexError(f"a population of {self.population} has members 0 to {self.population - 1}: no {index}")
        rows = _tensors(self)
        network = copy.deepcopy(self._network[0])
        _replace(network, lambda name: rows[name][index].detach().clone())
        return network

    def train(self, mode: bool = True) -> Population:
        """As in torch, and the network itself too, whose forward may ask for ``self.training``."""
        self._network[0].train(mode)
        return super().train(mode)

    def extra_repr(self) -> str:
        return f"{self.population} × {type(self._network[0]).__name__}"


def _why(error: RuntimeError, name: str) -> str:
    """Why a network cannot be mapped: PyTorch's own first sentence, without its address for bug reports."""
    cause = str(error).removeprefix("vmap: ").partition(". ")[0]
    return (
        f"the forward of {name} cannot be mapped over a population (model.population) by torch.func.vmap ({cause}): "
        "write what depends on a tensor's values, such as `if` or .item(), with torch.where and tensor operations, or "
        "train one network at a time"
    )


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name: of a tied one, the first."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _stack_into(network: nn.Module, members: Sequence[nn.Module]) -> None:
    """Puts the stacked tensors of all members in the place of one network's own."""
    of_each = [_tensors(member) for member in members]
    _replace(network, lambda name: torch.stack([tensors[name].detach() for tensors in of_each]))


def _replace(network: nn.Module, new: Callable[[str], Tensor]) -> None:
    """Puts new parameters and buffers, by name, in the place of the old; what was tied stays tied."""
    replaced: dict[Tensor, Tensor] = {}
    for path, module in network.named_modules():
        for name, old in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if old not in replaced:
                values = new(f"{path}.{name}" if path else name)
                is_parameter = isinstance(old, nn.Parameter)
                replaced[old] = nn.Parameter(values, requires_grad=old.requires_grad) if is_parameter else values
            setattr(module, name, replaced[old])


def _check(members: Sequence[nn.Module]) -> None:
    if not members:
        raise ValueError("a population has at least one member")
    first = _shapes(members[0])
    if any(type(member) is not type(members[0]) or _shapes(member) != first for member in members):
        raise ValueError("the members of a population are of one class, with parameters of the same names and shapes")
    recurrent = [type(part).__name__ for part in members[0].modules() if isinstance(part, nn.RNNBase)]
    if recurrent:
        raise ValueError(
            f"torch.nn.{recurrent[0]} runs all its time steps as one operation, which cannot be mapped over a "
            f"population (model.population): build on torch.nn.{recurrent[0]}Cell, or train one network at a time"
        )


def _shapes(network: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in _tensors(network).items()}
