"""Independent ways to the same derivative. `Problem` is what they look at; each gives ∂L by single entries."""

from gradlab.witnesses.base import CannotSay, Witness
from gradlab.witnesses.problem import Problem, Variable

__all__ = ["CannotSay", "Problem", "Variable", "Witness"]
