"""What a study gets and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from gradlab.errors import BadInput
from gradlab.losses import Surface
from gradlab.records import Record
from gradlab.sinks import MemorySink

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended.

    Attributes:
        name: of the variant.
        status: how it ended, as in its ``summary.json``.
        metrics: what it came to, such as ``loss`` and ``steps``.
        memory: everything that was recorded.
        model, loss: its parts, after the last step.
        folder: where its files lie.
    """

    name: str
    status: str
    metrics: Mapping[str, float]
    memory: MemorySink
    model: nn.Module
    loss: nn.Module
    folder: Path

    def cell(self, metric: str, form: str) -> str:
        """A metric for a table, such as ``"0.975"`` for the form ``".3f"``; empty where the run has none."""
        return format(self.metrics[metric], form) if metric in self.metrics else ""


@dataclass(slots=True)
class Findings:
    """What a study has found.

    Attributes:
        numbers: by name; lab sheets quote them, ``summary.json`` keeps them, TensorBoard shows them.
        rows: a table for the terminal, the heading first; every cell a string.
        title: of the table.
        figures: by name; each becomes ``<name>.png`` and a picture in TensorBoard.
        files: further files by name, such as an animation.
        text: printed below the table.
        errors: of two witnesses to the same number, as relative errors by name; none may exceed ``tolerance``.
        tolerance: the largest that rounding explains.
        statuses: how the runs of the study ended.
        records: further records for its event file, such as those of the Gradlab tab.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    rows: list[Sequence[str]] = field(default_factory=list)
    title: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    text: str = ""
    errors: dict[str, float] = field(default_factory=dict)
    tolerance: float = 1e-7
    statuses: dict[str, str] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)


class Setting(Protocol):
    """What a study may use of the config that it runs in."""

    @property
    def surface(self) -> Surface:
        """The configured loss, where it is a surface.

        Raises:
            BadInput: it is none.
        """
        ...

    def parts(self) -> tuple[nn.Module, nn.Module | None, Any]:
        """A fresh model, the loss (None where none is chosen), and the data module."""
        ...

    def run(self, variants: Mapping[str, Sequence[str]]) -> list[Finished]:
        """Runs the configured descent once for each variant.

        Args:
            variants: a name, and overrides as one would write them on the command line: ``["optimizer.lr=0.1"]``.

        Returns:
            The runs, in the same order. Each has a folder, and an event file, of its own.
        """
        ...


def checked_variants(variants: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The variants of a study, in plain dictionaries and lists.

    Raises:
        BadInput: there are none.

    Example:
        >>> checked_variants({"slow": ("optimizer.lr=0.01",)})
        {'slow': ['optimizer.lr=0.01']}
    """
    if not variants:
        raise BadInput("study.variants is empty: give each variant a name and a list of overrides")
    return {name: list(overrides) for name, overrides in variants.items()}


class Study(Protocol):
    """Asks one question. Its arguments come from the config.

    One that works on the population of ``model.population`` says so by an attribute ``takes_population = True``.
    """

    def __call__(self, setting: Setting) -> Findings: ...
