"""Comparing witnesses: what is checked, the verdicts, and the report."""

from gradlab.checking.checker import WITNESSES, check
from gradlab.checking.findings import Finding
from gradlab.checking.report import GradientError, Report

__all__ = ["WITNESSES", "Finding", "GradientError", "Report", "check"]
