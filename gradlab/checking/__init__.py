"""Comparing witnesses: what is checked, the verdicts, and the report."""
