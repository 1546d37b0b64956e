"""The command line: Hydra's entry point, wrapped so that every end has its exit code and bad input one message.

Hydra by itself exits with 1, or prints a traceback, for whatever is wrong with a config. Here its errors are caught
and said in one message (with a traceback only where HYDRA_FULL_ERROR=1 asks for it), and the process exits with
0 agree · 1 an error inside · 2 bad input · 3 a disagreement · 4 a non-finite loss or gradient · 130 interrupted.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from gradlab.errors import EXIT_CODES

FULL_ERROR = "HYDRA_FULL_ERROR"
OTHER_JOB = {"experiment", "loss", "model", "data"}  # whoever chooses one of these has left the main job


def main(arguments: list[str]) -> int:
    """Runs what the arguments say and returns the exit code."""
    asked = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"  # Hydra then hands its errors on, instead of exiting with 1 itself
    try:
        return _run(arguments, wants_traceback=asked == "1")
    finally:
        os.environ.pop(FULL_ERROR)
        if asked is not None:
            os.environ[FULL_ERROR] = asked


def _run(arguments: list[str], wants_traceback: bool) -> int:
    def report(error: BaseException) -> int:
        from gradlab.messages import explain

        if wants_traceback:
            traceback.print_exception(error)
        message, code = explain(error, arguments)
        print(f"gradlab: {message}", file=sys.stderr)
        return code

    codes: list[int] = []
    try:
        _hydra(_with_main_job(arguments), codes, report)
    except SystemExit as end:  # argparse: --help, or an unknown flag
        return EXIT_CODES["bad input"] if end.code not in (0, None) else 0
    except BaseException as error:
        return report(error)
    return next((code for code in codes if code), 0)


def _with_main_job(arguments: list[str]) -> list[str]:
    """Bare ``python -m gradlab`` is ``experiment=backprop``, also with values set: ``trainer.max_steps=50``."""
    chosen = {a.lstrip("+~").partition("=")[0] for a in arguments}
    return arguments if chosen & OTHER_JOB else [*arguments, "experiment=backprop"]


def _hydra(arguments: list[str], codes: list[int], report: Callable[[BaseException], int]) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    from gradlab.build import config_folder

    def job(cfg: DictConfig) -> float:
        """A job never raises: the others of a sweep go on, and the exit code tells."""
        from gradlab.experiment import run
        from gradlab.report import read_summary

        _quieten_lightning()
        try:
            objective = run(cfg)
            codes.append(read_summary(Path(HydraConfig.get().runtime.output_dir))["exit_code"])
            return objective
        except Exception as error:
            codes.append(report(error))
            return math.nan

    program, sys.argv = sys.argv, [sys.argv[0], *arguments]  # Hydra takes its arguments from there only
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(job)()
    finally:
        sys.argv = program


def _quieten_lightning() -> None:
    """Lightning's notes about devices and its own deprecations are not what a run is about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
