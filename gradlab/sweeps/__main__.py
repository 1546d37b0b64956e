"""A sweep's answer again: the table, ``sweep.csv`` and the figures, made from the folder as it is now.

    python -m gradlab.sweeps FOLDER

The process exits as the sweep did: with the code of the first job that did not end well, else 0; with 2 and one
message where FOLDER holds no sweep.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from gradlab.errors import EXIT_CODES, BadInput
from gradlab.sweeps.answer import answer
from gradlab.sweeps.jobs import jobs_of


def main(arguments: list[str]) -> int:
    """Answers for the folder that the arguments name.

    Example:
        >>> main(["no/such/folder"])
        2
    """
    parser = argparse.ArgumentParser(prog="python -m gradlab.sweeps", description="Prints a sweep's table again.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a sweep, such as runs/backprop/<time>")
    try:
        folder = parser.parse_args(arguments).folder
    except SystemExit as end:  # --help, or a flag that does not exist: argparse has said what there is to say
        return EXIT_CODES["bad input"] if end.code else 0
    try:
        if not folder.is_dir():
            raise BadInput(f"{folder} is no folder: give that of a sweep, such as runs/backprop/<time>")
        if not jobs_of(folder):
            raise BadInput(f"no job of a sweep lies in {folder}: give the folder of a sweep, not that of a single run")
        return answer(folder, Console())
    except (BadInput, OSError) as error:
        print(f"gradlab: {error}", file=sys.stderr)
        return EXIT_CODES["bad input"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
