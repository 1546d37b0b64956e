"""Comparing witnesses: what is checked, the verdicts, and the report."""

from gradlab.checking.checker import WITNESSES, check
from gradlab.checking.difference_curve import VCurve, v_curve
from gradlab.checking.findings import Finding
from gradlab.checking.precision_report import PrecisionReport, precision
from gradlab.checking.report import GradientError, Report

__all__ = [
    "WITNESSES",
    "Finding",
    "GradientError",
    "PrecisionReport",
    "Report",
    "VCurve",
    "check",
    "precision",
    "v_curve",
]
