"""Problems with a derivative in closed form, shared by the tests of all witnesses."""

import math

import torch
from torch import nn

from gradlab.checking.targets import problem_of, target_of

F64 = torch.float64


def problem(function, *args, loss=torch.sum):
    """L = the sum of the outputs, so that its derivative is that of a textbook."""
    return problem_of(target_of(function), args, {}, loss)


X = torch.tensor([0.3, -1.2, 2.0], dtype=F64)

# name: (function of x, its derivative)
SMOOTH = {
    "exp": (torch.exp, math.exp),
    "sin": (torch.sin, math.cos),
    "tanh": (torch.tanh, lambda x: 1 / math.cosh(x) ** 2),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "quotient": (lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (2 + math.exp(x) + math.exp(-x))),
    "root": (lambda x: (x + 3).sqrt(), lambda x: 0.5 / math.sqrt(x + 3)),
    "logarithm": (lambda x: torch.log(x + 3), lambda x: 1 / (x + 3)),
    "used twice": (lambda x: x * x.exp() + x, lambda x: math.exp(x) * (1 + x) + 1),
    "seen through detach": (lambda x: x.detach() * x, lambda x: 2 * x),
}


def layer():
    """y = W·x + b, whose derivative by W[i, j] is x[j] and by b[i] is 1."""
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


class Count(nn.Module):
    """y = 2x at the first call, by a buffer that is written to on the way."""

    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(1, dtype=F64))

    def forward(self, x):
        self.n.add_(2.0)
        return x * self.n
