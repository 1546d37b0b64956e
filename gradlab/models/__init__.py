"""Models: small, plain ``nn.Module`` classes.

``Point`` is for surfaces; the others are networks, ``Recurrent`` and ``Transformer`` for texts, the rest for features.
``Population`` is many networks at once.
"""

from gradlab.models.activations import ACTIVATIONS
from gradlab.models.convnet import ConvNet
from gradlab.models.networks import Linear, Logistic, Mlp
from gradlab.models.point import Point
from gradlab.models.population import Population
from gradlab.models.recurrent import CELLS, Recurrent
from gradlab.models.transformer import Transformer

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "ConvNet",
    "Linear",
    "Logistic",
    "Mlp",
    "Point",
    "Population",
    "Recurrent",
    "Transformer",
]
