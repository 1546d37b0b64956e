"""``sweep.resume=FOLDER``: the command line of an earlier sweep, from what its folder says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gradlab.errors import BadInput
from gradlab.sweeps.folder import RECORD
from gradlab.sweeps.overrides import key_of, quoted

RESUME = "sweep.resume"
OURS = ("hydra.mode", "hydra.sweep.dir")  # set anew each time
THE_SWEEP = ("hydra.sweep.", "hydra/sweeper", *(f"hydra.sweeper.{k}" for k in ("params", "search_space", "direction")))
FLAGS_WITH_VALUE = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p")


def resumed(arguments: Sequence[str]) -> list[str]:
    """The arguments that go on with the sweep which ``sweep.resume=…`` names.

    Args:
        arguments: of the command line. Beside the folder they may choose how the jobs are run (``hydra/launcher=…``,
            ``hydra.launcher.…``, ``hydra.sweeper.n_trials=…``), but not what they do.

    Raises:
        BadInput: there is no such sweep, or an argument contradicts it.
    """
    named = [a for a in arguments if key_of(a) == RESUME]
    folder = Path(named[-1].partition("=")[2].strip("'\"")).expanduser().absolute()
    record = _Record.of(folder)
    flags, overrides = _split([a for a in arguments if a not in named])
    for override in overrides:
        _check(override, record, folder)
    given = [o for o in overrides if _is_hydra(o)]
    return [
        "--multirun",
        *(flags if any(flag.startswith(("--config-dir", "-cd")) for flag in flags) else [*record.flags, *flags]),
        *record.task,
        *_without(record.hydra, given),
        *given,
        f"hydra.sweep.dir={quoted(str(folder))}",
    ]


@dataclass(frozen=True, slots=True)
class _Record:
    """What a sweep was asked for."""

    task: list[str]
    hydra: list[str]
    flags: list[str]

    @classmethod
    def of(cls, folder: Path) -> _Record:
        try:
            hydra: Any = yaml.safe_load((folder / RECORD).read_text("utf-8"))["hydra"]
            task, own = hydra["overrides"]["task"], hydra["overrides"]["hydra"]
            places = [s["path"] for s in hydra["runtime"]["config_sources"] if s["provider"] == "command-line"]
        except (FileNotFoundError, NotADirectoryError):
            raise BadInput(f"sweep.resume={folder}: it holds no sweep: {_choices(folder)}") from None
        except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
            raise BadInput(f"sweep.resume={folder}: its {RECORD} cannot be read ({type(error).__name__})") from error
        return cls(
            [str(o) for o in task],
            [str(o) for o in own if key_of(str(o)) not in OURS],
            [argument for place in places[:1] for argument in ("--config-dir", place)],
        )


def _choices(folder: Path) -> str:
    """The sweeps that lie near."""
    near = sorted({*folder.parent.glob(f"*/{RECORD}"), *Path("runs").glob(f"*/*/{RECORD}")})
    found = [str(path.parent) for path in near[-3:]]
    return f"give the folder of one, such as {', '.join(found)}" if found else "give the folder of one (runs/NAME/TIME)"


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, without the one for sweeps; and overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    rest: Iterator[str] = iter(arguments)
    for argument in rest:
        if argument in ("-m", "--multirun"):
            continue
        if argument in FLAGS_WITH_VALUE:
            flags += [argument, next(rest, "")]
        else:
            (flags if argument.startswith("-") else overrides).append(argument)
    return flags, overrides


def _check(override: str, record: _Record, folder: Path) -> None:
    if override in (*record.task, *record.hydra):
        return
    key = key_of(override)
    if not _is_hydra(override) or key in OURS or key.startswith(THE_SWEEP):
        raise BadInput(
            f"{override} contradicts sweep.resume={folder}, which runs what is missing of the sweep that began with "
            f"{' '.join(record.task)}: leave it out, or begin another sweep"
        )


def _is_hydra(override: str) -> bool:
    return key_of(override).startswith(("hydra.", "hydra/"))


def _without(recorded: Sequence[str], given: Sequence[str]) -> list[str]:
    """The recorded settings that are not replaced; another launcher has other settings."""
    keys = {key_of(override) for override in given}
    others = {key for key in map(key_of, recorded) if "hydra/launcher" in keys and key.startswith("hydra.launcher.")}
    return [override for override in recorded if key_of(override) not in keys | others]
