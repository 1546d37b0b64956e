"""How the weights of an affine map are drawn at the start, and with which standard deviation."""

from __future__ import annotations

import math

from torch import nn

INITIALIZATIONS = ("default", "xavier", "he")

Initialization = str | float


def checked_initialization(init: Initialization) -> Initialization:
    """``init`` itself where it is one of ``INITIALIZATIONS`` or a finite number above 0; an error otherwise.

    Example:
        >>> checked_initialization("he"), checked_initialization(0.1)
        ('he', 0.1)
    """
    is_number = isinstance(init, (int, float)) and not isinstance(init, bool)
    if init in INITIALIZATIONS if isinstance(init, str) else is_number and 0 < init < math.inf:
        return init
    raise ValueError(
        f"there is no initialization {init!r} (model.init): choose {', '.join(INITIALIZATIONS)}, or a number above 0, "
        "the standard deviation of a normal distribution"
    )


def weight_deviation(init: Initialization, inputs: int, outputs: int) -> float:
    """The standard deviation σ of a weight with so many inputs and outputs.

    | init | σ | keeps |
    |---|---|---|
    | ``default`` | 1/√(3·inputs), uniform in ±1/√inputs; what ``nn.Linear`` draws by itself | |
    | ``xavier`` | √(2/(inputs + outputs)), normal | the size of signals where φ′ ≈ 1 |
    | ``he`` | √(2/inputs), normal | the size of signals where half of the units are off, as with ReLU |
    | a number | that number, normal | |

    Example:
        >>> [round(weight_deviation(init, 50, 50), 4) for init in ("default", "xavier", "he", 0.3)]
        [0.0816, 0.1414, 0.2, 0.3]

    References:
        X. Glorot, Y. Bengio, *Understanding the difficulty of training deep feedforward neural networks*, 2010.
        K. He et al., *Delving deep into rectifiers*, 2015, arXiv:1502.01852.
    """
    if not isinstance(init, str):
        return float(init)
    return {
        "default": 1 / math.sqrt(3 * inputs),
        "xavier": math.sqrt(2 / (inputs + outputs)),
        "he": math.sqrt(2 / inputs),
    }[init]


def bias_deviation(init: Initialization, inputs: int) -> float:
    """The standard deviation of a bias: that of a weight where ``nn.Linear`` draws it, else 0.

    Example:
        >>> bias_deviation("he", 50), round(bias_deviation("default", 50), 4)
        (0.0, 0.0816)
    """
    return weight_deviation(init, inputs, inputs) if init == "default" else 0.0


def initialize(affine: nn.Linear, init: Initialization) -> nn.Linear:
    """Draws its weights anew, its bias becomes 0; with ``default`` it stays as it is, and nothing is drawn.

    Example:
        >>> initialize(nn.Linear(3, 2), "he").bias.tolist()
        [0.0, 0.0]
    """
    if init != "default":
        nn.init.normal_(affine.weight, std=weight_deviation(init, affine.in_features, affine.out_features))
        nn.init.zeros_(affine.bias)
    return affine
