"""The activations that a configuration can name."""

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """A new activation module.

    Args:
        name: one of ``ACTIVATIONS``.

    Raises:
        ValueError: there is no activation of this name.

    Example:
        >>> activation("tanh")
        Tanh()
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"there is no activation {name!r} (model.activation): choose {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
