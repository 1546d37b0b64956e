"""The colours of the gradient flow: what is zero, broken, or missing is seen as such."""

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgba

from gradlab.figures import flow, style
from gradlab.records import Scalar
from gradlab.sinks import MemorySink


def drawn(curves):
    """The colours of the picture, [rows, columns, 4], and the words of its legend."""
    memory = MemorySink()
    memory.write(Scalar(f"gradient/{n}/rms", s, v) for n, curve in curves.items() for s, v in curve.items())
    axes = flow.figure(memory).axes[0]
    (mesh,) = [item for item in axes.collections if isinstance(item, QuadMesh)]
    legend = axes.get_legend()
    return mesh.to_rgba(mesh.get_array()), [text.get_text() for text in legend.get_texts()] if legend else []


@pytest.mark.parametrize(
    ("value", "color", "word"),
    [
        (0.0, style.PINK, "exactly zero"),
        (np.nan, style.VERMILLION, "NaN or infinite"),
        (np.inf, style.VERMILLION, "NaN or infinite"),
    ],
)
def test_zero_and_non_finite_have_the_colours_of_the_legend(value, color, word):
    colors, words = drawn({"w": {0: 1e-30, 1: value, 2: 1e30}})
    assert colors[0, 1] == pytest.approx(to_rgba(color), abs=0.01)
    assert colors[0, 0] == pytest.approx(to_rgba("#440154"), abs=0.01)  # where viridis begins
    assert words == [word]


def test_a_parameter_that_comes_late_is_missing_until_then():
    colors, words = drawn({"w": dict.fromkeys(range(10), 0.5), "late": dict.fromkeys(range(6, 10), 0.5)})
    grey = np.all(np.isclose(colors[1], colors[1, 0]), axis=-1)
    assert grey.tolist() == [True] * 6 + [False] * 4
    assert words == ["no gradient recorded"]


def test_parameters_recorded_at_different_steps_show_no_gaps():
    _, words = drawn({"even": dict.fromkeys(range(0, 40, 2), 0.5), "odd": dict.fromkeys(range(0, 40, 3), 0.1)})
    assert words == []
