"""gradlab: a laboratory for gradients. Every derivative computed twice, and compared operation by operation."""

from typing import TYPE_CHECKING, Any

from gradlab.backprop import Gradients, MissingRuleError, Tape, TapeError

if TYPE_CHECKING:
    from gradlab.callbacks import GradientLabCallback
    from gradlab.loading import load

__all__ = ["GradientLabCallback", "Gradients", "MissingRuleError", "Tape", "TapeError", "load"]


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import, and whoever only uses the tape needs none of it.
    if name == "GradientLabCallback":
        from gradlab.callbacks import GradientLabCallback

        return GradientLabCallback
    if name == "load":
        from gradlab.loading import load  # reads with TensorBoard's messages, which take their time too

        return load
    raise AttributeError(f"module 'gradlab' has no attribute {name!r}")
