"""Fully connected networks as plain sequences: the parameters are ``0.weight``, ``0.bias``, ..."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gradlab.models.activations import activation as activation_named
from gradlab.models.initialization import Initialization, checked_initialization, initialize
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

    Layers alternate: 0 is affine, 1 the activation, 2 affine, ... The last one has no activation. These names stay
    with ``norm``, whose LayerNorms are called ``norm0``, ``norm2``, ... after the affine map that each one follows.

    Args:
        in_features: columns of a batch.
        hidden: the width of each hidden layer; empty for none.
        out_features: columns of a prediction.
        activation: the name of φ, one of ``gradlab.models.ACTIVATIONS``.
        init: how the weights are drawn: ``default`` (PyTorch's own), ``xavier``, ``he``, or a number, the standard
            deviation of a normal distribution. With all but ``default`` the biases begin at 0.
        residual: whether each hidden layer adds its input, hₖ = hₖ₋₁ + φ(…), where the two have the same width.
        norm: whether a LayerNorm stands before each activation, hₖ = φ(LayerNorm(hₖ₋₁ Wₖᵀ + bₖ)).

    Raises:
        ValueError: a size is no whole number above 0, or there is no such activation or initialization.

    Example:
        >>> list(Mlp(in_features=64, hidden=[32], out_features=10).state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
        >>> [name for name, _ in Mlp(64, [32], 10, norm=True).named_children()]
        ['0', 'norm0', '1', '2']

    References:
        K. He et al., *Deep residual learning for image recognition*, 2015, arXiv:1512.03385; J. L. Ba, J. R. Kiros,
        G. E. Hinton, *Layer normalization*, 2016, arXiv:1607.06450. For ``init``, see `weight_deviation`.
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        activation: str = "tanh",
        init: Initialization = "default",
        residual: bool = False,
        norm: bool = False,
    ) -> None:
        sizes = [positive("mlp", "in_features", in_features), *widths("mlp", hidden)]
        init = checked_initialization(init)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for place, (inputs, outputs) in enumerate(pairwise(sizes)):
            layers[f"{2 * place}"] = initialize(nn.Linear(inputs, outputs), init)
            if norm:
                layers[f"norm{2 * place}"] = nn.LayerNorm(outputs)
            layers[f"{2 * place + 1}"] = activation_named(activation)
        head = nn.Linear(sizes[-1], positive("mlp", "out_features", out_features))
        layers[f"{2 * len(sizes) - 2}"] = initialize(head, init)
        super().__init__(layers)
        self.in_features = in_features
        self.init = init
        self.activation = activation
        self.residual = residual
        self.norm = norm

    def forward(self, input: Tensor | None) -> Tensor:
        """As ``Linear.forward``."""
        h = check_features("mlp", input, self.in_features)
        if not self.residual:
            return super().forward(h)
        *layers, head = self
        size = 3 if self.norm else 2
        for place in range(0, len(layers), size):
            inner = h
            for layer in layers[place : place + size]:
                inner = layer(inner)
            h = h + inner if inner.shape == h.shape else inner
        return head(h)
