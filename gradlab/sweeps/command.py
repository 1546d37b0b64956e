"""One command line and what has come of it. Hydra hands nothing through, so its callback and its jobs meet it here."""

from __future__ import annotations

import sys
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Command:
    """What the parts of one command have to tell each other.

    Args:
        arguments: those that Hydra gets.
        wants_traceback: whether errors are shown with one.
        resumes: whether it goes on with a sweep that an earlier command began.
        code: the exit code of a single run; of a sweep, 1 where its launcher failed.
        sweep: the folder of the sweep, once it has begun.
    """

    arguments: list[str]
    wants_traceback: bool = False
    resumes: bool = False
    code: int = 0
    sweep: Path | None = None

    def report(self, error: BaseException) -> int:
        """Says on stderr what is wrong, and returns the exit code that belongs to it."""
        from gradlab.messages import explain

        if self.wants_traceback:
            traceback.print_exception(error)
        message, code = explain(error, self.arguments)
        print(f"gradlab: {message}", file=sys.stderr)
        return code


CURRENT: ContextVar[Command | None] = ContextVar("gradlab_command", default=None)


class Refused(BaseException):
    """Ends a command from inside a callback, of which Hydra turns every ``Exception`` into a warning.

    Args:
        error: what is wrong.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
