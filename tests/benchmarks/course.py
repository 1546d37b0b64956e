"""How long the course takes: the command of every lab sheet as it stands, each in a process of its own.

    python tests/benchmarks/course.py            # all sheets
    python tests/benchmarks/course.py descent    # one of them

Prints the wall time of each in seconds, start of Python included, and their sum. Asked: 30 s for one, 6 minutes for
all.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COURSE = Path(__file__).parents[2] / "experiments"
ASKED_ONE, ASKED_ALL = 30.0, 360.0


def command_of(sheet: Path) -> list[str]:
    (command,) = re.findall(r"\*\*Run\.\*\*\n+```sh\npython (-m gradlab .+)\n```", sheet.read_text(encoding="utf-8"))
    return [sys.executable, *shlex.split(command)]


def main() -> None:
    chosen = sys.argv[1:] or sorted(path.parent.name for path in COURSE.glob("*/README.md"))
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            begin = time.perf_counter()
            subprocess.run(command_of(COURSE / name / "README.md"), cwd=folder, check=True, capture_output=True)
            took[name] = time.perf_counter() - begin
            print(f"{name:24} {took[name]:6.1f} s", flush=True)
    print(f"{'longest':24} {max(took.values()):6.1f} s (asked: {ASKED_ONE:.0f})")
    print(f"{'all':24} {sum(took.values()):6.1f} s (asked: {ASKED_ALL:.0f})")


if __name__ == "__main__":
    main()
