"""The jobs of a sweep as they are read from its folder, whole, killed and damaged."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_sweeps import make_job

from gradlab.report import Summary
from gradlab.sweeps.jobs import NO_END, jobs_of, settings_of, swept


def test_a_job_that_ended(tmp_path):
    overrides = ["loss=mse", "optimizer=sgd", "optimizer.lr=0.1", "+model.width=8"]
    make_job(tmp_path / "b", 1, overrides, metrics={"loss": 0.25, "steps": 20}, objective=0.125)
    make_job(tmp_path / "a", 2, ["loss=mse", "optimizer=adam", "optimizer.lr=1e-3", "+model.width=16"])
    first, second = jobs_of(tmp_path)
    assert (first.name, first.folder, first.number, first.label) == ("b", tmp_path / "b", 1, "1")
    assert (first.status, first.exit_code, first.reason) == ("agree", 0, "")
    assert (first.metrics, first.objective) == ({"loss": 0.25, "steps": 20}, (0.125,))
    assert first.settings == {"optimizer": "sgd", "optimizer.lr": 0.1, "model.width": 8}
    assert second.settings == {"optimizer": "adam", "optimizer.lr": 0.001, "model.width": 16}


def test_what_a_run_saves_is_read(tmp_path):
    (tmp_path / "x").mkdir()
    Summary("free", ["seed=1"], "non-finite", 4, "loss", {"loss": math.inf}, job=7, objective=[math.inf, 2.0]).save(
        tmp_path / "x"
    )
    (read,) = jobs_of(tmp_path)
    assert (read.number, read.exit_code, read.metrics) == (7, 4, {"loss": math.inf})
    assert read.objective == (math.inf, 2.0)


@pytest.mark.parametrize(
    ("metrics", "expected"), [({"loss": 2.0, "test_loss": 3.0}, 3.0), ({"loss": "inf"}, math.inf), ({}, None)]
)
def test_without_a_recorded_objective_it_is_the_test_loss_else_the_loss(tmp_path, metrics, expected):
    make_job(tmp_path / "a", 0, [], metrics=metrics)
    ((found,),) = [read.objective for read in jobs_of(tmp_path)]
    assert math.isnan(found) if expected is None else found == expected


def test_a_killed_job_is_known_by_what_hydra_wrote_before_it_began(tmp_path):
    make_job(tmp_path / "a", 0, ["seed=0", "model.hidden=[64,32]"])
    make_job(tmp_path / "b", 1, ["seed=1", "model.hidden=[]"], status=None)
    killed = jobs_of(tmp_path)[1]
    assert (killed.status, killed.exit_code, killed.number) == (NO_END, 1, 1)
    assert "killed" in killed.reason
    assert killed.settings == {"seed": 1, "model.hidden": "[]"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ('+model.name="a b"', "a b"),
        ("model.name='ü/\"x\"'", 'ü/"x"'),
        (r"model.name='it\'s'", "it's"),
        ("model.name='7'", "'7'"),
        ("model.name='null'", "'null'"),
        ("model.name=''", ""),
        ("model.name=7", 7),
        ("model.name=['a','b']", "['a','b']"),
        ("model.name='a','b'", "'a','b'"),
        ("model.name=null", "null"),
    ],
)
def test_a_text_has_no_quotes_where_it_needs_none(override, expected):
    assert settings_of([override]) == {"model.name": expected}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"status": "agree"}', '{"status": 1, "exit_code": "x", "metrics": {}}', "\xff"]
)
def test_a_damaged_summary_is_named_and_the_others_are_read(tmp_path, content):
    make_job(tmp_path / "a", 0, ["seed=0"])
    make_job(tmp_path / "b", 1, ["seed=1"])
    (tmp_path / "b" / "summary.json").write_bytes(content.encode("latin-1"))
    whole, damaged = jobs_of(tmp_path)
    assert whole.status == "agree"
    assert (damaged.status, damaged.exit_code, damaged.settings) == ("damaged", 1, {"seed": 1})
    assert damaged.reason.startswith("summary.json cannot be read: ")


@pytest.mark.parametrize("content", ["- [", "5", "\xff"])
def test_damaged_overrides_are_named_and_sweep_nothing(tmp_path, content):
    make_job(tmp_path / "a", 0, ["seed=0", "loss=mse"])
    make_job(tmp_path / "b", 1, ["seed=1", "loss=mse"])
    make_job(tmp_path / "c", 2, [], status=None)
    (tmp_path / "c" / ".hydra" / "overrides.yaml").write_bytes(content.encode("latin-1"))
    first, _, damaged = jobs_of(tmp_path)
    assert first.settings == {"seed": 0}
    assert damaged.settings == {}
    assert "overrides.yaml cannot be read" in damaged.reason


def test_a_job_of_which_nothing_is_there(tmp_path):
    make_job(tmp_path / "a", 0, [], status=None, hydra=False)
    (read,) = jobs_of(tmp_path)
    assert read.number is None
    assert read.label == "a"
    assert "overrides.yaml is not there" in read.reason


def test_runs_within_a_study_and_hidden_folders_are_no_jobs(tmp_path):
    study = make_job(tmp_path / "deep" / "a", 0, ["seed=0"])
    make_job(study / "variant", 0, ["seed=0"])
    make_job(tmp_path / ".submitit" / "1", 3, ["seed=0"])
    (tmp_path / "logs").mkdir()
    (tmp_path / "multirun.yaml").write_text("hydra: {}")
    assert [read.name for read in jobs_of(tmp_path)] == ["deep/a"]


def test_a_disagreement_is_a_reason(tmp_path):
    found = {"parameter": "fc.weight", "step": 3, "index": [0, 1], "manual": 1.0, "autograd": 2.0, "error": 0.5}
    found |= {"tolerance": 1e-5, "culprit": "MulBackward0", "hint": "a factor\nof two"}
    make_job(tmp_path / "a", 0, [], "disagree", 3, disagreements=[found])
    check = {"name": "x", "blame": "autograd: Clip", "alone": "autograd"}
    make_job(tmp_path / "b", 1, [], "disagree", 3, disagreements=[check])
    first, second = jobs_of(tmp_path)
    assert "fc.weight[0,1] at step 3" in first.reason
    assert first.reason.endswith("to blame: MulBackward0")
    assert second.reason == "x: autograd: Clip"


def test_a_reason_is_one_line(tmp_path):
    make_job(tmp_path / "a", 0, [], "error", 1, reason="ValueError: first\n  second")
    assert jobs_of(tmp_path)[0].reason == "ValueError: first second"


def test_500_jobs_are_read_in_well_under_a_second(tmp_path):
    for number in range(500):
        make_job(tmp_path / f"{number}", number, ["loss=mse", f"seed={number}"], status="agree" if number % 5 else None)
    begin = time.perf_counter()
    jobs = jobs_of(tmp_path)
    assert time.perf_counter() - begin < 1.0  # 0.03 s where it was written
    assert [read.number for read in jobs] == list(range(500))


@given(st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_are_numbers(value):
    read = settings_of([f"x={value}"])["x"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["sgd", "[64,32]", "null", "true", "nan", "inf", "", "a=b", "'1'"])
def test_everything_else_is_text(text):
    assert settings_of([f"x={text}"]) == {"x": text}


def test_what_is_set_in_some_jobs_only_is_swept():
    assert swept([{"a": 1, "b": 2}, {"a": 1}]) == ["b"]
    assert swept([{"a": 1}, {"a": 1.0}]) == []
    assert swept([]) == []
