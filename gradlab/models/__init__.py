"""Models: small, plain ``nn.Module`` classes. ``Point`` is for surfaces, the others are networks for data."""

from gradlab.models.activations import ACTIVATIONS
from gradlab.models.convnet import ConvNet
from gradlab.models.networks import Linear, Logistic, Mlp
from gradlab.models.point import Point

__all__ = ["ACTIVATIONS", "ConvNet", "Linear", "Logistic", "Mlp", "Point"]
