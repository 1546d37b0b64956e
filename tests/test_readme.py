"""What the README says about the rules is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradlab.build import options

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


def test_shows_rules():
    assert len(_examples()) == 2


@pytest.mark.parametrize("example", _examples(), ids=lambda example: re.search(r"def (\w+)", example).group(1))
def test_shows_rules_as_they_stand(example):
    assert any(example in path.read_text(encoding="utf-8") for path in RULES)
