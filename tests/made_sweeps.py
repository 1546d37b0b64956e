"""Folders as sweeps leave them, written file by file."""

import json
from pathlib import Path

from gradlab.sweeps.jobs import Job

HYDRA = "hydra:\n  job:\n    name: gradlab\n    num: {}\n  mode: MULTIRUN\n"


def make_job(folder, number, overrides, status="agree", exit_code=0, metrics=None, hydra=True, **more):
    """A job with Hydra's record, and with a summary unless its status is None."""
    (folder / ".hydra").mkdir(parents=True)
    if hydra:
        (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {line}\n" for line in overrides), "utf-8")
        (folder / ".hydra" / "hydra.yaml").write_text(HYDRA.format(number), "utf-8")
    if status is not None:
        summary = {
            "experiment": "free", "overrides": overrides, "status": status, "exit_code": exit_code, "reason": "",
            "metrics": metrics or {}, "disagreements": [], "job": number, "objective": None, **more,
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    return folder


def job(number=0, objective=(1.0,), exit_code=0, settings=None, metrics=None, status=None, reason=""):
    """A job as it is read."""
    status = status or ("error" if exit_code else "agree")
    own = settings if settings is not None else {"optimizer.lr": 10.0**-number}
    folder = Path(f"{number}_job")
    return Job(str(folder), folder, number, status, exit_code, reason, metrics or {}, tuple(objective), own)
