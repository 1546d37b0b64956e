"""gradlab: a laboratory for gradients. Every derivative computed twice, and compared operation by operation."""

import random
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.backprop import Gradients, MissingRuleError, Tape, TapeError
    from gradlab.callbacks import GradientLabCallback
    from gradlab.checking import GradientError, check
    from gradlab.loading import load
    from gradlab.watching import watch

__all__ = [
    "GradientError",
    "GradientLabCallback",
    "Gradients",
    "MissingRuleError",
    "Tape",
    "TapeError",
    "check",
    "load",
    "watch",
]

# torch, Lightning and TensorBoard take seconds to import: whoever only uses the tape needs no more than the first, and
# TensorBoard, which imports this package at every start for its Gradlab tab, none of them.
_LATE = {
    "GradientError": "gradlab.checking",
    "GradientLabCallback": "gradlab.callbacks",
    "Gradients": "gradlab.backprop",
    "MissingRuleError": "gradlab.backprop",
    "Tape": "gradlab.backprop",
    "TapeError": "gradlab.backprop",
    "check": "gradlab.checking",
    "load": "gradlab.loading",
    "watch": "gradlab.watching",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        state = random.getstate()  # of which some libraries draw when they are imported
        try:
            found = globals()[name] = getattr(import_module(_LATE[name]), name)  # asked for once: this takes 10 µs
        finally:
            random.setstate(state)
        return found
    raise AttributeError(f"module 'gradlab' has no attribute {name!r}")
