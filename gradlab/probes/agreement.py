"""Manual against autograd: how far the two backward passes lie apart, for every parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradlab.probes.base import Need, Step
from gradlab.records import Record, Scalar
from gradlab.schedules import Schedule, every

EXACT = 1e-17  # what is drawn for an error of exactly 0, which has no logarithm: below every float64 rounding error


class AgreementProbe:
    """log10 of the relative error between the handwritten sweep and autograd.

    Args:
        schedule: the steps at which the two are compared; every step by default.
    """

    needs: Need = "reconciliation"

    def __init__(self, schedule: Schedule | None = None) -> None:
        self.schedule = schedule or every(1)

    def measure(self, step: Step) -> Iterator[Record]:
        assert step.reconciliation is not None
        for name, agreement in step.reconciliation.agreements.items():
            value = math.log10(max(agreement.error, EXACT))
            yield Scalar(f"agreement/{name}/log10_error", step.index, value)
