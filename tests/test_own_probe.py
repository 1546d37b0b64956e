"""The README's probe, as it stands there, in a folder of a stranger."""

import re
import sys
from pathlib import Path

import pytest
import torch

import gradlab
from gradlab.cli import main
from gradlab.sinks import MemorySink

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## A probe of your own\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE).group(1)


def block(language):
    (text,) = re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    return text


@pytest.fixture
def folder(tmp_path, monkeypatch, quiet_lightning):
    (tmp_path / "my_probes.py").write_text(block("python"))
    (tmp_path / "my_configs" / "probes").mkdir(parents=True)
    (tmp_path / "my_configs" / "probes" / "dead.yaml").write_text(block("yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_probes", raising=False)  # CONTRIBUTING has one of that name too
    yield tmp_path
    sys.modules.pop("my_probes", None)


def test_it_is_short():
    assert len(block("python").splitlines()) < 40


def test_from_the_shell(folder):
    words = re.search(r"python -m gradlab (.*)", block("sh")).group(1).replace("'", "").split()
    assert main([*words, "trainer.max_steps=11", f"hydra.run.dir={folder}/run"]) == 0
    columns = gradlab.load(folder / "run").scalars("dead/")
    assert sorted(set(columns["tag"])) == ["dead/0.weight/fraction", "dead/2.weight/fraction", "dead/4.weight/fraction"]
    assert sorted(set(columns["step"])) == [0, 5, 10]


def test_it_counts_dead_units(folder):
    space = {}
    exec(block("python"), space)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    with torch.no_grad():
        model[0].bias[:3] = -100.0  # three of four units never reach above zero
        model[0].bias[3] = 100.0
    memory = MemorySink()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with (
        gradlab.watch(model, optimizer, folder, probes={"dead": space["DeadUnits"]()}, sinks=[memory]) as lab,
        lab.step(),
    ):
        model(torch.ones(5, 3)).sum().backward()
        optimizer.step()
    assert memory.scalars("dead/0.weight")["dead/0.weight/fraction"][1].tolist() == [0.75]
