"""Records drawn as matplotlib figures.

Each file holds one figure: what it needs (``ready``), how it is laid out (``figure``), and how it is drawn into
axes that it is given (``draw``), so that figures can be composed of one another. Matplotlib is imported when the
first figure is drawn, since it takes a third of a second.
"""

from typing import TYPE_CHECKING

from gradlab.sinks import MemorySink

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "png"]


def draw(memory: MemorySink, *, loss_name: str = "loss", tolerance: float | None = None) -> "dict[str, Figure]":
    """Draw every figure that the records allow.

    Args:
        memory: the records of a run.
        loss_name: what the loss is called in titles.
        tolerance: the largest relative error that counts as agreement; None draws no line for it.

    Returns:
        The figures by name: ``overview``, ``contour``, ``paths``, ``loss``, ``gradient_flow``, ``flow_profile``,
        ``chain_rule``, ``partials``, ``partial_matrices``, ``updates``, ``agreement``; those whose
        records did not come are left out.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> memory.write(Scalar("loss/train", step, 2.0**-step) for step in range(5))
        >>> list(draw(memory))
        ['loss']
    """
    from gradlab.figures.gallery import draw_all

    return draw_all(memory, loss_name, tolerance)


def png(figure: "Figure") -> bytes:
    """The figure as the bytes of a PNG file.

    Example:
        >>> from matplotlib.figure import Figure
        >>> png(Figure())[1:4]
        b'PNG'
    """
    from gradlab.figures.style import png as encode

    return encode(figure)
