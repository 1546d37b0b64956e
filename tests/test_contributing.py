"""CONTRIBUTING.md as it stands: its files, in a folder of a stranger, and its commands."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_lab_sheets as sheets
import torch

import gradlab
from gradlab.backprop import RULES, Family, MissingRuleError, Tape
from gradlab.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def files():
    """Each file of the page by its path: the first block after ``In `path```."""
    found = {}
    for opening in re.finditer(r"^In `([\w./]+)`", PAGE, re.MULTILINE):
        block = re.compile(r"^(`{3,})\w+\n(.*?)^\1$", re.DOTALL | re.MULTILINE).search(PAGE, opening.end())
        found[opening.group(1)] = block.group(2)
    return found


def commands():
    """Each ``python -m gradlab`` of the page's own blocks, without that beginning."""
    own = re.sub(r"^````.*?^````$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^```sh\npython -m gradlab (.+)\n```", own, re.MULTILINE)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stranger")
    for path, text in files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def here(stranger, monkeypatch, quiet_lightning):
    monkeypatch.chdir(stranger)
    monkeypatch.syspath_prepend(str(stranger))
    return stranger


def run(command, folder):
    """The metrics of a command of the page, which has to end well."""
    words = [*shlex.split(command), "trainer.enable_progress_bar=false", f"hydra.run.dir={folder}"]
    assert main(words) == 0
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "agree"
    return summary["metrics"]


def the_command(word):
    (command,) = [c for c in commands() if word in shlex.split(c)]
    return command


def test_every_example_is_there():
    assert list(files()) == [
        "my_losses.py",
        "my_configs/loss/camel.yaml",
        "my_optimizers.py",
        "my_configs/optimizer/lion.yaml",
        "my_probes.py",
        "my_configs/probes/shares.yaml",
        "my_rules.py",
        "my_configs/experiment/camel.yaml",
        "experiments/camel/README.md",
    ]
    assert len(commands()) == 4


def test_the_loss_descends_and_has_its_closed_form(here, tmp_path):
    metrics = run(the_command("loss=camel"), tmp_path / "run")
    assert metrics["steps_compared"] == 100
    camel = importlib.import_module("my_losses").Camel()
    x, y = 1.3, -0.4
    expected = [4 * x - 4.2 * x**3 + x**5 + y, x + 2 * y]
    assert camel.gradient_at([x, y]) == pytest.approx(expected, rel=1e-12)
    assert camel(torch.tensor(camel.minimizers[0])).item() == camel.minimum


def test_the_optimizer_descends_and_does_what_its_formula_says(here, tmp_path):
    run(the_command("optimizer=lion"), tmp_path / "run")
    theta = torch.nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
    optimizer = importlib.import_module("my_optimizers").Lion([theta], lr=0.5)
    # m = 0.01·g₁ after the first step; then 0.9·m + 0.1·g₂ has the sign of 0.009·g₁ + 0.1·g₂.
    for gradient, expected in (([4.0, -1.0], [0.5, 1.5]), ([-0.1, -1.0], [0.0, 2.0])):
        theta.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        assert theta.tolist() == expected


def test_the_probes_shares_sum_to_one(here, tmp_path):
    run(the_command("probes=[agreement,shares]"), tmp_path / "run")
    columns = gradlab.load(tmp_path / "run").scalars("share/")
    steps, values = np.asarray(columns["step"]), np.asarray(columns["value"])
    assert sorted(set(steps)) == [0, 5, 10, 15]
    assert len(set(columns["tag"])) == 6
    for step in set(steps):
        assert values[steps == step].sum() == pytest.approx(1.0, rel=1e-6)


def test_the_rule_is_right_and_needed(here):
    mine = importlib.import_module("my_rules")
    x = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)
    torch.testing.assert_close(mine.by_hand(x), 2 * x, rtol=1e-14, atol=0)
    torch.testing.assert_close(mine.by_differences(x), 2 * x, rtol=1e-8, atol=0)
    with torch.no_grad(), Tape() as tape:
        loss = mine.smooth_abs(x).sum()
    with pytest.raises(MissingRuleError, match=r"mine\.smooth_abs"):
        tape.backward(loss)


def test_a_wrong_rule_differs_from_the_differences(here, monkeypatch):
    mine = importlib.import_module("my_rules")
    wrong = Family()
    wrong.pointwise(torch.ops.mine.smooth_abs.default, "y = √(x² + 1)", "x", reads="y x")(lambda y, x: x)
    monkeypatch.setattr(mine, "MINE", wrong)
    x = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)
    assert not torch.allclose(mine.by_hand(x), mine.by_differences(x), rtol=1e-3)
    assert not set(wrong) & set(RULES)


def test_the_rules_file_prints_both(here):
    printed = subprocess.run([sys.executable, "my_rules.py"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"\[-4\.0000, +1\.0000\]", printed) == ["[-4.0000,  1.0000]"] * 2


def test_the_experiment_finds_what_its_sheet_says(here, tmp_path):
    sheet = files()["experiments/camel/README.md"]
    places = [sheet.find(part) for part in sheets.PARTS]
    assert min(places) > 0
    assert places == sorted(places)
    (command,) = [c for c in commands() if shlex.split(c)[-1] == "experiment=camel"]
    assert sheets.command_of(sheet) == shlex.split(command)
    assert main([*shlex.split(command), f"hydra.run.dir={tmp_path}/run"]) == 0
    numbers = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))["metrics"]
    claims = sheets.claims_of(sheet)
    assert len(claims) == 3
    for name, claim in claims.items():
        assert sheets.is_true(claim, numbers[name]), (name, claim, numbers[name])
    assert {"losses.png", "paths.png"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_the_sheets_theory_is_its_number():
    """∂f/∂y = 0 gives y = −x/2, and then ∂f/∂x = 0 gives x⁴ − 4.2x² + 3.5 = 0."""
    x = np.sqrt(2.1 + np.sqrt(0.91))
    y = -x / 2
    assert 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2 == pytest.approx(0.2986, abs=5e-5)
    assert np.hypot(x, y) == pytest.approx(1.954, abs=5e-4)


@pytest.mark.parametrize(
    "command", re.findall(r"^- .*`python -m gradlab (.+?)`", files()["experiments/camel/README.md"], re.M)
)
def test_what_it_says_to_try_next_works(here, tmp_path, command):
    assert main([*shlex.split(command), "trainer.max_steps=20", f"hydra.run.dir={tmp_path}/run"]) == 0


def test_every_path_that_it_names_is_there():
    for path in re.findall(r"`((?:gradlab|tests|configs)/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path
