"""The index of the course has every lab sheet once, and every question that can be run has a sheet."""

import re
from pathlib import Path

import pytest
import shipped

from gradlab.build import options

COURSE = Path(__file__).parent.parent / "experiments"
INDEX = (COURSE / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^(\d+)\. \[(\w+)\]\((\w+)/README\.md\): (.+)$", INDEX, re.MULTILINE)
NO_SHEET: dict[str, str] = {
    "check": "a tool for a model of one's own",
    "logistic": "a plain run on which others build",
}
ASKS = ("study", "check", "precision")


def folders():
    return {path.parent.name for path in COURSE.glob("*/README.md")}


def test_the_index_and_the_folders_are_the_same():
    assert {name for _, name, _ in (line[:3] for line in LINES)} == folders()


def test_each_sheet_stands_once_and_the_numbers_go_on():
    names = [name for _, name, _, _ in LINES]
    assert len(set(names)) == len(names)
    assert [int(number) for number, *_ in LINES] == list(range(1, len(LINES) + 1))


@pytest.mark.parametrize(("number", "name", "target", "question"), LINES, ids=[line[1] for line in LINES])
def test_a_line_names_its_folder_and_asks(number, name, target, question):
    assert name == target
    assert question.endswith("?")


def test_all_lines_of_the_index_are_understood():
    assert len(LINES) == len(re.findall(r"^\d+\. ", INDEX, re.MULTILINE))


@pytest.mark.parametrize("experiment", [name for name in options("experiment") if name not in NO_SHEET])
def test_every_experiment_has_a_sheet(experiment):
    assert experiment in folders()


def test_exceptions_are_real():
    for name in NO_SHEET:
        assert name in options("experiment")
        assert name not in folders()


def test_every_sheet_is_about_the_experiment_of_its_name():
    for path in COURSE.glob("*/README.md"):
        assert path.parent.name in options("experiment")
        assert f"python -m gradlab experiment={path.parent.name}" in path.read_text(encoding="utf-8")


def test_sheets_link_to_sheets_that_exist():
    for path in COURSE.glob("*/README.md"):
        for target in re.findall(r"\]\(([^)]+\.md)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).is_file(), f"{path.parent.name} links to {target}"


def test_a_study_has_a_name_of_its_own():
    names = [shipped.load("experiment", name).name for name in options("experiment")]
    assert names == options("experiment")
