"""The profile of the gradient flow: medians, bars, the line, and what stands in the title."""

import numpy as np
import pytest

from gradlab.figures import flow_profile, style
from gradlab.records import Scalar
from gradlab.sinks import MemorySink


def memory_of(curves, **options):
    memory = MemorySink(**options)
    memory.write(Scalar(f"gradient/{name}/rms", s, v) for name, own in curves.items() for s, v in enumerate(own))
    return memory


def drawn(curves, render=True):
    memory = memory_of(curves)
    assert flow_profile.ready(memory)
    figure = flow_profile.figure(memory)
    if render:
        style.png(figure, dpi=20)
    return figure.axes[0]


def lines(axes):
    return {str(line.get_label()).partition(":")[0]: line for line in axes.lines}


def caption(axes):
    return axes.texts[0].get_text().replace("\n", " ")


def test_dots_are_medians_over_the_last_tenth_and_bars_reach_to_the_extremes():
    rng = np.random.default_rng(0)
    curves = {f"{i}.weight": 10 ** rng.normal(size=200) for i in range(5)}
    axes = drawn(curves)
    late = np.array([values[180:] for values in curves.values()])
    end, start = lines(axes)["end"], lines(axes)["start"]
    assert end.get_label() == "end: steps 180 to 199 (dot: median, bar: smallest to largest)"
    assert end.get_xdata() == pytest.approx(np.median(late, axis=1))
    assert start.get_label() == "start: steps 0 to 4"
    assert start.get_xdata() == pytest.approx([np.median(values[:5]) for values in curves.values()])
    (bars,) = axes.collections
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    assert ends == pytest.approx(np.stack([late.min(axis=1), late.max(axis=1)], axis=1))


def test_the_line_and_its_slope_in_words():
    axes = drawn({f"{i}.weight": [0.5 ** (5 - i)] * 10 for i in range(6)})
    line = lines(axes)["fitted line"]
    assert line.get_label() == "fitted line: × 0.5 a layer towards the input"
    assert list(line.get_xdata()) == pytest.approx([0.5**5, 1])
    assert list(line.get_ydata()) == [0, 5]
    assert axes.get_title(loc="left") == "Gradient flow over depth: healthy"
    assert caption(axes) == "weights' gradients × 0.5 a layer on the way back to the input, × 0.031 over 6 layers"


def test_biases_and_gains_are_left_out():
    curves = {"0.weight": [1.0], "0.bias": [1e9], "norm.weight": [1e9], "2.weight": [1.0], "2.bias": [1e-9]}
    assert [label.get_text() for label in drawn(curves).get_yticklabels()] == ["0.weight", "2.weight"]


def test_a_gain_that_its_name_does_not_betray_is_known_by_its_partials():
    memory = memory_of({"0.weight": [1.0], "1.weight": [1e9], "2.weight": [1.0]})
    memory.write([Scalar("partial/0.weight[0,1]", 0, 1.0), Scalar("partial/1.weight[3]", 0, 1.0)])
    labels = flow_profile.figure(memory).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["0.weight", "2.weight"]


def test_what_only_the_biases_tell_is_drawn_and_said():
    curves = {f"{i}.{kind}": [1.0 if kind == "weight" else 3.0**-i] for i in range(8) for kind in ("weight", "bias")}
    axes = drawn(curves)
    assert axes.get_title(loc="left") == "Gradient flow over depth: exploding"
    assert "(their biases' gradients) × 3 a layer" in caption(axes)
    assert lines(axes)["the biases (median at the end)"].get_xdata() == pytest.approx(3.0 ** -np.arange(8))


def test_dead_broken_and_missing_layers_are_marked_and_named():
    curves = {"0.weight": [0.0] * 20, "1.weight": [1.0] * 19 + [np.nan], "2.weight": [1.0] * 3, "3.weight": [1.0] * 20}
    axes = drawn(curves)
    marks = {str(line.get_label()): list(line.get_ydata()) for line in axes.lines if line.get_marker() == "x"}
    assert marks == {"exactly zero": [0], "NaN or infinite": [1], "no gradient recorded at the end": [2]}
    assert axes.get_title(loc="left") == "Gradient flow over depth: non-finite"
    for words in ("exactly zero: 0.weight", "NaN or infinite: 1.weight", "no gradient in these steps: 2.weight"):
        assert words in caption(axes)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e-300, 1e300])
def test_anything_can_be_drawn(value):
    assert drawn({"0.weight": [value] * 5, "2.weight": [value] * 5})
    assert drawn({"0.weight": [value] * 5, "2.weight": [1.0] * 5, "4.weight": [1e-200] * 5})


def test_harmless_differences_look_small():
    low, high = drawn({"0.weight": [1.0], "2.weight": [1.2]}).get_xlim()
    assert high / low > 999


def test_a_long_thinned_run_and_a_deep_network():
    memory = MemorySink(limit=2000)
    memory.write(Scalar(f"gradient/{i}.weight/rms", step, 2.0) for i in range(2) for step in range(100_000))
    end = lines(flow_profile.figure(memory).axes[0])["end"]
    first, last = (int(word) for word in end.get_label().split() if word.isdigit())
    assert last == 99_999
    assert 90_000 <= first <= 90_100
    axes = drawn({f"{i}.weight": [1.0] for i in range(160)})
    assert len(lines(axes)["end"].get_xdata()) == 160
    assert len(axes.get_yticks()) < 60


@pytest.mark.parametrize("names", [[], ["theta"], ["0.weight", "0.bias"]])
def test_without_depth_there_is_no_profile(names):
    assert not flow_profile.ready(memory_of(dict.fromkeys(names, [1.0])))
