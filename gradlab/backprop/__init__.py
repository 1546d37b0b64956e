"""The handwritten backward pass: record a forward pass once, sweep it backwards by rules one can read.

    >>> import torch
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> with Tape() as tape:
    ...     loss = (3 * w).tanh().sum()
    >>> bool(torch.allclose(tape.backward(loss)[w], 3 * (1 - (3 * w).tanh() ** 2)))
    True

Nothing here imports anything else of gradlab, and nothing here calls autograd.
"""

from gradlab.backprop.breakdown import Breakdown
from gradlab.backprop.errors import MissingRuleError, TapeError
from gradlab.backprop.gradients import Gradients
from gradlab.backprop.rules import RULES, Family, Rule
from gradlab.backprop.sweep import Term
from gradlab.backprop.tape import Tape
from gradlab.backprop.values import Entry, Value

__all__ = [
    "RULES",
    "Breakdown",
    "Entry",
    "Family",
    "Gradients",
    "MissingRuleError",
    "Rule",
    "Tape",
    "TapeError",
    "Term",
    "Value",
]
