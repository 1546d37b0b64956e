"""What theory says of a deep network before it is drawn: by how much one layer multiplies the gradient.

With many units and freshly drawn weights, a layer's sums z are nearly normal with mean 0 and some variance q. On the
way back the gradient is multiplied by Wᵀ and by φ′(z). A weight has the variance σ², a layer n inputs, so on average

    (gain of a layer)² = σ² · n · E[φ′(√q·u)²],  u normal with mean 0 and variance 1,

and q itself follows layer by layer: q = σ² · n · E[h²] + (variance of the biases). A residual connection adds 1, the
path past the layer. LayerNorm makes q = 1, and divides the gradient
by the √q that was.

References:
    S. S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, *Deep information propagation*, 2016, arXiv:1611.01232.
    K. He et al., *Delving deep into rectifiers*, 2015, arXiv:1502.01852, section 2.2: the gain of ReLU.
    G. Yang, S. S. Schoenholz, *Mean field residual networks: on the edge of chaos*, 2017, arXiv:1712.08969.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gradlab.models import Mlp
from gradlab.models.activations import activation
from gradlab.models.initialization import bias_deviation, weight_deviation

GRID = torch.linspace(-8, 8, 4000, dtype=torch.float64)  # an even number: no point at 0, where ReLU has its kink


@dataclass(frozen=True, slots=True)
class Moments:
    """Means over normally distributed sums z of variance q: of φ, of φ², and of φ′²."""

    first: float
    second: float
    slope: float


def moments(phi: nn.Module, q: float) -> Moments:
    """The means of φ(√q·u), φ(√q·u)² and φ′(√q·u)² over a standard normal u; φ′ is autograd's.

    Example:
        >>> found = moments(nn.ReLU(), 4.0)
        >>> round(found.first, 4), round(found.second, 4), round(found.slope, 3)  # 2/√(2π), 4/2, 1/2
        (0.7979, 2.0, 0.5)
    """
    weights = torch.exp(-(GRID**2) / 2)
    weights = weights / weights.sum()
    z = (math.sqrt(q) * GRID).requires_grad_()
    h = phi(z)
    (slope,) = torch.autograd.grad(h.sum(), z)
    values = h.detach()
    return Moments(*(float((weights * v).sum()) for v in (values, values**2, slope**2)))


def arriving(network: Mlp, mean_square: float) -> np.ndarray:
    """How large the gradient at each hidden layer's sums is, on average, as a share of that at the last one's.

    Args:
        network: only its sizes and options count, not its weights.
        mean_square: of the entries of the network's input.

    Returns:
        [hidden layers], the one nearest to the input first, in root mean squares over all draws of the weights.

    Example:
        >>> network = Mlp(50, [50] * 4, 10, activation="relu", init="he")
        >>> arriving(network, 1.0).round(2).tolist()
        [1.0, 1.0, 1.0, 1.0]
        >>> arriving(Mlp(50, [50] * 3, 10, activation="identity", init=0.1), 1.0).round(4).tolist()  # σ²n = ½
        [0.5, 0.7071, 1.0]
    """
    phi = activation(network.activation)
    affine = [layer for layer in network if isinstance(layer, nn.Linear)][:-1]
    squares, slopes = np.zeros(len(affine)), np.zeros(len(affine))
    mean, square = 0.0, mean_square
    for place, layer in enumerate(affine):
        deviation = weight_deviation(network.init, layer.in_features, layer.out_features)
        gain = deviation**2 * layer.in_features
        q = gain * square + bias_deviation(network.init, layer.in_features) ** 2
        found = moments(phi, 1.0 if network.norm else q)
        slopes[place] = found.slope / (q if network.norm else 1.0)
        squares[place] = gain
        skips = network.residual and layer.in_features == layer.out_features
        square = found.second + (square + 2 * mean * found.first if skips else 0.0)
        mean = found.first + (mean if skips else 0.0)
    shares = np.ones(len(affine))  # of the squared gradient at the outputs h, from the last layer downwards
    for place in range(len(affine) - 1, 0, -1):
        layer = affine[place]
        skips = network.residual and layer.in_features == layer.out_features
        shares[place - 1] = shares[place] * (squares[place] * slopes[place] + skips)
    at_sums = shares * slopes
    return np.sqrt(at_sums / at_sums[-1])
