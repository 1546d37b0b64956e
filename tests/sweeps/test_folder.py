"""Whose a folder is, and that nothing else is ever emptied."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from omegaconf import OmegaConf
from small_sweeps import POINT, statuses, sweep_of

from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.sweeps.folder import claim, write_jobs
from gradlab.sweeps.job import clear


def config(folder, named=False):
    overrides = [f"hydra.sweep.dir={folder}"] if named else []
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "overrides": {"hydra": overrides}}})


def test_sweeps_that_begin_at_the_same_instant_share_no_folder(tmp_path):
    with ThreadPoolExecutor(16) as threads:
        folders = list(threads.map(lambda _: claim(config(tmp_path / "runs" / "now")), range(64)))
    assert len(set(folders)) == 64
    assert all((folder / "multirun.yaml").read_text() for folder in folders)


def test_of_sweeps_that_name_the_same_folder_one_gets_it(tmp_path):
    def try_it(_):
        try:
            return claim(config(tmp_path / "mine", named=True))
        except BadInput as error:
            return str(error)

    with ThreadPoolExecutor(16) as threads:
        ends = list(threads.map(try_it, range(32)))
    assert ends.count(tmp_path / "mine") == 1
    assert sum("sweep.resume=" in str(end) for end in ends) == 31


def test_a_folder_that_holds_a_sweep_or_a_run_is_refused_and_stays_as_it_is(here, capsys):
    assert main(["-m", *POINT, "seed=1,2", "hydra.sweep.dir=mine"]) == 0
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert main(["-m", *POINT, "seed=3", "hydra.sweep.dir=mine"]) == 2
    assert "sweep.resume=mine" in capsys.readouterr().err
    assert main(["-m", *POINT, "seed=3", "hydra.sweep.dir=mine/seed=1"]) == 2
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_a_sweep_that_begins_no_job_leaves_nothing(here, capsys):
    assert main(["-m", *POINT, "optimizer=adam,foo"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not [path for path in here.rglob("*") if path.is_file() and path.name != "own_point.py"]


def test_an_experiment_can_be_a_sweep_by_itself(here):
    (here / "configs" / "experiment").mkdir(parents=True)
    (here / "configs" / "experiment" / "seeds.yaml").write_text(
        "# @package _global_\nname: seeds\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 1,2\n"
    )
    arguments = ["experiment=seeds", *POINT]
    assert main(["--config-dir", "configs", *arguments]) == 0
    sweep = sweep_of(here)
    assert sweep.parent.name == "seeds"
    assert statuses(sweep) == {"seed=1": "not compared", "seed=2": "not compared"}
    (sweep / "seed=1" / "summary.json").unlink()
    assert main([f"sweep.resume={sweep}"]) == 0  # finds the user's configs again
    assert set(statuses(sweep)) == {"seed=1", "seed=2"}


@pytest.mark.parametrize("listed", [{}, {0: "another"}])
def test_only_the_folder_of_a_listed_job_is_emptied(tmp_path, listed):
    job = tmp_path / "job"
    (job / "inner").mkdir(parents=True)
    (job / "inner" / "kept.txt").write_text("mine")
    if listed:
        write_jobs(tmp_path, listed)
    clear(job)
    assert (job / "inner" / "kept.txt").exists()


def test_emptying_follows_no_link(tmp_path):
    elsewhere, sweep = tmp_path / "elsewhere", tmp_path / "sweep"
    for folder in (elsewhere, sweep / "job" / ".hydra"):
        folder.mkdir(parents=True)
    (elsewhere / "kept.txt").write_text("mine")
    (sweep / "job" / "inside").symlink_to(elsewhere)
    (sweep / "linked").symlink_to(elsewhere)
    (sweep / "job" / "events.out.tfevents.1").write_text("old")
    write_jobs(sweep, {0: "job", 1: "linked"})
    clear(sweep / "job")
    clear(sweep / "linked")
    assert [path.name for path in (sweep / "job").iterdir()] == [".hydra"]
    assert (elsewhere / "kept.txt").exists()
