"""The distribution of a gradient's entries over the steps: bars, zero, NaN, and the two layouts."""

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from PIL import Image

from gradlab.figures import distribution, flow, style
from gradlab.records import Histogram, HistogramBlock, Scalar
from gradlab.sinks import MemorySink


def histograms(entries, name="0.weight", bars=30):
    """A histogram of each step's entries, by NumPy."""
    for step, values in entries.items():
        counts, edges = np.histogram(values, bars)
        yield Histogram(f"gradient/{name}/histogram", step, edges, counts)


def filled(*parts):
    memory = MemorySink()
    for part in parts:
        memory.write(part)
    return memory


def mesh_of(axes):
    (mesh,) = [part for part in axes.collections if isinstance(part, QuadMesh)]
    return mesh


def picture(axes):
    """The middles of the rows [r] and the shares [r, columns], masked where there is no entry."""
    mesh = mesh_of(axes)
    rows = mesh.get_coordinates()[:, 0, 1]
    return (rows[1:] + rows[:-1]) / 2, mesh.get_array().reshape(len(rows) - 1, -1)


def rendered(figure):
    return np.asarray(Image.open(io.BytesIO(style.png(figure, dpi=30))))


def test_each_row_shows_the_bar_that_lies_there():
    rng = np.random.default_rng(0)
    entries = {step: rng.normal(scale=0.9**step, size=1000) for step in range(20)}
    records = list(histograms(entries))
    rows, shares = picture(distribution.figure(filled(records)).axes[0])
    assert shares.shape[1] == 20
    for column, record in enumerate(records):
        counts, edges = record.counts, record.edges
        for row, value in enumerate(rows):
            bars = [i for i in range(30) if edges[i] <= value < edges[i + 1]]
            expected = counts[bars[0]] / 1000 if bars else 0
            # Near the rim a row may hold a narrow bar beside the one at its middle: the fuller one is shown.
            assert shares.filled(0)[row, column] >= expected
        assert shares[:, column].max() == pytest.approx(counts.max() / 1000)
        assert shares.mask[np.abs(rows) > np.abs(entries[column]).max() * 1.1, column].all()


def test_a_distribution_narrower_than_a_row_is_seen():
    rows, shares = picture(
        distribution.figure(filled(histograms({0: [5.0] * 10 + [-5.0], 1: np.full(8, 3.0)}))).axes[0]
    )
    seen = rows[shares.filled(0)[:, 1] > 0.99]
    assert len(seen)
    assert np.abs(seen - 3).max() < 0.6  # np.histogram puts one value into a range of width 1


def test_zero_width_is_one_bar_and_nothing_finite_is_marked():
    block = HistogramBlock(
        ("gradient/0.weight/histogram",),
        np.arange(3),
        np.array([[-1.0], [0.5], [np.nan]]),
        np.array([[1.0], [0.5], [np.nan]]),
        np.array([[[2, 2]], [[4, 0]], [[0, 0]]]),
    )
    axes = distribution.figure(filled([block])).axes[0]
    rows, shares = picture(axes)
    (at,) = np.flatnonzero(shares.filled(0)[:, 1])
    assert shares[at, 1] == 1
    assert rows[at] == pytest.approx(0.5, rel=0.05)
    assert shares.mask[:, 2].all()
    (span,) = axes.patches
    assert (span.get_x(), span.get_width()) == (1.5, 1)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["NaN or infinite, all entries"]


@pytest.mark.parametrize(
    "entries",
    [
        {0: [0.0]},
        {0: np.zeros(9), 5: np.ones(3)},
        {0: [1e-300, 2e-300]},
        {0: [1e300, 0.0]},
        {0: [1e-40, 2e-40], 1: [1e30, -1e30]},
    ],
    ids=["zero", "zero first", "tiny", "huge", "wide"],
)
def test_any_gradient_can_be_drawn(entries):
    assert len(np.unique(rendered(distribution.figure(filled(histograms(entries)))).reshape(-1, 4), axis=0)) > 20


def test_an_early_zero_does_not_stretch_the_axis():
    block = Histogram("gradient/0.weight/histogram", 0, np.linspace(-1e-12, 1e-12, 31), np.eye(30)[15])
    axes = distribution.figure(filled([block], histograms({1: np.linspace(-1, 1, 100)}))).axes[0]
    assert min(tick for tick in axes.get_yticks() if tick > 0) >= 0.01


def test_a_late_small_gradient_is_seen_beside_an_early_large_one():
    entries = {step: np.linspace(-1, 1, 100) * 10.0**-step for step in range(5)}
    rows, shares = picture(distribution.figure(filled(histograms(entries))).axes[0])
    taken = (~np.ma.getmaskarray(shares)).sum(axis=0) / len(rows)
    assert (np.diff(taken) < 0).all()
    assert taken[-1] > 0.1


def test_a_spike_stays_in_a_long_run():
    rng = np.random.default_rng(0)
    entries = {step: rng.normal(size=20) * (1000 if step == 1234 else 1) for step in range(3000)}
    axes = distribution.figure(filled(histograms(entries))).axes[0]
    rows, shares = picture(axes)
    assert shares.shape[1] == distribution.MOST_COLUMNS
    spike = np.flatnonzero(shares.filled(0)[np.abs(rows) > 100].any(axis=0))
    left, right = axes.get_xlim()
    assert len(spike) == 1
    assert spike[0] == pytest.approx(1234 / 3000 * distribution.MOST_COLUMNS, abs=2)
    assert (left, right) == pytest.approx((0, 3000), abs=10)


def test_first_middle_and_last_weight_have_a_panel_below_the_heatmap():
    names = [f"{i}.{kind}" for i in range(5) for kind in ("weight", "bias")]
    parts = [histograms({0: [1.0, 2.0]}, name) for name in names]
    memory = filled(*parts, [Scalar(f"gradient/{name}/rms", 0, 1.0) for name in names])
    titles = [axes.get_title(loc="left") for axes in flow.figure(memory).axes]
    assert [title for title in titles if title] == [
        "Gradient flow",
        "Entries of 0.weight",
        "Entries of 2.weight",
        "Entries of 4.weight",
    ]
    assert rendered(flow.figure(memory)).size


@pytest.mark.parametrize(("names", "panels"), [(["theta"], 1), (["0.weight", "1.weight"], 2), (["b.bias"], 1)])
def test_few_parameters_have_few_panels(names, panels):
    memory = filled(*(histograms({0: [1.0, 2.0]}, name) for name in names))
    assert distribution.panels(memory) == panels
    assert len([axes for axes in distribution.figure(memory).axes if axes.get_title(loc="left")]) == panels


def test_titles_of_long_names_leave_each_other_room():
    names = [f"model.transformer.encoder.layers.{i}.self_attn.in_proj_weight" for i in range(3)]
    parts = [histograms({0: [1.0, 2.0]}, name) for name in names]
    figure = flow.figure(filled(*parts, [Scalar(f"gradient/{name}/rms", 0, 1.0) for name in names]))
    FigureCanvasAgg(figure).draw()
    titles = [axes._left_title for axes in figure.axes if axes.get_title(loc="left").endswith(".in_proj_weight")]
    boxes = [title.get_window_extent() for title in titles]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
