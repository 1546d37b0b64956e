"""Probes: each measures one thing in a step and returns records. A probe never writes anything."""

from gradlab.probes.agreement import AgreementProbe
from gradlab.probes.base import Probe, Step
from gradlab.probes.chain import ChainRuleProbe
from gradlab.probes.gradients import GradientProbe
from gradlab.probes.partials import PartialsProbe
from gradlab.probes.path import PathProbe

__all__ = ["AgreementProbe", "ChainRuleProbe", "GradientProbe", "PartialsProbe", "PathProbe", "Probe", "Step"]
