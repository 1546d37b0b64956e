"""The contour picture: title, dots, and paths that leave the window or break."""

import math

import numpy as np
import pytest

from gradlab.figures import contour
from gradlab.records import Array
from gradlab.sinks import MemorySink

GRID = np.linspace(-1, 1, 31)
BOWL = np.add.outer(GRID**2, GRID**2)
ORIGIN = np.zeros((1, 2))


def axes_of(path, z=BOWL, minimizers=ORIGIN, steps=None, render=False):
    memory = MemorySink()
    surface = {"x": GRID, "y": GRID, "z": z, "minimizers": minimizers}
    memory.write(Array(f"surface/{name}", 0, values) for name, values in surface.items())
    steps = range(len(path)) if steps is None else steps
    memory.write(Array("path/point", step, np.array(point, float)) for step, point in zip(steps, path, strict=True))
    assert contour.ready(memory)
    figure = contour.figure(memory, "bowl")
    if render:
        figure.draw_without_rendering()
    return figure.axes[0]


def title(axes):
    return axes.get_title(loc="left")


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def spiral(count):
    return [(0.9 * 0.99**step, 0.5 * 0.99**step) for step in range(count)]


@pytest.mark.parametrize(("points", "expected"), [(1, "0 steps"), (2, "1 step"), (3, "2 steps"), (31, "30 steps")])
def test_the_title_counts_updates_not_points(points, expected):
    assert title(axes_of(spiral(points))).startswith(f"bowl: {expected}, ending")


def test_the_title_says_how_far_the_nearest_minimizer_is():
    minimizers = np.array([[0.5, 0.5], [-0.5, 0.0]])
    assert (
        title(axes_of([(0.0, 0.0), (-0.25, 0.0)], minimizers=minimizers))
        == "bowl: 1 step, ending 0.25 from a minimizer"
    )


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (150, "a dot at each step"),
        (201, "a dot at every 2nd step"),
        (401, "a dot at every 3rd step"),
        (1601, "a dot at every 11th step"),
        (3101, "a dot at every 21st step"),
    ],
)
def test_the_legend_says_at_which_steps_a_dot_is(points, expected):
    assert legend(axes_of(spiral(points)))[0] == expected


def test_the_legend_counts_steps_where_not_every_step_was_recorded():
    assert legend(axes_of(spiral(5), steps=[0, 10, 20, 30, 37]))[0] == "a dot at every 10th step"


def test_the_path_and_its_ends_are_where_the_records_say():
    axes = axes_of([(0.5, -0.25), (0.25, 0.0), (0.0, 0.125)])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    path = axes.lines[0]
    assert path.get_xydata().tolist() == [[0.5, -0.25], [0.25, 0.0], [0.0, 0.125]]
    ends = {str(line.get_label()): line.get_xydata().tolist() for line in axes.lines[1:]}
    assert ends["start, step 0"] == [[0.5, -0.25]]
    assert ends["end, step 2"] == [[0.0, 0.125]]
    assert ends["known minimizer"] == [[0.0, 0.0]]


def test_a_path_that_leaves_the_window_is_marked_at_its_edge():
    axes = axes_of([(0.0, 0.0), (0.5, 0.5), (40.0, -1e30)], render=True)
    low, high = axes.get_xlim()
    assert -1 <= low < high <= 1
    assert "end, step 2, outside at (40, −1e+30)" in legend(axes)
    assert legend(axes)[0] == "a dot at each step (1 of 3 points outside)"
    (end,) = (line for line in axes.lines if str(line.get_label()).startswith("end"))
    ((x, y),) = end.get_xydata()
    assert low <= x <= high
    assert axes.get_ylim()[0] <= y <= axes.get_ylim()[1]


def test_a_path_that_is_outside_throughout_can_be_drawn():
    labels = legend(axes_of([(5.0, 5.0), (6.0, 7.0)]))
    assert "start, step 0, outside at (5, 5)" in labels


def test_a_path_that_breaks_says_from_which_step():
    axes = axes_of([(0.5, 0.5), (0.9, 0.9), (math.nan, 0.0), (math.inf, math.nan)])
    assert title(axes) == "bowl: 3 steps, NaN or infinite from step 2 on"
    assert "end, step 1" in legend(axes)


def test_a_path_without_a_single_number_leaves_the_surface():
    axes = axes_of([(math.nan, math.nan)] * 2)
    assert title(axes) == "bowl: 1 step, NaN or infinite from step 0 on"
    assert legend(axes) == ["known minimizer"]


SURFACES = {
    "negative": BOWL - 3,
    "flat": np.zeros_like(BOWL),
    "flat_high": np.full_like(BOWL, 5.0),
    "with_holes": np.where(BOWL > 1, np.nan, BOWL),
    "with_poles": np.where(BOWL > 1, np.inf, BOWL),
    "unknown": np.full_like(BOWL, np.nan),
}


@pytest.mark.parametrize("minimizers", [ORIGIN, np.zeros((0, 2))], ids=["minimum", "none"])
@pytest.mark.parametrize("z", SURFACES.values(), ids=SURFACES)
def test_any_surface_can_be_drawn(z, minimizers):
    assert title(axes_of(spiral(3), z=z, minimizers=minimizers, render=True)).startswith("bowl: 2 steps")


def test_without_a_minimizer_or_a_single_finite_point_there_is_no_legend():
    axes = axes_of([(math.nan, math.nan)], minimizers=np.zeros((0, 2)))
    assert axes.get_legend() is None


def test_a_point_of_three_dimensions_is_no_picture():
    memory = MemorySink()
    memory.write(Array(f"surface/{name}", 0, GRID) for name in ("x", "y", "z", "minimizers"))
    memory.write([Array("path/point", 0, np.zeros(3))])
    assert not contour.ready(memory)
