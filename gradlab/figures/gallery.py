"""Every figure by name: the question whether its records have come, and the function that draws it."""

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from gradlab.figures import (
    agreement,
    chain,
    contour,
    flow,
    flow_profile,
    loss,
    overview,
    partial_matrices,
    partials,
    paths,
    style,
    updates,
)
from gradlab.sinks import MemorySink


class Maker(NamedTuple):
    """One figure that can be drawn."""

    ready: Callable[[MemorySink], bool]
    make: Callable[[MemorySink], Figure]


def makers(loss_name: str, tolerance: float | None) -> dict[str, Maker]:
    """The figures by name; the arguments are those of `gradlab.figures.draw`.

    Example:
        >>> list(makers("loss", None))[:2]
        ['overview', 'contour']
    """
    return {
        "overview": Maker(overview.ready, lambda memory: overview.figure(memory, tolerance)),
        "contour": Maker(contour.ready, lambda memory: contour.figure(memory, loss_name)),
        "paths": Maker(paths.ready, lambda memory: paths.figure(memory, loss_name)),
        "loss": Maker(loss.ready, loss.figure),
        "gradient_flow": Maker(flow.ready, flow.figure),
        "flow_profile": Maker(flow_profile.ready, flow_profile.figure),
        "chain_rule": Maker(chain.ready, chain.figure),
        "partials": Maker(partials.ready, partials.figure),
        "partial_matrices": Maker(partial_matrices.ready, partial_matrices.figure),
        "updates": Maker(updates.ready, updates.figure),
        "agreement": Maker(agreement.ready, lambda memory: agreement.figure(memory, tolerance)),
    }


def draw_all(memory: MemorySink, loss_name: str, tolerance: float | None) -> dict[str, Figure]:
    """Draw what the records allow; the arguments are those of `gradlab.figures.draw`.

    Example:
        >>> draw_all(MemorySink(), "loss", None)
        {}
    """
    possible = {name: maker for name, maker in makers(loss_name, tolerance).items() if maker.ready(memory)}
    with style.look():
        return {name: maker.make(memory) for name, maker in possible.items()}
