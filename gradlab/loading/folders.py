"""The runs below a folder."""

from __future__ import annotations

import os
from pathlib import Path

MARK = "tfevents"  # what TensorBoard, too, knows an event file by


def event_files(folder: Path) -> list[Path]:
    """The event files that lie in a folder, in the order in which TensorBoard reads them: that of their names.

    Example:
        >>> event_files(Path(__file__).parent)
        []
    """
    return sorted(path for path in folder.iterdir() if MARK in path.name and path.is_file())


def find_runs(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """The folders with event files, by the name of the run; see `gradlab.load` for the names and the errors.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a", "b"):
        ...         (Path(folder) / name).mkdir()
        ...         (Path(folder) / name / "events.out.tfevents.1").touch()
        ...     list(find_runs(folder))
        ['a', 'b']
    """
    top = Path(folder)
    if not top.exists():
        raise FileNotFoundError(f"there is no folder {top}: give the folder of a run, or one with runs below it")
    if not top.is_dir():
        raise ValueError(f"{top} is a file, and a run is a folder: give the folder that it lies in, {top.parent}")
    found = [Path(where) for where, _, names in os.walk(top, onerror=_refuse) if any(MARK in name for name in names)]
    if not found:
        raise ValueError(
            f"no event file (…{MARK}…) lies in {top} or below it, so there is nothing to read: give the folder that a "
            "run was written into, such as runs/<experiment>/<time>"
        )
    if found == [top]:
        # Not resolve(): a link such as `latest` is the name that the user gave.
        return {os.path.basename(os.path.abspath(top)) or ".": top}
    return {path.relative_to(top).as_posix(): path for path in sorted(found)}


def _refuse(error: OSError) -> None:
    """A folder that cannot be looked into may hold runs: leaving them out in silence would be wrong."""
    raise error
