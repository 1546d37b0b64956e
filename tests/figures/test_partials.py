"""Partials over the steps: a run that recorded a single step must show it too."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from gradlab.figures import partials, style
from gradlab.records import Scalar
from gradlab.sinks import MemorySink


def drawn(steps):
    memory = MemorySink()
    memory.write([Scalar("partial/0.bias[0]", step, 0.5 + step) for step in steps])
    figure = partials.figure(memory)
    FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize("steps", [[0], [700], [0, 50]])
def test_every_recorded_step_is_seen(steps):
    figure = drawn(steps)
    (axes,) = figure.axes
    pixels = np.asarray(figure.canvas.buffer_rgba())[:, :, :3] / 255
    left, bottom, right, top = axes.get_window_extent().extents.round().astype(int)
    inside = pixels[len(pixels) - top : len(pixels) - bottom, left:right]
    color = to_rgb(style.line_styles(1)[0][0])
    assert (np.abs(inside - color).max(axis=2) < 0.1).sum() > 20


@pytest.mark.parametrize("steps", [[0], [700]])
def test_a_single_step_is_the_only_tick(steps):
    (axes,) = drawn(steps).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(step) for step in steps]
