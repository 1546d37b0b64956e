"""What a sweep answers: the order, the table, the file, the lines below, and the exit code."""

import io
import math

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_sweeps import job, make_job
from rich.console import Console

from gradlab.sweeps.__main__ import main
from gradlab.sweeps.answer import answer
from gradlab.sweeps.csv_file import csv_of
from gradlab.sweeps.pictures import pictures_of
from gradlab.sweeps.ranking import best_of, objective_names, ranked
from gradlab.sweeps.table import MOST_METRICS, MOST_ROWS, failures, shown, telling_metrics

RATES = (1e-3, 1e-2, 1e-1)
LOSSES = {1e-3: 0.75, 1e-2: 0.125, 1e-1: 0.5}


def answered(folder):
    out = io.StringIO()
    code = answer(folder, Console(file=out, width=80))
    return code, out.getvalue().splitlines()


@pytest.fixture
def sweep(tmp_path):
    """Three rates that end well, one refused, one that diverges, one killed."""
    for number, rate in enumerate(RATES):
        overrides = ["loss=mse", f"optimizer.lr={rate}"]
        metrics = {"loss": LOSSES[rate] / 2, "test_loss": LOSSES[rate], "parameters": 9}
        make_job(tmp_path / f"lr={rate}", number, overrides, metrics=metrics, objective=LOSSES[rate])
    reason = "optimizer.lr=-1: it has to be positive; " + "say [why], " * 20 + "in full"
    make_job(tmp_path / "lr=-1", 3, ["loss=mse", "optimizer.lr=-1"], "bad input", 2, reason=reason)
    metrics = {"loss": "inf"}
    make_job(tmp_path / "lr=9", 4, ["loss=mse", "optimizer.lr=9"], "non-finite", 4, metrics, reason="inf at step 3")
    make_job(tmp_path / "lr=0.5", 5, ["loss=mse", "optimizer.lr=0.5"], status=None)
    return tmp_path


def test_the_table_is_sorted_marked_and_names_the_failed(sweep):
    code, lines = answered(sweep)
    assert code == 2
    assert lines[0] == "sweep: 6 jobs, 3 failed, * the smallest test loss"
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert [row[:4] for row in rows] == [
        ["*", "1", "0.01", "agree"],
        ["", "2", "0.1", "agree"],
        ["", "0", "0.001", "agree"],
        ["", "3", "-1", "bad input"],
        ["", "4", "9", "non-finite"],
        ["", "5", "0.5", "no end"],
    ]
    assert [row[4] for row in rows] == ["0.125", "0.5", "0.75", "", "", ""]
    assert [row[5] for row in rows] == ["0.0625", "0.25", "0.375", "", "inf", ""]


def test_every_failure_has_its_reason_in_full_on_one_line(sweep):
    _, lines = answered(sweep)
    reason = "job 3: bad input: optimizer.lr=-1: it has to be positive; " + "say [why], " * 20 + "in full"
    assert reason in lines
    assert "job 4: non-finite: inf at step 3" in lines
    assert "job 5: no end: it is still running, or it was killed" in lines


def test_the_lines_below_say_where_everything_is(sweep):
    _, lines = answered(sweep)
    assert f"best: {sweep / 'lr=0.01'}" in lines
    files = [str(sweep / name) for name in ("sweep.csv", "sweep_parallel.png", "sweep.png")]
    assert [line for line in lines if line in files] == files
    assert all((sweep / name).stat().st_size for name in ("sweep.csv", "sweep_parallel.png", "sweep.png"))
    assert f"tensorboard --logdir {sweep}" in lines
    assert lines[-1] == f"run what is missing: python -m gradlab sweep.resume={sweep}"


def test_nothing_to_resume_is_not_mentioned(tmp_path):
    make_job(tmp_path / "a", 0, ["seed=0"], "non-finite", 4, reason="inf")
    code, lines = answered(tmp_path)
    assert code == 4
    assert not any("sweep.resume=" in line for line in lines)


def test_jobs_that_never_began_are_named(tmp_path):
    (tmp_path / "jobs.json").write_text('{"0": "a", "1": "x", "2": "y", "3": "b", "4": "a"}')
    make_job(tmp_path / "a", 0, ["seed=0"])
    make_job(tmp_path / "b", 3, ["seed=3"])
    code, lines = answered(tmp_path)
    assert code == 1
    assert "jobs 1, 2: not begun" in lines
    assert any("sweep.resume=" in line for line in lines)


def test_a_damaged_list_of_jobs_is_no_list(tmp_path):
    (tmp_path / "jobs.json").write_text("[")
    make_job(tmp_path / "a", 0, ["seed=0"])
    code, lines = answered(tmp_path)
    assert code == 0
    assert not any("not begun" in line for line in lines)


def test_an_empty_sweep(tmp_path):
    assert answered(tmp_path) == (0, [f"sweep: no job has begun in {tmp_path}"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "jobs.json").write_text('{"0": "a"}')
    assert answered(tmp_path) == (1, [f"sweep: no job has begun in {tmp_path}"])


def test_a_folder_that_cannot_be_written_is_said_after_the_table(tmp_path):
    make_job(tmp_path / "a", 0, ["seed=0"], metrics={"loss": 1.0})
    (tmp_path / "sweep.csv").mkdir()
    code, lines = answered(tmp_path)
    assert code == 2
    assert lines[0].startswith("sweep: 1 job")
    assert any(line.startswith("not written: ") for line in lines)


def test_the_file_is_read_by_pandas(sweep):
    answered(sweep)
    frame = pandas.read_csv(sweep / "sweep.csv")
    assert list(frame["job"]) == list(range(6))
    assert list(frame["optimizer.lr"]) == [*RATES, -1, 9, 0.5]
    assert list(frame["status"]) == [*["agree"] * 3, "bad input", "non-finite", "no end"]
    assert list(frame["objective"][:3]) == [LOSSES[rate] for rate in RATES]
    assert list(frame["metrics.test_loss"][:3]) == [LOSSES[rate] for rate in RATES]
    assert math.isinf(frame["metrics.loss"][4])
    assert frame["reason"][3].endswith("in full")
    assert list(frame["folder"]) == ["lr=0.001", "lr=0.01", "lr=0.1", "lr=-1", "lr=9", "lr=0.5"]


def test_the_file_of_several_objectives_and_of_names_that_are_alike():
    jobs = [job(0, (1.0, 2.0), settings={"loss": "mse, [a]"}, metrics={"loss": 1.0}), job(1, (math.nan,), 1)]
    frame = pandas.read_csv(io.BytesIO(csv_of(jobs)))
    assert list(frame.columns[:3]) == ["job", "loss", "optimizer.lr"]
    assert frame["loss"][0] == "mse, [a]"
    assert frame["metrics.loss"][0] == 1.0
    assert list(frame.loc[0, ["objective.0", "objective.1"]]) == [1.0, 2.0]
    assert frame.loc[1, ["objective.0", "objective.1"]].isna().all()
    assert csv_of(jobs).startswith(b"\xef\xbb\xbf")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=12))
def test_the_pareto_set_is_what_nothing_dominates(rows):
    jobs = [job(place, (a, b), exit_code=int(failed)) for place, (a, b, failed) in enumerate(rows)]
    well = [(a, b) for a, b, failed in rows if not failed]

    def dominated(row):
        return any(a <= row[0] and b <= row[1] and (a, b) != row for a, b in well)

    expected = [n for n, (a, b, failed) in enumerate(rows) if not failed and not dominated((a, b))]
    assert [found.number for found in best_of(jobs)] == expected


def test_a_failed_or_unfinished_objective_is_never_the_best():
    jobs = [job(0, (0.0,), exit_code=3), job(1, (math.nan,)), job(2, (-math.inf,)), job(3, (5.0,)), job(4, (5.0,))]
    assert [found.number for found in best_of(jobs)] == [3, 4]
    assert [found.number for found in ranked(jobs)] == [3, 4, 2, 1, 0]
    assert best_of([job(0, ())]) == []


def test_jobs_with_fewer_objectives_do_not_compete():
    jobs = [job(0, (1.0,)), job(1, (2.0, 2.0)), job(2, (math.nan,), exit_code=1)]
    assert [found.number for found in best_of(jobs)] == [1]


def test_an_objective_is_named_by_the_metric_that_it_equals():
    alike = {"loss": 1.0, "test_loss": 1.0}
    assert objective_names([job(0, (1.0,), metrics=alike)]) == ["test_loss"]
    assert objective_names([job(0, (1.0,), metrics=alike), job(1, (2.0,), metrics={"loss": 2.0})]) == ["loss"]
    assert objective_names([job(0, (1.0, 3.0), metrics=alike)]) == ["test_loss", "objective 2"]
    assert objective_names([job(0, (math.nan,), exit_code=1)]) == ["objective"]


def test_of_minus_a_metric_the_largest_is_marked(tmp_path):
    for number, accuracy in enumerate([0.5, 0.875, 0.75]):
        overrides = [f"seed={number}", "objective=-accuracy"]
        make_job(tmp_path / f"{number}", number, overrides, metrics={"accuracy": accuracy}, objective=-accuracy)
    _, lines = answered(tmp_path)
    assert lines[0] == "sweep: 3 jobs, * the largest accuracy"
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows == [["*", "1", "1", "agree", "0.875"], ["", "2", "2", "agree", "0.75"], ["", "0", "0", "agree", "0.5"]]


@pytest.mark.parametrize(("members", "heading"), [([4, 4], "loss (median of members)"), ([4, None], "loss")])
def test_a_table_of_populations_says_whose_loss_it_is(tmp_path, members, heading):
    for number, count in enumerate(members):
        metrics = {"loss": float(number)} | ({} if count is None else {"members": count})
        make_job(tmp_path / f"{number}", number, [f"seed={number}"], metrics=metrics)
    _, lines = answered(tmp_path)
    assert heading in [cell.strip() for cell in lines[2].split("┃")]


def test_of_many_jobs_the_best_and_all_failed_are_shown(tmp_path):
    jobs = [job(n, (float(500 - n),), exit_code=n % 100 == 7, settings={"seed": n}) for n in range(500)]
    numbers = [found.number for found in shown(jobs)]
    failed = [7, 107, 207, 307, 407]
    assert numbers == [*range(499, 499 - MOST_ROWS, -1), *failed]
    for n in range(MOST_ROWS + 3):
        make_job(tmp_path / f"{n}", n, [f"seed={n}"], metrics={"loss": float(n)})
    assert "and 3 more jobs that ended well: sweep.csv has them all" in answered(tmp_path)[1]


def test_one_line_for_each_reason():
    jobs = [job(n, exit_code=1, reason=reason) for n, reason in enumerate(["a", "b", "a", ""])]
    assert list(failures(jobs)) == ["jobs 0, 2: error: a", "job 1: error: b", "job 3: error"]


def test_metrics_in_which_the_jobs_do_not_differ_are_left_to_the_file():
    jobs = [job(n, metrics={"parameters": 9, "steps": n, "loss": 1.0, "far": 2.0}) for n in range(2)]
    assert telling_metrics(jobs) == ["loss", "steps"]


def test_of_many_metrics_the_first_are_shown(tmp_path):
    for n in range(2):
        make_job(tmp_path / f"{n}", n, [f"seed={n}"], metrics={f"m{k}": n + k for k in range(MOST_METRICS + 2)})
    _, lines = answered(tmp_path)
    (heading,) = [line for line in lines if line.startswith("┃")]
    assert [name in heading for name in ("m0", "m7", "m8", "m9")] == [True, True, False, False]
    assert "and 2 more metrics: in sweep.csv" in lines


def test_which_figures_there_are():
    def names(*settings, several=1):
        jobs = [job(n, (n + 1.0,) * several, settings=own) for n, own in enumerate(settings)]
        return sorted(pictures_of(jobs))

    one, two = [{"a": 1}, {"a": 2}], [{"a": 1, "b": 1}, {"a": 2, "b": 2}]
    assert names(*one) == ["sweep", "sweep_parallel"]
    assert names(*two) == ["sweep_heatmap", "sweep_parallel"]
    assert names(*({**own, "seed": seed} for own in two for seed in (0, 1))) == ["sweep_heatmap", "sweep_parallel"]
    assert names(*({**own, "seed": n} for n, own in enumerate(one))) == ["sweep", "sweep_heatmap", "sweep_parallel"]
    assert names(*({**own, "c": n} for n, own in enumerate(two))) == ["sweep_parallel"]
    assert names(*one, several=2) == ["sweep_parallel", "sweep_pareto"]
    assert names({"a": 1}) == names({}, {}) == []
    assert pictures_of([job(0, exit_code=1), job(1, exit_code=1)]) == {}


def test_the_answer_again_from_the_command_line(sweep, capsys):
    assert main([str(sweep)]) == 2
    assert capsys.readouterr().out.startswith("sweep: 6 jobs")


@pytest.mark.parametrize(("name", "said"), [("none", "is no folder"), ("lr=0.1", "not that of a single run")])
def test_a_folder_without_a_sweep_is_one_message(sweep, capsys, name, said):
    assert main([str(sweep / name)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert said in printed.err
    assert main([]) == 2
    assert main(["--help"]) == 0
