"""Sweeps of the smallest jobs there are, and what lies in their folders."""

import json

SURFACE = ["loss=quadratic", "data=none", "probes=none", "trainer.max_steps=3", "trainer.enable_progress_bar=false"]
POINT = [*SURFACE, "model=point"]
OWN = [*SURFACE, "model=custom", "model._target_=own_point.Point"]


def sweep_of(here):
    """The one sweep below a folder."""
    (record,) = here.rglob("multirun.yaml")
    return record.parent


def results(sweep):
    """The summaries of a sweep's jobs, by the names of their folders."""
    return {path.parent.name: json.loads(path.read_text()) for path in sweep.glob("*/summary.json")}


def statuses(sweep):
    return {name: summary["status"] for name, summary in results(sweep).items()}


def times(sweep):
    """When each file of the jobs was last written."""
    return {path: path.stat().st_mtime_ns for path in sweep.rglob("*") if path.is_file() and path.parent != sweep}
