"""Errors in the words of a person who wants to mend them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gradlab.backprop import TapeError
from gradlab.build import config_folder
from gradlab.errors import EXIT_CODES, BadInput

EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm", "optuna": "optuna"}


def explain(error: BaseException, arguments: list[str]) -> tuple[str, int]:
    """One message (what, why, what to do, the valid options) and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", EXIT_CODES["interrupted"]
    if isinstance(error, (BadInput, TapeError)):
        return str(error), EXIT_CODES["bad input"]
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _about_config("\n".join(_chain(error)), arguments), EXIT_CODES["bad input"]
    if isinstance(error, OSError):
        advice = (
            "choose a folder that can be written, with hydra.run.dir=FOLDER, of a sweep with hydra.sweep.dir=FOLDER"
        )
        return f"{error}: {advice}", EXIT_CODES["bad input"]
    if "No trials are completed" in str(error):  # Optuna's, at the end of a study
        return "no trial came to a finite objective: the table says why", EXIT_CODES["error"]
    return f"{type(error).__name__}: {error} (HYDRA_FULL_ERROR=1 shows where)", EXIT_CODES["error"]


def _chain(error: BaseException | None) -> Iterator[str]:
    """What an error says, and what its causes say."""
    while error is not None:
        yield str(error)
        error = error.__cause__


def _about_config(text: str, arguments: list[str]) -> str:
    unknown = re.search(r"full_key: (\S+)", text) or re.search(r"Could not override '([^']+)'", text)
    if unknown and "not in struct" in text:
        return _unknown_key(unknown.group(1), arguments)
    if "override_grammar" in text and (bare := next(filter(_is_bare, arguments), None)):
        key, _, value = bare.partition("=")
        return f"cannot read {bare}: a value with parentheses has quotes of its own, as in '{key}=\"{value}\"'"
    absent = re.search(r"Could not find 'hydra/(launcher|sweeper)/(\w+)'", text)
    if absent and absent[2] in EXTRAS:
        return f"hydra/{absent[1]}={absent[2]} is an extra: pip install 'gradlab-torch[{EXTRAS[absent[2]]}]'"
    text = text.partition("Config search path")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    options = [line for line in text.splitlines() if line.startswith("\t")]
    if options:  # Hydra lists the options of a group, one a line
        names = [line.strip() for line in options]
        head = [line for line in lines if line not in names]
        return f"{' '.join(head)} {', '.join(names)}"
    return " ".join(lines)


def _is_bare(argument: str) -> bool:
    """Whether an override has parentheses, which Hydra takes for its own functions, and no quotes around them."""
    value = argument.partition("=")[2]
    return "(" in value and not re.search("[\"']", value)


def _unknown_key(key: str, arguments: list[str]) -> str:
    """Says which keys there are instead of a misspelt one."""
    parent, _, name = key.rpartition(".")
    known = _keys(parent, [a for a in arguments if not a.lstrip("+~").startswith(f"{key}=")])
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" Did you mean {f'{parent}.' if parent else ''}{close[0]}?" if close else ""
    where = parent or "the top level"
    valid = f" The keys of {where}: {', '.join(known)}." if known else ""
    return f"there is no setting {key}.{meant}{valid} To add a new key, put a + before it: +{key}=…"


def _keys(parent: str, arguments: list[str]) -> list[str]:
    """The keys of one part of the config that the other arguments choose."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            cfg = compose("config", [a for a in arguments if not a.startswith("-") and "," not in a])
        part = OmegaConf.select(cfg, parent) if parent else cfg
        return [str(k) for k in part if not str(k).startswith("_")] if isinstance(part, DictConfig) else []
    except (HydraException, OmegaConfBaseException):
        return []  # something else is wrong too: the message does without a list
