"""``study=…`` as people call it from the shell: its runs, its numbers, and how it ends."""

import json
import sys

import pytest

import gradlab
from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.studies import Comparison

MINE = """
import torch

from gradlab.studies import Findings


class Doubting:
    def __init__(self, error=0.0, surface=False):
        self.error, self.surface = error, surface

    def __call__(self, setting):
        if self.surface:
            setting.surface
        return Findings(numbers={"answer": 42.0}, errors={"manual": self.error}, rows=[("what", "value"), ("a", "1")])


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return g


class Point(torch.nn.Module):
    def __init__(self, wrong=False):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.ones(2))
        self.wrong = wrong

    def forward(self, x):
        return Wrong.apply(self.theta) if self.wrong else 2 * self.theta
"""
YAML = """# @package _global_
defaults:
  - override /loss: quadratic
  - override /model: point
  - override /optimizer: sgd
  - override /data: none
  - override /trainer: cpu
  - override /probes: all
name: mine
trainer: {max_steps: 3}
study:
  _target_: gradlab.studies.Comparison
  variants: {slow: [optimizer.lr=0.01], other rule: [optimizer=adam]}
  metrics: [loss, distance]
  figures: [losses, paths]
"""
STUDY = ["loss=quadratic", "model=point", "optimizer=sgd", "data=none", "+study._target_=my_study.Doubting"]


@pytest.fixture
def here(tmp_path, monkeypatch, quiet_lightning):
    """An empty folder with a study, and an experiment, of the user's own."""
    (tmp_path / "my_study.py").write_text(MINE)
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_study", raising=False)
    return tmp_path


def run(here, *arguments):
    code = main([*arguments, "hydra.run.dir=out"])
    path = here / "out" / "summary.json"
    return code, json.loads(path.read_text()) if path.is_file() else {}


def mine(here, *arguments):
    return run(here, "--config-dir", "conf", "experiment=mine", *arguments)


def test_variants_are_runs_of_their_own(here, capsys):
    code, summary = mine(here)
    assert (code, summary["status"]) == (0, "agree")
    assert {*summary["metrics"]} == {"loss slow", "loss other rule", "distance slow", "distance other rule"}
    # quadratic's closed form is in the table of a plain run with the same settings
    assert main([*STUDY[:4], "trainer.max_steps=3", "optimizer.lr=0.01", "hydra.run.dir=plain"]) == 0
    plain = json.loads((here / "plain" / "summary.json").read_text())
    assert summary["metrics"]["loss slow"] == plain["metrics"]["loss"]
    for name in ("slow", "other_rule"):
        assert json.loads((here / "out" / name / "summary.json").read_text())["status"] == "agree"
        assert list((here / "out" / name).glob("events.*"))
    assert (here / "out" / "losses.png").is_file()
    assert (here / "out" / "paths.png").is_file()
    assert "other rule" in capsys.readouterr().out


def test_a_variants_own_settings_are_in_its_hparams(here):
    assert mine(here)[0] == 0
    slow, other = (gradlab.load(here / "out" / name).settings() for name in ("slow", "other_rule"))
    assert (slow["optimizer"], other["optimizer"]) == (["sgd"], ["adam"])
    assert slow["optimizer.lr"] == [0.01]


def test_what_is_set_from_the_shell_holds_for_all_variants(here):
    _, summary = mine(here, "trainer.max_steps=5", "study.metrics=[steps]")
    assert summary["metrics"] == {"steps slow": 5, "steps other rule": 5}


def test_a_variant_whose_gradients_are_wrong_ends_the_study_as_a_disagreement(here, capsys):
    wrong = "+study.variants.wrong=['+model.wrong=true']"
    custom = ["model=custom", "model._target_=my_study.Point"]
    code, summary = mine(here, *custom, wrong, "study.figures=[losses]")
    assert (code, summary["status"]) == (3, "disagree")
    assert "wrong ended as disagree" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "code"), [("", 4), (", 'expect=diverge'", 0)])
def test_a_variant_that_diverges(here, more, code):
    variant = f"+study.variants.far=['optimizer.lr=1e30'{more}]"
    found, _ = mine(here, variant, "study.figures=[losses]", "trainer.max_steps=9")
    assert found == code


@pytest.mark.parametrize(("error", "code"), [(1e-9, 0), (1e-3, 3), ("nan", 3)])
def test_witnesses_that_differ_are_a_disagreement(here, error, code):
    found, summary = run(here, *STUDY, f"+study.error={error}")
    assert found == code
    assert summary["metrics"] == {"answer": 42.0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["study.figures=[spirals]"], "no figure 'spirals': choose from losses"),
        (["+study.variants.a=['optimizer.speed=3']"], "speed"),
        (["+study.variants.a=['optimizer=fastest']"], "fastest"),
        (["+study.colour=red"], "colour"),
        (["model.population=3"], "model.population=3: Comparison looks at single runs"),
        (["study.figures=[paths]", "probes=agreement"], "its own probes record, and one is missing"),
    ],
)
def test_bad_input_is_said_in_one_message(here, capsys, arguments, said):
    code, _ = mine(here, *arguments)
    assert code == 2
    assert said in capsys.readouterr().err


def test_a_comparison_of_nothing():
    with pytest.raises(BadInput, match="give each variant a name"):
        Comparison({})


def test_a_study_of_a_surface_without_one(here, capsys):
    networks = ["loss=mse", "model=linear", "data=diabetes", STUDY[-1]]
    assert run(here, *networks, "+study.surface=true")[0] == 2
    assert "choose one with loss=" in capsys.readouterr().err


def test_a_sweep_of_a_study_counts_its_jobs_alone(here, capsys):
    arguments = ["-m", "--config-dir", "conf", "experiment=mine", "seed=1,2", "study.figures=[]"]
    assert main([*arguments, "hydra.sweep.dir=many"]) == 0
    assert "sweep: 2 jobs" in capsys.readouterr().out
