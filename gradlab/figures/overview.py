"""One wide picture of a network's run, for readers who see one for the first time."""

from matplotlib.figure import Figure

from gradlab.figures import agreement, chain, flow, loss, style
from gradlab.sinks import MemorySink


def ready(memory: MemorySink) -> bool:
    """Whether there is a network (no surface) with loss, gradient flow, chain rule and agreement.

    Example:
        >>> ready(MemorySink())
        False
    """
    return all(part.ready(memory) for part in (loss, flow, chain, agreement)) and not memory.tags("path/")


def figure(memory: MemorySink, tolerance: float | None = None) -> Figure:
    """Loss, gradient flow, chain rule by layer and agreement in one picture.

    Args:
        memory: holds the records that these four figures need.
        tolerance: the largest relative error that counts as agreement.
    """
    picture, (first, second, third, fourth) = style.canvas(20, 12, rows=2, columns=2)
    loss.draw(first, memory)
    flow.draw(second, memory)
    chain.draw_modules(third, memory)
    agreement.draw(fourth, memory, tolerance)
    return picture
