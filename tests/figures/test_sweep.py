"""Figures of sweeps: where values lie, what is drawn of each job, and which cell, point and line is the best."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_sweeps import job
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, to_rgba

from gradlab.figures import style
from gradlab.figures.sweep import parallel
from gradlab.figures.sweep_cells import heatmap
from gradlab.figures.sweep_points import curve, pareto
from gradlab.figures.sweep_scales import FAILED, label, scale_of, scale_of_objective

finite = st.floats(-1e100, 1e100)


def drawn(figure):
    style.png(figure, dpi=20)
    return figure.axes[0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def jobs_over(values, key="optimizer.lr"):
    """A job for each value of the objective; None for one that failed."""
    return [
        job(n, (math.nan if value is None else value,), exit_code=int(value is None), settings={key: 10.0**-n})
        for n, value in enumerate(values)
    ]


# --- where values lie ----------------------------------------------------------------------------------------------


@given(st.lists(finite, min_size=1))
def test_numbers_keep_their_order(values):
    for scale in (scale_of(values), scale_of_objective(values)):
        places = [scale.position(value) for value in sorted(values)]
        assert places == sorted(places)
        assert all(0 <= place <= 1 for place in places)
        ticks = scale.ticks()
        assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in ticks)
        assert ticks == sorted(ticks, key=lambda tick: tick[0])


def test_logarithms_lie_evenly():
    scale = scale_of([1e-4, 1e-3, 1e-2, 1e-1])
    assert [scale.position(v) for v in (1e-4, 1e-3, 1e-2, 1e-1)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [text for _, text in scale.ticks()] == ["0.0001", "0.001", "0.01", "0.1"]


def test_a_zero_lies_below_the_smallest_of_a_logarithmic_axis():
    scale = scale_of([0, 1e-3, 1e-2])
    assert scale.kind == "log"
    assert scale.position(0) == 0 < scale.position(1e-3) < scale.position(1e-2) == 1
    assert [text for _, text in scale.ticks()] == ["0", "0.001", "0.01"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "linear"),
        ([16, 32, 64, 128, 256], "log"),
        ([-1.0, -10.0, -100.0], "linear"),
        ([0.5], "linear"),
        ([0.1, "cosine"], "category"),
        ([0.1, None], "category"),
    ],
)
def test_the_kind_of_an_axis(values, kind):
    assert scale_of(values).kind == kind


def test_categories_lie_evenly_with_numbers_first():
    scale = scale_of(["b", 2, "a", None, 1, "b"])
    assert [scale.position(v) for v in (1, 2, "b", "a", None)] == [0, 0.25, 0.5, 0.75, 1]
    assert scale.ticks()[-1] == (1, "not set")


def test_many_values_get_round_ticks_that_leave_room():
    ticks = scale_of(np.geomspace(1e-5, 1.0, 200).tolist()).ticks()
    assert {"0.0001", "0.1"} <= {text for _, text in ticks}
    assert min(np.diff([place for place, _ in ticks])) > 0.05
    assert len(scale_of([f"value {n}" for n in range(100)]).ticks()) < 25


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "a"])
def test_what_is_no_number_has_no_place_among_numbers(value):
    assert math.isnan(scale_of([1.0, 2.0]).position(value))


def test_a_long_label_is_cut_in_the_middle():
    assert len(label("[128,128,128,128,64,32]")) == 20


# --- parallel coordinates ------------------------------------------------------------------------------------------


def lines_of(axes, color):
    """The heights of the lines of a colour, a row each."""
    collections = [c for c in axes.collections if isinstance(c, LineCollection)]
    found = [c for c in collections if len(c.get_colors()) == 1 and tuple(c.get_colors()[0]) == to_rgba(color)]
    return [segment[:, 1].tolist() for c in found for segment in c.get_segments()]


def test_the_best_line_stands_out_and_failed_ones_end_above():
    axes = drawn(parallel(jobs_over([4.0, 1.0, None]), ["optimizer.lr"], ["loss"], {"1_job"}))
    assert lines_of(axes, style.VERMILLION) == [[pytest.approx(0.5), 0.0]]
    assert lines_of(axes, style.GREY) == [[0.0, FAILED]]
    assert "failed" in texts(axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["the smallest loss: 1", "1 job failed"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["optimizer.lr", "loss"]


def test_the_loss_of_a_job_that_failed_is_not_drawn_as_its_result():
    jobs = [job(0, (2.0,)), job(1, (1.0,), exit_code=3), job(2, (4.0,))]
    assert lines_of(drawn(parallel(jobs, ["optimizer.lr"], ["loss"], {"0_job"})), style.GREY) == [[0.5, FAILED]]
    assert labelled(drawn(curve(jobs, "optimizer.lr", "loss", {"0_job"})))["failed"].tolist() == [[0.5, FAILED]]
    assert hatched(
        drawn(heatmap(grid(lambda *_: 1.0)[:-1] + [job(9, (0.0,), 3, {"a": 2, "b": "z"})], "a", "b", "loss"))
    )


def test_every_job_has_one_line():
    jobs = [job(n, (float(n),), settings={"a": n % 3, "b": "xyz"[n % 2], "c": 2.0**n}) for n in range(20)]
    axes = drawn(parallel(jobs, ["a", "b", "c"], ["loss"], {"0_job"}))
    drawn_lines = [s for c in axes.collections if isinstance(c, LineCollection) for s in c.get_segments()]
    assert len(drawn_lines) == 20 + 1  # the best has a white rim
    assert all(len(line) == 4 for line in drawn_lines)


def test_a_job_that_ended_well_without_a_number_has_not_failed():
    axes = drawn(parallel(jobs_over([4.0, 1.0, math.inf]), ["optimizer.lr"], ["loss"], {"1_job"}))
    assert "no number" in texts(axes)
    assert "failed" not in texts(axes)


def test_several_objectives_have_an_axis_each():
    jobs = [job(n, (n, -n), settings={"seed": n}) for n in range(3)]
    axes = drawn(parallel(jobs, ["seed"], ["loss", "time"], {j.name for j in jobs}))
    assert sorted(lines_of(axes, style.VERMILLION)) == [[0, 0, 1], [0.5, 0.5, 0.5], [1, 1, 0]]


# --- heatmap -------------------------------------------------------------------------------------------------------


def grid(value_of, rows=(1, 2), columns=("x", "y", "z"), seeds=(0,)):
    jobs = []
    for n, (row, column, seed) in enumerate(product(rows, columns, seeds)):
        value = value_of(row, column, seed)
        settings = {"a": row, "b": column, "seed": seed}
        jobs.append(job(n, (math.nan if value is None else value,), exit_code=int(value is None), settings=settings))
    return jobs


def frames(axes):
    return [p.get_xy() for p in axes.patches if to_rgba(style.VERMILLION) == p.get_edgecolor()]


def hatched(axes):
    return [p.get_xy() for p in axes.patches if p.get_hatch()]


def test_a_cell_for_each_pair_with_its_value_and_the_best_framed():
    values = {(1, "x"): 4.0, (1, "y"): 3.0, (1, "z"): 2.0, (2, "x"): 1.0, (2, "y"): None, (2, "z"): 6.0}
    axes = drawn(heatmap(grid(lambda a, b, _: values[a, b]), "a", "b", "loss"))
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), [[4, 3, 2], [1, np.nan, 6]])
    assert texts(axes)[:6] == ["4", "3", "2", "1", "error", "6"]
    assert frames(axes) == [(-0.5, 0.5)]
    assert hatched(axes) == [(0.5, 0.5)]
    assert "hatched: failed" in texts(axes)[-1]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["x", "y", "z"]


def test_repeated_cells_are_averaged_over_those_that_ended_well():
    values = {("x", 0): 1.0, ("x", 1): 4.0, ("y", 0): 2.0, ("y", 1): None}
    jobs = grid(lambda _, b, seed: values[b, seed], rows=(1, 2), columns=("x", "y"), seeds=(0, 1))
    axes = drawn(heatmap(jobs, "a", "b", "loss"))
    np.testing.assert_array_equal(axes.images[0].get_array(), [[2.5, 2.0], [2.5, 2.0]])
    assert texts(axes)[1] == "2\n1 failed"
    assert "mean of its jobs that ended well, 2 at most" in texts(axes)[-1]
    assert hatched(axes) == []


def test_colours_are_logarithmic_over_decades_and_white_is_no_job():
    jobs = grid(lambda a, b, _: 10.0 ** -(3 * a + len(b)))[:-1]
    axes = drawn(heatmap(jobs, "a", "b", "loss"))
    assert isinstance(axes.images[0].norm, LogNorm)
    assert "white: no job" in texts(axes)[-1]


def test_a_zero_among_decades_can_be_drawn():
    axes = drawn(heatmap(grid(lambda a, b, _: 0.0 if (a, b) == (1, "x") else 10.0 ** -(3 * a)), "a", "b", "loss"))
    assert frames(axes) == [(-0.5, -0.5)]
    assert np.isfinite(axes.images[0].norm(axes.images[0].get_array())).all()


def test_the_setting_with_more_values_lies_along_the_longer_side():
    axes = drawn(heatmap(grid(lambda *_: 1.0, rows=(1, 2, 3), columns=("x",)), "a", "b", "loss"))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a", "b")


def test_values_that_are_no_grid_are_dots():
    jobs = [job(n, (n + 1.0,), exit_code=n == 5, settings={"a": 0.1 * n**2, "b": 0.2 * n}) for n in range(8)]
    axes = drawn(heatmap(jobs, "a", "b", "loss"))
    assert not axes.images
    assert len(axes.collections[0].get_offsets()) == 7
    ring = next(line for line in axes.lines if line.get_label() == "the smallest: 1")
    assert ring.get_xydata().tolist() == [[0.0, 0.0]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["failed", "the smallest: 1"]


@pytest.mark.parametrize("side", [1, 30])
def test_one_cell_and_many(side):
    axes = drawn(heatmap(grid(lambda a, b, _: a + b, rows=range(side), columns=range(side)), "a", "b", "loss"))
    assert len(axes.get_xticks()) <= 20
    assert len(axes.texts) == (2 if side == 1 else 1)  # the caption is one


# --- one setting, and two objectives -------------------------------------------------------------------------------


def labelled(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_points_over_one_setting():
    axes = drawn(curve(jobs_over([4.0, 2.0, 3.0, None]), "optimizer.lr", "loss", {"1_job"}))
    points = labelled(axes)
    assert points["one job"].tolist() == [pytest.approx(p) for p in ([1, 1], [2 / 3, 0], [1 / 3, 0.5])]
    assert points["the smallest: 2"].tolist() == [pytest.approx([2 / 3, 0])]
    assert points["failed"].tolist() == [pytest.approx([0, FAILED])]
    assert "mean" not in points
    assert "logarithmic horizontally" in texts(axes)[-1]


def test_repeated_values_have_their_mean():
    jobs = [job(n, (float(n),), settings={"a": n // 2, "seed": n % 2}) for n in range(4)]
    mean = labelled(drawn(curve(jobs, "a", "loss", {"0_job"})))["mean"]
    np.testing.assert_allclose(mean, [[0, 0.5 / 3], [1, 2.5 / 3]])


def test_categories_have_no_line():
    jobs = [job(n, (float(n),), settings={"a": name}) for n, name in enumerate("xyz")]
    axes = drawn(curve(jobs, "a", "loss", {"0_job"}))
    assert set(labelled(axes)) == {"one job", "the smallest: 0"}


def test_the_pareto_set_is_a_stair_from_left_to_right():
    objectives = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (3.0, 3.0), (math.nan, 1.0)]
    jobs = [job(n, both, exit_code=n == 4, settings={"seed": n}) for n, both in enumerate(objectives)]
    axes = drawn(pareto(jobs, ["loss", "time"], {"0_job", "1_job", "2_job"}))
    assert labelled(axes)["the Pareto set"].tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    assert labelled(axes)["one job"].tolist() == [[1, 1]]
    assert "left out: 1 without numbers" in texts(axes)[-1]
