"""Fully connected networks as plain sequences: the parameters are ``0.weight``, ``0.bias``, ..."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gradlab.models.activations import activation as activation_named
from gradlab.models.sizes import check_features, positive, widths


class Linear(nn.Sequential):
    """One affine map, ŷ = x Wᵀ + b.

    ∂L/∂W = Σ over the batch of (∂L/∂ŷ)ᵀ x, and ∂L/∂b = Σ over the batch of ∂L/∂ŷ.

    Args:
        in_features: columns of a batch.
        out_features: columns of a prediction.

    Raises:
        ValueError: a size is no whole number above 0.

    Example:
        >>> [name for name, _ in Linear(in_features=10, out_features=1).named_parameters()]
        ['0.weight', '0.bias']
    """

    option = "linear"

    def __init__(self, in_features: int, out_features: int) -> None:
        inputs = positive(self.option, "in_features", in_features)
        outputs = positive(self.option, "out_features", out_features)
        super().__init__(nn.Linear(inputs, outputs))
        self.in_features = inputs

    def forward(self, input: Tensor | None) -> Tensor:
        """The prediction [B, out_features] for a batch [B, in_features], floating.

        Raises:
            ValueError: there is no batch, or it has another number of columns.
        """
        return super().forward(check_features(self.option, input, self.in_features))


class Logistic(Linear):
    """Logistic regression, z = x Wᵀ + b, whose probability of class 1 is σ(z).

    The prediction is the logit z and not σ(z), because the losses take logits: ``bce`` computes log σ(z) in
    one step, which stays finite where σ(z) has already rounded to 0. One column serves two classes; with
    ``out_features`` set to the number of classes it is multinomial, for ``loss=cross_entropy``.

    Args:
        in_features: columns of a batch.
        out_features: columns of a prediction.

    Raises:
        ValueError: as in ``Linear``.

    Example:
        >>> import torch
        >>> Logistic(in_features=2)(torch.zeros(4, 2)).shape
        torch.Size([4, 1])
    """

    option = "logistic"

    def __init__(self, in_features: int, out_features: int = 1) -> None:
        super().__init__(in_features, out_features)


class Mlp(nn.Sequential):
    """A multilayer perceptron: h₀ = x, hₖ = φ(hₖ₋₁ Wₖᵀ + bₖ), and an affine map at the end.

    Layers alternate: 0 is affine, 1 the activation, 2 affine, ... The last one has no activation.

    Args:
        in_features: columns of a batch.
        hidden: the width of each hidden layer; empty for none.
        out_features: columns of a prediction.
        activation: the name of φ, one of ``gradlab.models.ACTIVATIONS``.

    Raises:
        ValueError: a size is no whole number above 0, or there is no such activation.

    Example:
        >>> list(Mlp(in_features=64, hidden=[32], out_features=10).state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, in_features: int, hidden: Sequence[int], out_features: int, activation: str = "tanh") -> None:
        sizes = [positive("mlp", "in_features", in_features), *widths("mlp", hidden)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation_named(activation)]
        super().__init__(*layers, nn.Linear(sizes[-1], positive("mlp", "out_features", out_features)))
        self.in_features = in_features

    def forward(self, input: Tensor | None) -> Tensor:
        """As ``Linear.forward``."""
        return super().forward(check_features("mlp", input, self.in_features))
