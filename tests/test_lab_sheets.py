"""Every lab sheet is run as it stands: its command works, its pictures come of it, and its numbers are true."""

import json
import math
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gradlab.build import config_folder
from gradlab.cli import main

COURSE = Path(__file__).parent.parent / "experiments"
SHEETS = sorted(COURSE.glob("*/README.md"))
PARTS = ("**Question.**", "**Predict.**", "**Run.**", "**Look at.**", "**Finding.**", "**Try next.**")
NEAR = 3.0  # the factor that "≈" allows


def command_of(sheet: str) -> list[str]:
    (command,) = re.findall(r"\*\*Run\.\*\*\n+```sh\npython -m gradlab (.+)\n```", sheet)
    return shlex.split(command)


def tries_of(sheet: str) -> list[list[str]]:
    commands = re.findall(r"`python -m gradlab ([^`]+)`", sheet.partition(PARTS[-1])[2])
    return [shlex.split(command) for command in commands]


def claims_of(sheet: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|$", sheet, re.MULTILINE))


def is_true(claim: str, value: float) -> bool:
    """Whether a claim holds: ``0.964`` (to its last digit), ``≈ 6e-9`` (to a factor of 3), ``< 1e-8``, ``> 2``."""
    sign, text = re.fullmatch(r"([≈<>]?) ?(.+)", claim.replace("−", "-").replace(",", "")).groups()
    said = float(text)
    if sign == "<":
        return value < said
    if sign == ">":
        return value > said
    if sign == "≈":
        return said * value > 0 and 1 / NEAR <= value / said <= NEAR
    if math.isnan(said) or math.isinf(said):
        return value == said or (math.isnan(said) and math.isnan(value))
    mantissa, _, exponent = text.partition("e")
    last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(value - said) <= 0.5 * last * (1 + 1e-9)


@pytest.fixture(scope="module", params=SHEETS, ids=lambda path: path.parent.name)
def sheet(request):
    return request.param.parent, request.param.read_text(encoding="utf-8")


def test_the_sheet_is_whole(sheet):
    folder, text = sheet
    places = [text.find(part) for part in PARTS]
    assert min(places) > 0
    assert places == sorted(places)
    assert claims_of(text), "the finding has no table of numbers"
    assert len(re.findall(r"^- ", text.partition(PARTS[-1])[2], re.MULTILINE)) == 2
    pictures = re.findall(r"!\[(.+?)\]\(([\w.]+)\)", text)
    assert pictures
    assert all((folder / name).is_file() for _, name in pictures)


def test_the_command_makes_what_the_sheet_says(sheet, tmp_path):
    folder, text = sheet
    run = tmp_path / "run"
    expected = 0
    assert main([*command_of(text), f"hydra.run.dir={run}", *quietly(text)]) == expected
    made = json.loads((run / "summary.json").read_text(encoding="utf-8"))["metrics"]
    for name, claim in claims_of(text).items():
        assert name in made, f"{folder.name} has no number {name!r}: there are {', '.join(made)}"
        assert is_true(claim, float(made[name])), f"{folder.name}: {name} is {made[name]}, the sheet says {claim}"
    for _, name in re.findall(r"!\[(.+?)\]\(([\w.]+)\)", text):
        assert (run / name).is_file(), f"{folder.name} shows {name}, which its command does not make"


def test_what_to_try_next_is_read_as_it_stands(sheet):
    folder, text = sheet
    tries = tries_of(text)
    assert len(tries) >= 2
    for arguments in tries:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("config", arguments)
        if config.get("study") is not None:
            assert callable(instantiate(config.study, _convert_="all")), f"{folder.name}: {arguments}"


def quietly(text: str) -> list[str]:
    return ["trainer.enable_progress_bar=false"] if "<!-- a single run -->" in text else []


@pytest.mark.parametrize(
    ("claim", "value", "holds"),
    [
        ("0.964", 0.9639, True),
        ("0.964", 0.9629, False),
        ("−1", -1.0000001, True),
        ("1,500", 1500.4, True),
        ("1,500", 1501.0, False),
        ("≈ 6e-9", 1.5e-8, True),
        ("≈ 6e-9", 2e-8, False),
        ("≈ 6e-9", -6e-9, False),
        ("< 1e-8", 1e-9, True),
        ("< 1e-8", math.nan, False),
        ("> 2", 1.9, False),
        ("1.25e-3", 0.001254, True),
        ("1.25e-3", 0.001256, False),
        ("inf", math.inf, True),
    ],
)
def test_a_claim_that_is_false_is_noticed(claim, value, holds):
    assert is_true(claim, value) is holds
