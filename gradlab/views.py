"""Figures of a run that has ended, or that goes on, drawn from its event files.

    python -m gradlab.views RUN [--out FOLDER]

RUN is the folder of a run, or one with runs below it, as of a sweep. Every figure that the records allow becomes a
PNG file in the run's folder, or in FOLDER (in a folder of its own for each run there, if there are several). The
process exits with 0, or with 2 and one message where nothing can be drawn.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from gradlab.errors import EXIT_CODES, BadInput
from gradlab.figures import draw, png
from gradlab.files import write_whole
from gradlab.loading import Records, load


def main(arguments: list[str]) -> int:
    """Draws what the arguments say, prints one line a file, and returns the exit code.

    Example:
        >>> main(["no/such/folder"])
        2
    """
    parser = argparse.ArgumentParser(prog="python -m gradlab.views", description="Draws a run's figures as PNG files.")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run, or one with runs below it")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: the run's own folder)")
    try:
        chosen = parser.parse_args(arguments)
    except SystemExit as end:  # --help, or a flag that does not exist: argparse has said what there is to say
        return EXIT_CODES["bad input"] if end.code else 0
    try:
        for path in draw_runs(chosen.run, chosen.out):
            print(path, flush=True)
    except (ValueError, OSError) as error:
        print(f"gradlab: {error}", file=sys.stderr)
        return EXIT_CODES["bad input"]
    except KeyboardInterrupt:
        print("gradlab: interrupted; the files named above are whole", file=sys.stderr)
        return EXIT_CODES["interrupted"]
    return 0


def draw_runs(folder: Path, out: Path | None = None) -> Iterator[Path]:
    """Draws every figure of every run below a folder.

    Args:
        folder: of a run, or with runs below it.
        out: where the files go; None for each run's own folder.

    Yields:
        Each file, when it is whole.

    Raises:
        BadInput: no run has records that a figure can be drawn from.
        ValueError, FileNotFoundError: as `gradlab.load`.
        OSError: a file cannot be written.
    """
    records = _load(folder)
    is_empty = True
    for run in records.runs:
        own = out if out is None or len(records.runs) == 1 else out / run
        for path in _draw_run(records, run, records.folder(run) if own is None else own):
            is_empty = False
            yield path
    if is_empty:
        raise BadInput(
            f"nothing in {folder} can be drawn: a figure needs records of gradlab, at least the loss (loss/train); "
            "watch the run with gradlab's probes, or with GradientLabCallback"
        )


def _load(folder: Path) -> Records:
    """The records; a damaged file is one line, without the place in the source that Python adds to a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = load(folder)
    for warning in caught:
        print(f"gradlab: {warning.message}", file=sys.stderr)
    return records


def _draw_run(records: Records, run: str, folder: Path) -> Iterator[Path]:
    memory = records.memory(run)
    loss = memory.hparams.settings.get("loss", "loss") if memory.hparams is not None else "loss"
    for name, figure in draw(memory, loss_name=str(loss)).items():
        folder.mkdir(parents=True, exist_ok=True)
        yield write_whole(folder / f"{name}.png", png(figure))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
