"""The same descent under several settings, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradlab.errors import BadInput
from gradlab.studies.base import Findings, Finished, Setting, checked_variants


class Comparison:
    """Runs variants of the configured descent and compares them in one table and in figures.

    Args:
        variants: a name for each, and what is set otherwise, as on the command line: ``["optimizer.lr=0.1"]``.
        metrics: which of a run's metrics are compared.
        figures: names out of `gradlab.figures.comparison.FIGURES`, such as ``losses`` and ``paths``.
        animations: names out of `gradlab.figures.comparison.ANIMATIONS`; each becomes ``<name>.gif``.

    Each metric becomes a number ``<metric> <variant>``.
    """

    def __init__(
        self,
        variants: Mapping[str, Sequence[str]],
        metrics: Sequence[str] = ("loss",),
        figures: Sequence[str] = ("losses",),
        animations: Sequence[str] = (),
    ) -> None:
        self._variants = checked_variants(variants)
        self._metrics = tuple(metrics)
        self._figures = tuple(figures)
        self._animations = tuple(animations)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures.comparison import ANIMATIONS, FIGURES  # matplotlib is slow to import

        _check("figures", self._figures, FIGURES)
        _check("animations", self._animations, ANIMATIONS)
        runs = setting.run(self._variants)
        memories = {run.name: run.memory for run in runs}
        return Findings(
            numbers={f"{m} {run.name}": run.metrics[m] for run in runs for m in self._metrics if m in run.metrics},
            rows=[("variant", *(m.replace("_", " ") for m in self._metrics), "status"), *map(self._row, runs)],
            figures={name: FIGURES[name](memories) for name in self._figures},
            files={f"{name}.gif": ANIMATIONS[name](memories) for name in self._animations},
            statuses={run.name: run.status for run in runs},
        )

    def _row(self, run: Finished) -> tuple[str, ...]:
        return (run.name, *(run.cell(m, ".6g") for m in self._metrics), run.status)


def _check(argument: str, names: Sequence[str], known: Mapping[str, object]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        kind = argument.removesuffix("s")
        raise BadInput(f"study.{argument}: there is no {kind} {unknown[0]!r}: choose from {', '.join(known)}")
