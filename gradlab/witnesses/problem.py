"""What every witness looks at: one number L, computed from named tensors, the same each time it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import TreeSpec, tree_leaves, tree_unflatten

from gradlab.errors import BadInput
from gradlab.witnesses.surroundings import Surroundings

Kind = Literal["input", "parameter", "captured"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A tensor whose derivative is looked at.

    Attributes:
        name: of the argument or the parameter: ``x``, ``fc.weight``.
        kind: an argument of the call, a parameter of the module, or a tensor that the function found elsewhere.
        tensor: a leaf that requires a gradient.
        position: among the leaves of the arguments; None for what is no argument.
    """

    name: str
    kind: Kind
    tensor: Tensor
    position: int | None = None

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"


class Problem:
    """L as a function of its variables.

    Without a ``loss``, L is a fixed random projection of the floating outputs: L = Σₖ ⟨wₖ, outputₖ⟩, where the entries
    of w have magnitudes between 1 and 1½ and random signs. Its gradient is the vector-Jacobian product of w, so that
    each entry of the Jacobian counts, and none of them cancels by a symmetry, as they may in a plain sum.

    Args:
        function: is called with the arguments.
        leaves, spec: the arguments ``(args, kwargs)``, flattened by pytree.
        variables: the tensors to differentiate by.
        loss: maps the function's output to a scalar.
        module: the module whose parameters are among the variables, if there is one.
        prefix: stands before a parameter's name in ``module``, as seen from where it is called.
        surroundings: what is put back around each evaluation.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        leaves: Sequence[Any],
        spec: TreeSpec,
        variables: Sequence[Variable],
        loss: Callable[[Any], Tensor] | None = None,
        module: nn.Module | None = None,
        prefix: str = "",
        surroundings: Surroundings | None = None,
    ) -> None:
        self.function = function
        self.leaves = list(leaves)
        self.spec = spec
        self.variables: dict[str, Variable] = {v.name: v for v in variables}
        self.loss = loss
        self.module = module
        self.prefix = prefix
        self.surroundings = surroundings or Surroundings([module] if module is not None else [])
        self.weights: list[Tensor] | None = None
        self.needs_grad = False
        self._attached: list[bool] | None = None
        self._is_settled = False

    def settle(self) -> None:
        """Evaluations that show which outputs a gradient reaches, and whether it goes without gradients too.

        A function that registers a hook, or calls ``torch.autograd.grad`` itself, needs them (``needs_grad``); so does
        one that is another function without them, as a Transformer whose fast path leaves out padded places.
        """
        if self._is_settled:
            return
        self._is_settled = True
        with torch.enable_grad():
            output = self.output()
        if self.loss is None and self.weights is None:
            attached = [t.requires_grad for t in floating(output)]
            self._attached = attached if any(attached) else [True] * len(attached)
            self.weights = [_weights(t, number) for number, t in enumerate(self.projected(output))]
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what is done without gradients, which nobody asked for
                self.needs_grad = not _is_same(self.reduce(output).detach(), self.reduce(self.output()))
        except RuntimeError:
            self.needs_grad = True

    def value(
        self, inputs: Mapping[int, Tensor] | None = None, parameters: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """L, a real scalar.

        Args:
            inputs: other tensors in the place of some leaves of the arguments.
            parameters: other tensors in the place of some of the module's parameters or buffers.

        Raises:
            BadInput: ``loss`` gives no real scalar, or nothing in the output is a floating tensor.
        """
        self.settle()
        return self.reduce(self.output(inputs, parameters))

    def output(self, inputs: Mapping[int, Tensor] | None = None, parameters: Mapping[str, Tensor] | None = None) -> Any:
        """What the function returns; every call sees the same random numbers and the same buffers."""
        args, kwargs = tree_unflatten(self._arguments(inputs or {}), self.spec)
        with self.surroundings.same():
            if parameters:
                assert self.module is not None
                named = {self.prefix + name: t for name, t in parameters.items()}
                return functional_call(self.module, named, args, kwargs)
            return self.function(*args, **kwargs)

    def _arguments(self, inputs: Mapping[int, Tensor]) -> list[Any]:
        own = {v.position for v in self.variables.values() if v.position is not None}

        def fresh(position: int, leaf: Any) -> Any:
            if position in inputs:
                return inputs[position]
            # What is no variable may be written to (labels, masks, states): each call gets its own.
            return leaf.clone() if isinstance(leaf, Tensor) and position not in own else leaf

        return [fresh(position, leaf) for position, leaf in enumerate(self.leaves)]

    def reduce(self, output: Any) -> Tensor:
        """The scalar L of an output."""
        if self.loss is not None:
            return _checked_scalar(self.loss(output))
        outputs = self.projected(output)
        assert self.weights is not None, "a problem is settled before its first value"
        if len(outputs) == 1:
            return _projection(outputs[0], self.weights[0])
        return torch.stack([_projection(t, w) for t, w in zip(outputs, self.weights, strict=True)]).sum()

    def projected(self, output: Any) -> list[Tensor]:
        """The outputs that L is made of: the floating ones that a gradient reaches, or all where it reaches none.

        What a target returns beside them without a gradient (a metric, running statistics) is so on purpose.
        """
        outputs = floating(output)
        if not outputs:
            raise BadInput(
                f"nothing in the output ({_kind_of(output)}) is a floating-point tensor, so there is nothing to "
                "differentiate: give loss=..., which maps the output to a scalar tensor"
            )
        chosen = self._attached or [True] * len(outputs)
        return [t for t, is_attached in zip(outputs, chosen, strict=True) if is_attached]

    def unattached(self) -> list[str]:
        """Says which outputs L leaves out, since no gradient reaches them while others have one."""
        numbers = [str(n) for n, is_attached in enumerate(self._attached or ()) if not is_attached]
        if not numbers:
            return []
        return [f"floating output {', '.join(numbers)} carries no gradient and was not looked at"]

    def magnitude(self) -> float:
        """The size of the terms that are added up to L: rounding errors are in proportion to it."""
        self.settle()
        with torch.set_grad_enabled(self.needs_grad):
            output = self.output()
            value = abs(float(self.reduce(output).detach()))
            if self.loss is None:
                assert self.weights is not None
                terms = zip(self.projected(output), self.weights, strict=True)
                value = max(value, sum(float((wide(t.detach()).abs() * w.abs()).sum()) for t, w in terms))
        return value


def floating(output: Any) -> list[Tensor]:
    """The floating and complex tensors in an output, however it is nested.

    Example:
        >>> len(floating({"a": torch.ones(2), "b": (torch.ones(1), torch.arange(3))}))
        2
    """
    leaves = tree_leaves(output)
    for leaf in list(leaves):
        # What pytree does not know: a mapping of a library's own, a dataclass.
        held = leaf if isinstance(leaf, Mapping) else vars(leaf) if is_dataclass(leaf) else {}
        leaves += [t for value in held.values() for t in tree_leaves(value)]
    return [t for t in leaves if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]


def wide(tensor: Tensor) -> Tensor:
    """The same numbers in double precision, dense: the sum that makes L of them adds no error of its own."""
    tensor = tensor if tensor.layout is torch.strided else tensor.to_dense()
    dtype = torch.complex128 if tensor.is_complex() else torch.float64
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def _is_same(a: Tensor, b: Tensor) -> bool:
    return bool((a == b) | (a.isnan() & b.isnan()))


def _projection(tensor: Tensor, weights: Tensor) -> Tensor:
    """Re Σ w̄·t, whose gradient by t is w."""
    product = wide(tensor) * weights.conj()
    return (product.real if product.is_complex() else product).sum()


def _weights(tensor: Tensor, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(1_000 + number)
    dtype = torch.complex128 if tensor.is_complex() else torch.float64
    noise = torch.rand(tuple(tensor.shape), generator=generator, dtype=dtype)
    real = torch.view_as_real(noise) if noise.is_complex() else noise
    real.copy_(torch.where(real < 0.5, real - 1.5, real + 0.5))  # magnitudes of 1 to 1½
    return noise.to(tensor.device)


def _checked_scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex() or not value.is_floating_point():
        raise BadInput(f"loss must map the output to one real number (a scalar tensor), it gave {_kind_of(value)}")
    return value.reshape(())


def _kind_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {str(value.dtype).removeprefix('torch.')}"
    return f"a {type(value).__name__}"
