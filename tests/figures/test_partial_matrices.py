"""Pictures of whole gradients: which steps, one scale, zero and NaN, and what was left out."""

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgba

from gradlab.figures import partial_matrices, style
from gradlab.records import Array, Scalar
from gradlab.sinks import MemorySink


def drawn(arrays, render=True):
    """The figure of {name: {step: matrix}}."""
    memory = MemorySink()
    memory.write(Array(f"partial/{n}", s, np.asarray(m, float)) for n, own in arrays.items() for s, m in own.items())
    assert partial_matrices.ready(memory)
    figure = partial_matrices.figure(memory)
    if render:
        style.png(figure, dpi=20)
    return figure


def panels(figure):
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def mesh_of(axes):
    (mesh,) = [part for part in axes.collections if isinstance(part, QuadMesh)]
    return mesh


def titles(figure):
    return [axes.get_title(loc="left") for axes in panels(figure)]


def notes(figure):
    return figure.get_supxlabel()


def test_each_picture_holds_the_recorded_matrix_with_the_first_row_on_top():
    rng = np.random.default_rng(0)
    own = {step: rng.normal(size=(3, 5)) for step in (0, 7, 90)}
    figure = drawn({"0.weight": own})
    assert titles(figure) == ["0.weight: step 0", "step 7", "step 90"]
    for axes, matrix in zip(panels(figure), own.values(), strict=True):
        assert np.asarray(mesh_of(axes).get_array()).reshape(3, 5) == pytest.approx(matrix)
        top, bottom = axes.get_ylim()[::-1]
        assert top < bottom
        assert axes.texts[0].get_text() == f"largest: {style.number(np.abs(matrix).max())}"


def test_one_symmetric_scale_for_all_steps_on_which_late_small_gradients_have_colour():
    figure = drawn({"w": {0: [[2.0, -1.0]], 9: [[-1e-3, 1e-4]]}})
    first, second = (mesh_of(axes) for axes in panels(figure))
    assert first.norm is second.norm
    assert (first.norm.vmin, first.norm.vmax) == (-2, 2)
    colors = second.to_rgba(second.get_array().ravel())
    white = np.array(second.cmap(0.5))
    assert np.abs(colors[0] - white).max() > 0.15
    assert colors[0][2] > colors[0][0]  # negative is blue
    assert first.to_rgba(2.0)[0] > first.to_rgba(2.0)[2]  # positive is red


def test_nan_and_infinity_are_black_and_explained_and_zero_is_said():
    figure = drawn({"w": {0: [[np.nan, 1.0], [-np.inf, 0.0]], 1: np.full((2, 2), np.nan), 2: np.zeros((2, 2))}})
    first = mesh_of(panels(figure)[0])
    colors = first.to_rgba(first.get_array().reshape(2, 2))
    assert colors[0, 0] == pytest.approx(to_rgba(style.INK), abs=0.01)
    assert colors[1, 0] == pytest.approx(to_rgba(style.INK), abs=0.01)
    captions = [axes.texts[0].get_text() for axes in panels(figure)]
    assert captions == ["largest: 1", "no finite entry", "all exactly zero"]
    legend = panels(figure)[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["NaN or infinite"]


def test_six_of_many_steps_and_parameters_are_shown_and_the_rest_is_counted():
    figure = drawn({f"{i}.weight": {step: np.eye(2) for step in range(11)} for i in range(16)}, render=False)
    assert titles(figure)[:6] == ["0.weight: step 0", "step 2", "step 4", "step 6", "step 8", "step 10"]
    assert titles(figure)[::6] == [f"{i}.weight: step 0" for i in (0, 3, 6, 9, 12, 15)]
    assert "10 of 16 parameters are not shown" in notes(figure)
    assert "5 of 11 recorded steps are not shown" in notes(figure)


def test_nothing_is_said_to_be_left_out_where_nothing_is():
    assert "not shown" not in notes(drawn({"w": {0: np.eye(2)}}))


def test_a_parameter_with_fewer_steps_has_fewer_pictures():
    figure = drawn({"a": {0: np.eye(2), 1: np.eye(2), 2: np.eye(2)}, "b": {1: np.eye(2)}})
    assert titles(figure) == ["a: step 0", "step 1", "step 2", "b: step 1"]


def test_indices_are_shown_only_where_cells_are_entries():
    figure = drawn({"w": {0: np.ones((64, 10))}})
    (axes,) = panels(figure)
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("rows →", "column")
    assert len(axes.get_yticks()) == 0
    assert len(axes.get_xticks()) > 2
    assert "of a matrix beyond 64 × 64" in notes(figure)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_any_size_can_be_drawn(size):
    assert drawn({"w": {0: [[size, -size / 3]], 1: [[size * 1e-9, 0.0]]}})


def test_curves_alone_are_no_matrices():
    memory = MemorySink()
    memory.write([Scalar("partial/w[0]", 0, 1.0), Array("path/point", 0, np.ones(2))])
    assert not partial_matrices.ready(memory)
