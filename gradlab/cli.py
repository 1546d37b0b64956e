"""The command line: Hydra's entry point, wrapped so that every end has its exit code and bad input one message.

Hydra by itself exits with 1, or prints a traceback, for whatever is wrong with a config. Here its errors are caught
and said in one message (with a traceback only where HYDRA_FULL_ERROR=1 asks for it), and the process exits with
0 agree · 1 an error inside · 2 bad input · 3 a disagreement · 4 a non-finite loss or gradient · 130 interrupted.
"""

from __future__ import annotations

import os
import sys

from gradlab.errors import EXIT_CODES
from gradlab.sweeps.command import CURRENT, Command, Refused

FULL_ERROR = "HYDRA_FULL_ERROR"
OTHER_JOB = {"experiment", "loss", "model", "data"}  # whoever chooses one of these has left the main job


def main(arguments: list[str]) -> int:
    """Runs what the arguments say and returns the exit code."""
    asked = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"  # Hydra then hands its errors on, instead of exiting with 1 itself
    command = Command(list(arguments), wants_traceback=asked == "1")
    token = CURRENT.set(command)
    try:
        code = _run(command)
        return code if command.sweep is None else _end_sweep(command, code)
    finally:
        CURRENT.reset(token)
        os.environ.pop(FULL_ERROR)
        if asked is not None:
            os.environ[FULL_ERROR] = asked


def _run(command: Command) -> int:
    try:
        _prepare(command)
        _hydra(command.arguments)
    except SystemExit as end:  # argparse: --help, or an unknown flag
        return EXIT_CODES["bad input"] if end.code not in (0, None) else 0
    except Refused as refusal:
        return command.report(refusal.error)
    except BaseException as error:
        return command.report(error)
    return command.code


def _prepare(command: Command) -> None:
    if any(argument.startswith("sweep.resume=") for argument in command.arguments):
        from gradlab.sweeps.resume import resumed  # Hydra is slow to import, and --help does without

        command.arguments, command.resumes = resumed(command.arguments), True
    else:
        command.arguments = _with_main_job(command.arguments)


def _with_main_job(arguments: list[str]) -> list[str]:
    """Bare ``python -m gradlab`` is ``experiment=backprop``, also with values set: ``trainer.max_steps=50``."""
    chosen = {a.lstrip("+~").partition("=")[0] for a in arguments}
    return arguments if chosen & OTHER_JOB else [*arguments, "experiment=backprop"]


def _hydra(arguments: list[str]) -> None:
    import hydra

    from gradlab.build import config_folder
    from gradlab.sweeps.job import job

    program, sys.argv = sys.argv, [sys.argv[0], *arguments]  # Hydra takes its arguments from there only
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(job)()
    finally:
        sys.argv = program


def _end_sweep(command: Command, code: int) -> int:
    """The answer of a sweep for what there is, however it ended; of one that began no job, nothing is left."""
    from rich.console import Console

    from gradlab.sweeps.answer import answer
    from gradlab.sweeps.folder import give_up, has_begun

    assert command.sweep is not None
    if not has_begun(command.sweep):
        if not command.resumes:
            give_up(command.sweep)
        return code
    try:
        answered = answer(command.sweep, Console())
    except Exception as error:
        answered = command.report(error)
    return code if code == EXIT_CODES["interrupted"] else answered or code
