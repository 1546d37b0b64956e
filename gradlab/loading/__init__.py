"""Reading back what a run wrote: event files into records, records into tables.

| file | what it does |
|---|---|
| folders | finds the runs below a folder |
| frames | takes an event file apart, and checks every checksum |
| contents | sorts one file's values by type and tag |
| run | puts the files of one run together, also those of a run that was resumed |
| tables | columns with one row a point |
| records | `Records`: all of it, for one run or for a sweep |

The public name is `gradlab.load`. The package cannot have that name too: once it was imported, it would stand where
the function is.
"""

from __future__ import annotations

import os

from gradlab.loading.folders import find_runs
from gradlab.loading.records import Records
from gradlab.loading.run import Run, read_run

__all__ = ["Records", "Run", "load"]


def load(folder: str | os.PathLike[str]) -> Records:
    """Read back the records of a run, or of every run of a sweep.

    Args:
        folder: the folder of one run, or one with runs somewhere below it. Every folder with an event file is a run.

    Returns:
        The records. A single run is named after its folder; runs below the folder by their path from there, such as
        ``optimizer.lr=0.1``; the folder itself, where it is a run beside others, ``.``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is a file, or holds no event file.
        OSError: a folder or a file cannot be read.

    Warns:
        UserWarning: a file is damaged; it was read up to there. A file that merely breaks off, as when a run was
            killed or goes on, is read up to its last whole event, without a warning.

    Example:
        >>> import tempfile
        >>> from gradlab.records import Scalar
        >>> from gradlab.sinks.tensorboard import TensorBoardSink
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = TensorBoardSink(folder + "/mine")
        ...     sink.write([Scalar("loss/train", 0, 2.5), Scalar("loss/train", 1, 1.5)])
        ...     sink.close()
        ...     records = load(folder)
        >>> records.runs, records.scalars("loss/")["value"].tolist()
        (['mine'], [2.5, 1.5])
    """
    return Records({name: read_run(path) for name, path in find_runs(folder).items()})
