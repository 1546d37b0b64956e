"""Figures drawn from records: which are drawn, what is in them, and that they are pictures."""

import io
import math
from functools import cache

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from PIL import Image

from gradlab.figures import agreement, chain, draw, flow, loss, partials, style
from gradlab.figures.gallery import makers
from gradlab.figures.save import save_all
from gradlab.records import Array, Breakdown, Scalar, Term
from gradlab.sinks import MemorySink

STEPS = 6
PARAMETERS = ("0.weight", "0.bias", "2.weight")

LOSS = [Scalar("loss/train", step, 2.0**-step) for step in range(STEPS)]
GRADIENT = [Scalar(f"gradient/{name}/rms", step, 0.1 + step) for step in range(STEPS) for name in PARAMETERS]
PARTIALS = [Scalar(f"partial/0.bias[{i}]", step, i - step) for step in range(STEPS) for i in range(3)]
AGREEMENT = [Scalar(f"agreement/{name}/log10_error", step, -7.0) for step in range(STEPS) for name in PARAMETERS]
CHAIN = [
    Breakdown(
        "chain/table",
        3,
        (
            Term("loss", "mse_loss", "", "", (), 1.0, 0.5, 0.5),
            Term("1", "tanh", "", "", (4,), 0.5, 0.25, 0.5),
            Term("0", "addmm", "", "", (4,), 0.25, 2.0, 8.0),
        ),
    )
]
SURFACE = [
    Array("surface/x", 0, np.linspace(-2, 2, 21)),
    Array("surface/y", 0, np.linspace(-2, 2, 21)),
    Array("surface/z", 0, np.add.outer(np.linspace(-2, 2, 21) ** 2, np.linspace(-2, 2, 21) ** 2)),
    Array("surface/minimizers", 0, np.zeros((1, 2))),
    *(Array("path/point", step, np.full(2, 0.5**step)) for step in range(STEPS)),
]
MATRICES = [Array("partial/0.weight", 5, np.outer(np.arange(1, 5), np.arange(-2, 3)) * 1e-3)]
UPDATES = [Scalar(f"update/{name}/ratio", step, 1e-3 + step) for step in range(STEPS) for name in PARAMETERS]
NEEDS = {
    "loss": LOSS,
    "gradient_flow": GRADIENT,
    "flow_profile": GRADIENT,
    "partials": PARTIALS,
    "partial_matrices": MATRICES,
    "updates": UPDATES,
    "agreement": AGREEMENT,
    "chain_rule": CHAIN,
    "contour": SURFACE,
}


def filled(*parts):
    memory = MemorySink()
    for part in parts:
        memory.write(part)
    return memory


@cache
def alone(name):
    """The figure of which, and of which alone (or of another that needs the same), the records came."""
    figures = draw(filled(NEEDS[name]), tolerance=1e-6)
    assert list(figures) == [other for other in NEEDS if NEEDS[other] is NEEDS[name]]
    return figures[name]


def drawn_axes(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def texts(axes):
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def settings():
    # Matplotlib chooses the backend when it is first asked for it.
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def decoded(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("name", NEEDS)
def test_a_figure_is_drawn_when_its_records_came_and_only_then(name):
    assert alone(name) is not None
    maker = makers("loss", None)[name]
    assert maker.ready(filled(NEEDS[name]))
    assert not maker.ready(filled(*(records for records in NEEDS.values() if records is not NEEDS[name])))


def test_nothing_is_drawn_of_nothing():
    assert draw(MemorySink()) == {}


def test_the_overview_is_of_networks_only():
    network = [LOSS, GRADIENT, AGREEMENT, CHAIN]
    figures = draw(filled(*network))
    assert list(figures)[0] == "overview"
    titles = [axes.get_title(loc="left") for axes in drawn_axes(figures["overview"])]
    assert len(titles) == 4
    assert all(titles)
    assert "overview" not in draw(filled(*network, SURFACE))


@pytest.mark.parametrize("name", NEEDS)
def test_every_axis_has_a_name(name):
    for axes in drawn_axes(alone(name)):
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()


@pytest.mark.parametrize("name", NEEDS)
def test_a_figure_is_a_picture_with_something_on_it_and_white_around(name):
    pixels = decoded(style.png(alone(name), dpi=30))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edges == 255).all(), "something is cut off at the edge"


def test_drawing_changes_nobody_elses_settings():
    before = settings()
    style.png(draw(filled(LOSS))["loss"], dpi=20)
    assert settings() == before


def test_saved_files_and_records_are_the_same_pictures(tmp_path):
    records = save_all(filled(LOSS), tmp_path, step=7)
    assert [(record.tag, record.step) for record in records] == [("figure/loss", 7)]
    assert (tmp_path / "loss.png").read_bytes() == records[0].png
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_the_loss_curve_has_the_recorded_points():
    linear, logarithmic = loss.figure(filled(LOSS)).axes
    for axes in (linear, logarithmic):
        assert axes.lines[0].get_xdata().tolist() == list(range(STEPS))
        assert axes.lines[0].get_ydata().tolist() == [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]
        assert [text.get_text() for text in axes.texts if text.get_text() in ("1", "0.0312")] == ["1", "0.0312"]
    assert (linear.get_yscale(), logarithmic.get_yscale()) == ("linear", "log")


@pytest.mark.parametrize(
    "values",
    [[1.0, math.nan, 3.0], [math.nan, math.inf], [0.0], [-1.0, 1.0]],
    ids=["gap", "broken", "zero", "negative"],
)
def test_a_loss_of_any_kind_can_be_drawn(values):
    figure = loss.figure(filled([Scalar("loss/train", step, value) for step, value in enumerate(values)]))
    assert decoded(style.png(figure, dpi=20)).size
    broken = [step for step, value in enumerate(values) if not math.isfinite(value)]
    expected = [f"NaN or infinite, first at step {broken[0]}"] if broken else []
    assert texts(figure.axes[0]) == expected


@pytest.mark.parametrize("count", [1, 3, 8, 9, 30])
def test_partials_have_one_curve_for_each_entry(count):
    records = [Scalar(f"partial/w[{i},0]", step, i + step) for step in range(4) for i in range(count)]
    (axes,) = partials.figure(filled(records)).axes
    curves = [line for line in axes.lines if len(line.get_xdata()) == 4]
    assert [line.get_ydata().tolist() for line in curves] == [[i, i + 1, i + 2, i + 3] for i in range(count)]
    assert texts(axes) == ([f"[{i},0]" for i in range(count)] if count <= 8 else [])


@pytest.mark.parametrize(("parameters", "panels"), [(1, 1), (4, 4), (5, 5), (12, 9)])
def test_partials_have_one_panel_for_each_parameter_up_to_nine(parameters, panels):
    figure = partials.figure(filled([Scalar(f"partial/p{i}[0]", 0, 1.0) for i in range(parameters)]))
    assert len(figure.axes) == panels
    assert ("3 more" in figure.get_suptitle()) == (parameters == 12)


def test_agreement_has_dots_for_each_parameter_and_the_tolerance():
    (axes,) = agreement.figure(filled(AGREEMENT), tolerance=1e-5).axes
    dots = [line for line in axes.lines if line.get_marker() == "."]
    assert len(dots) == len(PARAMETERS)
    assert all(line.get_ydata().tolist() == [-7.0] * STEPS for line in dots)
    assert sorted(texts(axes)) == sorted(PARAMETERS)
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    assert list(dashed.get_ydata()) == pytest.approx([-5, -5])


def test_agreement_counts_what_is_equal_to_the_last_bit():
    records = [Scalar("agreement/w/log10_error", step, -17.0 if step < 1 else -7.5) for step in range(400)]
    (axes,) = agreement.figure(filled(records)).axes
    assert "equal to the last bit: 1 of 400 comparisons" in [text.get_text() for text in axes.texts]


def test_agreement_names_the_worst_and_counts_the_others():
    records = [Scalar(f"agreement/p{i}/log10_error", 0, -16.0 + i) for i in range(11)]
    (axes,) = agreement.figure(filled(records)).axes
    assert texts(axes) == [*(f"p{i}" for i in range(10, 2, -1)), "3 more, with smaller errors"]


@pytest.mark.parametrize("error", [math.nan, math.inf])
def test_agreement_marks_errors_that_are_not_finite(error):
    records = [Scalar("agreement/w/log10_error", 0, -7.0), Scalar("agreement/w/log10_error", 1, error)]
    (axes,) = agreement.figure(filled(records)).axes
    assert "NaN or infinite, first at step 1" in texts(axes)


def test_gradient_flow_has_a_row_for_each_parameter_and_a_column_for_each_step():
    axes = drawn_axes(flow.figure(filled(GRADIENT)))[0]
    (mesh,) = (part for part in axes.collections if isinstance(part, QuadMesh))
    expected = np.log10(0.1 + np.arange(STEPS))
    assert np.asarray(mesh.get_array()).reshape(len(PARAMETERS), STEPS) == pytest.approx(np.tile(expected, (3, 1)))
    assert [label.get_text() for label in axes.get_yticklabels()] == list(PARAMETERS)


def test_gradient_flow_keeps_a_spike_in_a_long_run():
    records = [Scalar("gradient/w/rms", step, 1000.0 if step == 1234 else 1.0) for step in range(5000)]
    (mesh,) = (part for part in drawn_axes(flow.figure(filled(records)))[0].collections if isinstance(part, QuadMesh))
    columns = np.asarray(mesh.get_array()).ravel()
    assert len(columns) < 1000
    assert columns.max() == pytest.approx(3)
    assert (columns == columns.max()).sum() == 1


def test_gradient_flow_explains_zero_nan_and_absence():
    records = [
        *(Scalar("gradient/a/rms", step, value) for step, value in enumerate((0.0, math.nan, 1.0))),
        Scalar("gradient/b/rms", 2, 1.0),
    ]
    axes = drawn_axes(flow.figure(filled(records)))[0]
    assert texts(axes) == ["exactly zero", "NaN or infinite", "no gradient recorded"]


def test_the_chain_rule_has_one_slope_for_each_term():
    (axes,) = chain.figure(filled(CHAIN)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mse_loss\nloss", "tanh\n1", "addmm\n0"]
    slopes = [
        list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2
    ]
    assert slopes == [[1.0, 0.5], [0.5, 0.25], [0.25, 2.0]]
    links = [list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == ":"]
    assert links == [[0.5, 0.5], [0.25, 0.25]]
    assert "× 8" in [text.get_text() for text in axes.texts]


def test_the_chain_rule_of_a_large_network_is_drawn_by_module():
    many = Breakdown("chain/table", 3, tuple(Term(str(i), "tanh", "", "", (), 1.0, 1.0, 1.0) for i in range(40)))
    modules = [Scalar(f"chain/{name}/upstream", 3, 1.0) for name in ("loss", "1", "0")]
    (axes,) = chain.figure(filled([many], modules)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["loss", "1", "0"]


def test_the_chain_rule_survives_zero_nan_and_infinity():
    values = ((1.0, 0.0, 0.0), (math.nan, math.nan, math.nan), (math.inf, 1.0, math.inf), (0.0, 0.0, math.nan))
    terms = tuple(Term("m", "op", "", "", (), up, down, gain) for up, down, gain in values)
    figure = chain.figure(filled([Breakdown("chain/table", 0, terms)]))
    assert decoded(style.png(figure, dpi=20)).size
    assert chain.BROKEN in texts(figure.axes[0])


def test_the_first_28_line_styles_differ():
    assert len(set(style.line_styles(28))) == 28
    assert len(style.line_styles(60)) == 60
