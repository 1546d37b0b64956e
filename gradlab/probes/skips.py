"""Skip connections: what the gradient of a value receives on the way past a branch, and what through it."""

from __future__ import annotations

from collections.abc import Iterator

from gradlab.backprop import Breakdown
from gradlab.backprop.breakdown import BreakdownTerm, PathSum
from gradlab.probes.base import Need, Step
from gradlab.records import Record, Scalar
from gradlab.schedules import Schedule, every

ADDITIONS = ("add", "add_")


class SkipProbe:
    """In ``h + branch(h)``, h is used twice: its gradient is the sum of what the addition and the branch pass down.

    A skip connection is found where a value is used twice: by an addition, and by a branch. The branch has the name of
    the module that ends it, up to the level below the module that adds: ``blocks.0.attention`` where ``blocks.0`` adds.

    | tag | number |
    |---|---|
    | ``skip/<branch>/past`` | norm of what comes by the addition |
    | ``skip/<branch>/through`` | norm of what comes by the branch |
    | ``skip/<branch>/sum`` | norm of their sum, with which the value's own gradient begins |

    Args:
        schedule: the steps to look at; every tenth by default.
    """

    needs: Need = "terms"

    def __init__(self, schedule: Schedule | None = None) -> None:
        self.schedule = schedule or every(10)

    def measure(self, step: Step) -> Iterator[Record]:
        assert step.terms is not None
        scale = 1.0 if step.scale is None else float(step.scale)
        breakdown = Breakdown.of(step.terms, step.root, readable=0)
        for path_sum in breakdown.path_sums.values():
            yield from _records(path_sum, breakdown, step.index, scale)


def _records(path_sum: PathSum, breakdown: Breakdown, step: int, scale: float) -> Iterator[Record]:
    uses = [(breakdown.terms[c.place - 1], c.gradient.l2 / scale) for c in path_sum.contributions if c.place]
    additions = [(term, size) for term, size in uses if term.operation in ADDITIONS]
    branches = [size for term, size in uses if term.operation not in ADDITIONS]
    if path_sum.kind == "parameter" or (len(additions), len(branches)) != (1, 1):
        return
    name = _branch(additions[0][0], path_sum.name, breakdown)
    sizes = {"past": additions[0][1], "through": branches[0], "sum": path_sum.gradient.l2 / scale}
    yield from (Scalar(f"skip/{name}/{field}", step, size) for field, size in sizes.items())


def _branch(addition: BreakdownTerm, skipped: str, breakdown: Breakdown) -> str:
    """The name of what is added to the value that skips it."""
    added = next((i.name for i in addition.inputs if i.name != skipped), "")
    made_by = breakdown.path_sums[added].made_by if added in breakdown.path_sums else None
    if made_by is None:
        return added or addition.operation
    end = breakdown.terms[made_by - 1]
    level = len(addition.module.split(".")) + 1 if addition.module else 1
    return ".".join(end.module.split(".")[:level]) or end.operation
