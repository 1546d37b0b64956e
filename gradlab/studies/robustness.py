"""Robustness: how often each optimizer finds the minimum, from random starts on many surfaces, with nothing retuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradlab.errors import BadInput
from gradlab.losses import Surface
from gradlab.studies.again import Again, again
from gradlab.studies.base import Findings, Finished, Setting
from gradlab.studies.rate import Rate

SNAPSHOT = "snapshot/theta"


@dataclass(frozen=True, slots=True)
class Trial:
    """One optimizer on one surface.

    Attributes:
        optimizer, surface: their names.
        found: how many starts came to a global minimizer.
        diverged: how many ended in no finite number.
        witness: of one start, descended again; None where the optimizer has no rule by hand.
    """

    optimizer: str
    surface: str
    found: Rate
    diverged: int
    witness: Again | None


@dataclass(frozen=True, slots=True)
class Results:
    """All trials.

    Attributes:
        rates: the learning rate of each optimizer.
        surfaces: their names.
        trials: by optimizer and surface.
        steps: of every descent.
    """

    rates: Mapping[str, float]
    surfaces: Sequence[str]
    trials: Mapping[tuple[str, str], Trial]
    steps: int

    def of(self, optimizer: str) -> list[Trial]:
        """The trials of one optimizer, surface by surface."""
        return [self.trials[optimizer, surface] for surface in self.surfaces]

    def overall(self, optimizer: str) -> Rate:
        """Over all surfaces."""
        first, *rest = (trial.found for trial in self.of(optimizer))
        return sum(rest, first)

    def diverged(self, optimizer: str) -> Rate:
        """The starts that diverged, over all surfaces."""
        trials = self.of(optimizer)
        return Rate(sum(t.diverged for t in trials), sum(t.found.tries for t in trials))

    @property
    def ranked(self) -> list[str]:
        """The optimizers, best first."""
        return sorted(self.rates, key=lambda name: -self.overall(name).share)


class Robustness:
    """Every optimizer on every surface from the same random starts, each with one learning rate for all surfaces.

    Args:
        rates: the learning rate of each optimizer, by its name as an option: ``{"sgd": 0.01}``.
        surfaces: options of ``loss`` with a known minimizer.
        scale: a factor on all learning rates.

    The runs need ``model=point`` with a population.
    """

    takes_population = True

    def __init__(self, rates: Mapping[str, float], surfaces: Sequence[str], scale: float = 1.0) -> None:
        if not rates or not surfaces:
            raise BadInput("study.rates and study.surfaces: name at least one optimizer and one surface")
        if not scale > 0:
            raise BadInput(f"study.scale={scale}: give a number above 0, by which all learning rates are multiplied")
        self._rates = {name: float(rate) * float(scale) for name, rate in rates.items()}
        self._surfaces = list(surfaces)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import robustness as picture  # matplotlib is slow to import

        pairs = [(name, surface) for surface in self._surfaces for name in self._rates]
        runs = setting.run({f"{name} on {surface}": self._overrides(name, surface) for name, surface in pairs})
        trials = {pair: trial_of(run, *pair) for pair, run in zip(pairs, runs, strict=True)}
        results = Results(self._rates, self._surfaces, trials, int(max(run.metrics["steps"] for run in runs)))
        return Findings(
            numbers=_numbers(results),
            title=f"of {runs[0].metrics['members']:,} starts: percent at a global minimum after {results.steps} steps",
            rows=_rows(results),
            figures={"robustness": picture.figure(results)},
            text="in parentheses: where the true rate lies, with a confidence of 95 % (Wilson's score interval)",
            errors=_errors(results),
            statuses={run.name: run.status for run in runs},
        )

    def _overrides(self, optimizer: str, surface: str) -> list[str]:
        return [f"optimizer={optimizer}", f"optimizer.lr={self._rates[optimizer]!r}", f"loss={surface}"]


def trial_of(run: Finished, optimizer: str, surface: str) -> Trial:
    """What a population's run has come to.

    Raises:
        BadInput: it was no population on a surface with a known minimizer.
    """
    if "reached" not in run.metrics or not isinstance(run.loss, Surface):
        raise BadInput(
            f"{run.name}: this study counts the points of a population (model=point model.population=1000) that come "
            "to a known minimizer: leave out the surface saddle, which has none"
        )
    members = int(run.metrics["members"])
    found = Rate(round(run.metrics["reached"] * members), members)
    return Trial(optimizer, surface, found, int(run.metrics["diverged"]), _witness(run, run.loss))


def _witness(run: Finished, surface: Surface) -> Again | None:
    """The first start, descended again."""
    if SNAPSHOT not in run.memory.tags(SNAPSHOT):
        raise BadInput(f"{run.name}: its starts were not recorded: choose 'probes=[agreement,snapshots]'")
    starts = run.memory.arrays(SNAPSHOT)[1][0]
    ends = next(run.model.parameters()).detach().cpu().numpy()
    return again(run, starts[:1], ends[:1])


def _numbers(results: Results) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name in results.ranked:
        overall = results.overall(name)
        low, high = overall.interval
        numbers |= {f"found, {name}": overall.share, f"from, {name}": low, f"to, {name}": high}
        numbers[f"diverged, {name}"] = results.diverged(name).share
        numbers |= {f"{name} on {trial.surface}": trial.found.share for trial in results.of(name)}
    witnesses = [trial.witness for trial in results.trials.values() if trial.witness is not None]
    numbers["descended again"] = sum(witness.compared for witness in witnesses)
    numbers["left to rounding"] = sum(witness.by_chance for witness in witnesses)
    return numbers


def _errors(results: Results) -> dict[str, float]:
    """The largest error of each optimizer's witnesses, over all surfaces."""
    errors: dict[str, float] = {}
    for trial in results.trials.values():
        if trial.witness is not None:
            name = f"the closed form, {trial.optimizer}"
            errors[name] = max(errors.get(name, 0.0), trial.witness.error)
    return errors


def _rows(results: Results) -> list[Sequence[str]]:
    """Surfaces down, optimizers across, the best first."""
    names = results.ranked
    return [
        ("surface", *names),
        ("(learning rate)", *(f"{results.rates[name]:g}" for name in names)),
        *((surface, *(str(results.trials[name, surface].found) for name in names)) for surface in results.surfaces),
        ("all", *(str(results.overall(name)) for name in names)),
        ("diverged", *(str(results.diverged(name)) for name in names)),
    ]
