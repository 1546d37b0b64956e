"""Figures into files, and into records for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from gradlab.figures import draw, png
from gradlab.files import write_whole
from gradlab.records import Figure, Record
from gradlab.sinks import MemorySink


def save_all(
    memory: MemorySink, folder: Path, step: int, loss_name: str = "loss", tolerance: float | None = None
) -> list[Record]:
    """Draws every figure that the records allow, and writes each as a PNG file.

    Args:
        memory: the records of a run.
        folder: where ``<name>.png`` goes.
        step: the step under which TensorBoard shows the figures.
        loss_name, tolerance: as in `gradlab.figures.draw`.

    Returns:
        The same pictures as records.
    """
    records: list[Record] = []
    for name, figure in draw(memory, loss_name=loss_name, tolerance=tolerance).items():
        picture = png(figure)
        write_whole(folder / f"{name}.png", picture)
        records.append(Figure(f"figure/{name}", step, picture))
    return records
