"""gradlab: a laboratory for gradients. Every derivative computed twice, and compared operation by operation."""

from gradlab.backprop import Gradients, MissingRuleError, Tape, TapeError

__all__ = ["Gradients", "MissingRuleError", "Tape", "TapeError"]
