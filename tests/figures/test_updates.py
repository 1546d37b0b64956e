"""Updates: the ratios, the rule of thumb, clipping, and what has no logarithm."""

import numpy as np
import pytest

from gradlab.figures import style, updates
from gradlab.records import Scalar
from gradlab.sinks import MemorySink


def drawn(ratios=None, totals=None, limit=None):
    memory = MemorySink(limit=limit)
    curves = {f"update/{name}/ratio": own for name, own in (ratios or {"0.weight": [1e-3]}).items()}
    curves |= {f"total/{name}": own for name, own in (totals or {}).items()}
    memory.write(Scalar(tag, step, value) for tag, own in curves.items() for step, value in enumerate(own))
    figure = updates.figure(memory)
    style.png(figure, dpi=20)
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def lines(axes):
    return {str(line.get_label()): line for line in axes.lines}


def test_each_weight_has_its_curve_on_a_logarithmic_axis_with_the_rule_of_thumb():
    ratios = {"0.weight": [0.1, 0.01, 1e-5], "0.bias": [9.0, 9.0, 9.0], "2.weight": [2.0, 1e-4, 1e-3]}
    (axes,) = drawn(ratios)
    assert list(lines(axes)) == ["0.weight", "2.weight", "rule of thumb: about 0.001"]
    for name in ("0.weight", "2.weight"):
        assert lines(axes)[name].get_ydata().tolist() == ratios[name]
        assert lines(axes)[name].get_xdata().tolist() == [0, 1, 2]
    assert list(lines(axes)["rule of thumb: about 0.001"].get_ydata()) == [1e-3, 1e-3]
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize("value", [1e-7, 0.9])
def test_the_rule_of_thumb_is_in_sight_and_so_are_the_curves(value):
    low, high = drawn({"0.weight": [value]})[0].get_ylim()
    assert low < min(value, 1e-3)
    assert high > max(value, 1e-3)


def test_parameters_that_are_no_weights_are_drawn_if_there_is_nothing_else():
    assert "theta" in lines(drawn({"theta": [1e-3]})[0])


def test_many_weights_are_shaded_from_the_input_to_the_loss():
    (axes,) = drawn({f"{i}.weight": [1e-3 * (i + 1)] * 3 for i in range(20)})
    curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata()[0] for line in curves] == pytest.approx([1e-3 * (i + 1) for i in range(20)])
    assert len({line.get_color() for line in curves}) == 20
    assert len(axes.get_legend().get_texts()) == 1
    (bar,) = [other for other in axes.figure.axes if other.get_label() == "<colorbar>"]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["input", "loss"]


def test_zero_nan_and_infinity_are_marked():
    (axes,) = drawn({"0.weight": [1e-3, 0.0, np.nan, 1e-3], "2.weight": [1e-3, 1e-3, np.inf, 0.0]})
    marks = {label: line.get_xdata().tolist() for label, line in lines(axes).items() if line.get_marker() == "x"}
    assert marks == {"exactly zero, first at step 1": [1, 3], "NaN or infinite, first at step 2": [2]}


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e-300])
def test_anything_can_be_drawn(value):
    totals = dict.fromkeys(("norm_before_clipping", "norm_after_clipping", "clip_coefficient"), [value] * 2)
    assert drawn({"0.weight": [value] * 2}, totals)


def test_clipping_is_shown_as_norms_and_as_a_coefficient():
    before, after, coefficient = [0.5, 4.0, 2.0, 0.1], [0.5, 1.0, 1.0, 0.1], [1.0, 0.25, 0.5, 1.0]
    totals = {"norm_before_clipping": before, "norm_after_clipping": after, "clip_coefficient": coefficient}
    _, norms, factors = drawn(totals=totals)
    assert lines(norms)["before clipping"].get_ydata().tolist() == before
    assert lines(norms)["after clipping"].get_ydata().tolist() == after
    assert lines(factors)["clipped at 50% of the steps"].get_ydata().tolist() == coefficient


def test_without_clipping_there_is_one_norm_and_no_coefficient():
    norm = [0.5, 4.0]
    _, norms = drawn(totals={"norm_before_clipping": norm, "norm_after_clipping": norm, "clip_coefficient": [1.0, 1.0]})
    assert list(lines(norms)) == ["nothing was clipped"]
    (_, alone) = drawn(totals={"norm_before_clipping": norm})
    assert list(lines(alone)) == ["before clipping"]


def test_several_optimizers_are_told_apart():
    totals = {
        f"{label}/{field}": [0.5] for label in ("a", "b") for field in ("norm_before_clipping", "clip_coefficient")
    }
    _, norms, factors = drawn(totals=totals)
    assert list(lines(norms)) == ["before clipping (a)", "before clipping (b)"]
    assert [label for label in lines(factors) if ":" in label] == [
        "a: clipped at 100% of the steps",
        "b: clipped at 100% of the steps",
    ]


def test_a_long_thinned_run():
    (axes,) = drawn({"0.weight": np.geomspace(1, 1e-6, 100_000)}, limit=2000)
    curve = lines(axes)["0.weight"]
    assert len(curve.get_xdata()) <= 2000
    assert curve.get_ydata()[-1] == pytest.approx(1e-6)
    assert curve.get_xdata()[-1] == 99_999
