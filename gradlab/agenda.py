"""Which probes look at which steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradlab.probes.base import BatchProbe, Need, Probe
from gradlab.schedules import Steps

FOREVER = 1 << 62


@dataclass(slots=True, frozen=True)
class Due:
    """The probes that look at one step.

    Attributes:
        probes: all of them.
        batching: those among them that want to hear of the update too.
        needs: what they need at hand.
    """

    probes: tuple[Probe, ...] = ()
    batching: tuple[BatchProbe, ...] = ()
    needs: frozenset[Need] = frozenset()

    @property
    def is_recorded(self) -> bool:
        """Whether any of them needs the forward pass recorded."""
        return not self.needs <= {"gradients"}

    @classmethod
    def of(cls, probes: Iterable[Probe]) -> Due:
        found = tuple(probes)
        batching = tuple(probe for probe in found if isinstance(probe, BatchProbe))
        return cls(found, batching, frozenset(probe.needs for probe in found))


class Agenda:
    """Asks the probes' schedules, and only where it has to: most steps are between two that are looked at in detail.

    Example:
        >>> from gradlab.probes import AgreementProbe, GradientProbe
        >>> from gradlab.schedules import every
        >>> agenda = Agenda([GradientProbe(), AgreementProbe(every(10))])
        >>> [len(agenda.of(range(step, step + 1)).probes) for step in (0, 1, 9, 10)]
        [2, 1, 1, 2]
    """

    def __init__(self, probes: Iterable[Probe]) -> None:
        self._probes = tuple(probes)
        schedules = [probe.schedule for probe in self._probes]
        self._known = [schedule for schedule in schedules if isinstance(schedule, Steps)]
        self._can_look_ahead = len(self._known) == len(schedules)
        self._quiet = range(0)  # the steps at which no more than the usual probes look
        self._known_due: dict[tuple[bool, ...], Due] = {}  # to tell a `BatchProbe` from others takes long
        self._usual = self._due([_is_constant(probe.schedule) for probe in self._probes])

    def of(self, batch: range) -> Due:
        """Who looks at a step, or at any of several steps that are made with the same batch."""
        if len(batch) == 1 and batch.start in self._quiet:
            return self._usual
        if self._can_look_ahead:
            rare = [schedule.after(batch.stop - 1) for schedule in self._known if not _is_constant(schedule)]
            self._quiet = range(batch.stop, int(min([*rare, FOREVER])))
        return self._due([any(map(probe.schedule, batch)) for probe in self._probes])

    def _due(self, looks: list[bool]) -> Due:
        """The probes that look, among all of them."""
        key = tuple(looks)
        if key not in self._known_due:
            self._known_due[key] = Due.of(probe for probe, does in zip(self._probes, looks, strict=True) if does)
        return self._known_due[key]


def _is_constant(schedule: object) -> bool:
    return isinstance(schedule, Steps) and 1 in schedule.periods
