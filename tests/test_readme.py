"""What the README says about the rules is so."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gradlab.build import options
from gradlab.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REPORT = (ROOT / "CONFORMANCE.md").read_text(encoding="utf-8")
RULES = sorted((ROOT / "gradlab" / "backprop" / "rules").glob("*.py"))


def _section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE).group(1)


def _examples():
    return re.findall(r"```python\n(.*?)```", _section("The rules"), re.DOTALL)


@pytest.mark.parametrize("group", ["loss", "model", "optimizer", "data", "trainer", "probes"])
def test_lists_every_option(group):
    (listed,) = re.findall(rf"^\| `{group}` \| (.*?)(?:: `'.*)? \|$", README, re.MULTILINE)
    words = re.findall(r"\w+", listed.replace("by hand:", "").replace("or any of", ""))
    assert sorted(words) == options(group)


def test_quotes_the_figures_of_the_report():
    """The report's first paragraph, word for word; a test of its own holds that to what the rules do."""
    (summary,) = re.findall(r"^The handwritten rules agree .*$", REPORT, re.MULTILINE)
    assert summary in " ".join(_section("How far it reaches").split())


def test_says_how_the_report_is_made():
    (command,) = re.findall(r"This file is made by `(.*?)`", REPORT)
    assert command in README


def test_the_report_of_a_check_is_what_it_prints(tmp_path):
    section = _section(r"Are the gradients right\?")
    (example,) = re.findall(r"```python\n(import gradlab.*?)```", section, re.DOTALL)
    (shown,) = re.findall(r"```\n(input x.*?)```", section, re.DOTALL)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    run = [sys.executable, str(tmp_path / "example.py")]
    printed = subprocess.run(run, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    for line in shown.splitlines():
        assert line.partition(" ± ")[0] in printed  # the error's estimate depends on the processor


@pytest.mark.parametrize("place", [0, 1])
def test_populations_run_as_they_stand(place, tmp_path, monkeypatch, quiet_lightning):
    commands = re.findall(r"^python -m gradlab (.*)$", _section("Many at once"), re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    settings = [*shlex.split(commands[place]), "trainer.max_steps=2", "trainer.enable_progress_bar=false"]
    assert main(settings) == 0
    summary = json.loads(next(tmp_path.rglob("summary.json")).read_text())
    assert summary["metrics"]["members"] == [65_536, 4][place]


def test_shows_rules():
    assert len(_examples()) == 2


@pytest.mark.parametrize("example", _examples(), ids=lambda example: re.search(r"def (\w+)", example).group(1))
def test_shows_rules_as_they_stand(example):
    assert any(example in path.read_text(encoding="utf-8") for path in RULES)
