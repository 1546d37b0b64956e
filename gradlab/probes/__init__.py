"""Probes: each measures one thing in a step and returns records. A probe never writes anything."""

from gradlab.probes.agreement import AgreementProbe
from gradlab.probes.arrivals import ArrivalProbe
from gradlab.probes.base import Probe, Step
from gradlab.probes.chain import ChainRuleProbe
from gradlab.probes.dead_units import DeadUnitsProbe
from gradlab.probes.gradients import GradientProbe
from gradlab.probes.graph import GraphProbe
from gradlab.probes.partials import PartialsProbe
from gradlab.probes.path import PathProbe
from gradlab.probes.skips import SkipProbe
from gradlab.probes.snapshots import SnapshotProbe

__all__ = [
    "AgreementProbe",
    "ArrivalProbe",
    "ChainRuleProbe",
    "DeadUnitsProbe",
    "GradientProbe",
    "GraphProbe",
    "PartialsProbe",
    "PathProbe",
    "Probe",
    "SkipProbe",
    "SnapshotProbe",
    "Step",
]
