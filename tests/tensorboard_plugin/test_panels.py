"""What the panels compute in the browser: the verdict against gradlab's own, numbers against plain autograd."""

import math
import re

import numpy as np
import pytest
import tab_runs
import torch
from playwright.sync_api import expect
from torch import nn

from gradlab.diagnosis import depth_biases, depth_weights, diagnose_flow

NAMES = [
    *("0.weight", "0.bias", "2.weight", "bn1.weight", "norm.bias", "wte.weight", "rnn.weight_hh_l0", "rnn.bias_hh_l0"),
    *("a.parametrizations.weight.original1", "ln_f.weight", "tok_emb.weight", "mha.in_proj_weight", "mha.in_proj_bias"),
]
DIAGNOSE = """async (cases) => {
    const { diagnoseFlow } = await import("/data/plugin/gradlab/static/diagnosis.js");
    const map = (rows) => new Map(rows.map(([name, values]) => [name, values]));
    return cases.map(([layers, biases]) => diagnoseFlow(map(layers), map(biases)));
}"""
CHOOSE = """async (cases) => {
    const { depthWeights, depthBiases } = await import("/data/plugin/gradlab/static/diagnosis.js");
    return cases.map(([names, vectors]) => {
        const weights = depthWeights(names, new Set(vectors));
        return [weights, [...depthBiases(names, weights, new Set(vectors))]];
    });
}"""
SHOWN = """async ([rows, steps, values]) => {
    const { Heatmap } = await import("/data/plugin/gradlab/static/heatmap.js");
    const words = { title: "size", zero: "zero", none: "#ffffff", missing: "missing" };
    const map = new Heatmap({ name: "test", axis: "step", words, onmove() {}, onpick() {} });
    map.element.style.width = "400px";
    document.body.append(map.element);
    const labels = Array.from({ length: rows }, (_, row) => ({ label: `row ${row}` }));
    const table = { rows: labels, steps: Array.from({ length: steps }, (_, step) => step) };
    map.set({ ...table, values: Float64Array.from(values) });
    const shown = [...map.shown];
    map.destroy();
    map.element.remove();
    return [map.place.columns, shown];
}"""


def flows(count=150):
    """Layers and biases of every kind: steep and level, with zeros, NaN, infinity and nothing."""
    rng = np.random.default_rng(0)
    for case in range(count):
        layers, biases = {}, {}
        for layer in range(rng.integers(0, 12)):
            slope = rng.normal() * 0.2 + (0.1, 0.6, 40)[case % 3]
            sizes = 10.0 ** np.clip(slope * layer + rng.normal(size=rng.integers(0, 4)) * 0.3, -290, 290)
            if rng.random() < 0.06:
                sizes *= 0
            if len(sizes) and rng.random() < 0.05:
                sizes[rng.integers(len(sizes))] = (np.nan, np.inf)[case % 2]
            layers[f"{layer}.weight"] = sizes
            if rng.random() < 0.6:
                biases[f"{layer}.weight"] = np.full(2, 10.0 ** (rng.normal() + layer * (-0.5, 0.5)[case % 2]))
        yield layers, biases


def rounded(words):
    """Python writes 480 as 4.8e+02."""
    words = words.replace("−", "-")
    return re.sub(r"(?<=× )[\d.]+(e[+-]\d{2}\b)?(?![\de])", lambda found: f"{float(found[0]):.2g}", words)


def test_the_verdict_is_that_of_the_figures(tab):
    cases = list(flows())
    plain = [[[[n, v.tolist()] for n, v in part.items()] for part in case] for case in cases]
    found = tab.page.evaluate(DIAGNOSE, plain)
    expected = [diagnose_flow(*case) for case in cases]
    assert {flow.verdict for flow in expected} == {"healthy", "vanishing", "exploding", "dead", "non-finite", "unknown"}
    assert [each["verdict"] for each in found] == [flow.verdict for flow in expected]
    assert [rounded(each["words"]) for each in found] == [rounded(flow.words) for flow in expected]


def test_the_marked_layers_lie_beyond_a_factor_of_100_from_the_loss(tab):
    layers = [[f"{i}.weight", [10.0 ** (i - 4)]] for i in range(5)]
    (found,) = tab.page.evaluate(DIAGNOSE, [[layers, []]])
    assert found["trend"] == "vanishing"
    assert found["outlying"] == ["0.weight", "1.weight"]  # 1e-4 and 1e-3 against 1 at the loss


def test_the_layers_that_are_compared_are_those_of_the_figures(tab):
    rng = np.random.default_rng(0)
    cases = [[[n for n in NAMES if rng.random() < 0.5], [n for n in NAMES if rng.random() < 0.1]] for _ in range(100)]
    found = tab.page.evaluate(CHOOSE, cases)
    for (names, vectors), (weights, biases) in zip(cases, found, strict=True):
        assert weights == depth_weights(names, vectors)
        assert dict(biases) == depth_biases(names, weights, vectors)


def test_of_more_steps_than_pixels_spikes_and_nan_stay_to_be_seen(tab):
    sizes = np.random.default_rng(0).uniform(1, 2, (2, 10_000))
    sizes[0, 5_003] = 9.0
    sizes[1, 7_001], sizes[1, 7_002] = math.nan, 99.0
    columns, shown = tab.page.evaluate(SHOWN, [2, 10_000, sizes.ravel().tolist()])
    assert 100 < columns <= 400
    shown = np.reshape(shown, (2, columns))
    assert 5_003 in shown[0]
    assert 7_001 in shown[1]
    assert 7_002 not in shown[1]
    for column, place in enumerate(shown[0]):
        first, last = column * 10_000 // columns, (column + 1) * 10_000 // columns
        assert place == first + sizes[0, first:last].argmax()


def test_a_weight_and_its_gradient_are_read_together(tab):
    tab.look_at("backprop", "Partials")
    tab.page.get_by_label("parameter", exact=True).select_option("2.weight")
    tab.page.get_by_role("slider", name="step").press("Home")
    expect(tab.page.get_by_role("application", name=re.compile("^Partial derivatives of 2.weight"))).to_be_visible()
    matrix = tab.page.get_by_role("application", name=re.compile("^weight"))
    matrix.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        matrix.press(key)
    readout = tab.panel.locator(".readout").first
    expect(readout).to_contain_text("entry [1, 2]")
    weight, gradient = re.findall(r"(?:weight|gradient) (\S+?)[, ]", readout.inner_text().replace("−", "-"))
    expected = before_the_first_step()
    assert float(weight) == pytest.approx(expected.weight[1, 2].item(), rel=1e-4)
    assert float(gradient) == pytest.approx(expected.weight.grad[1, 2].item(), rel=1e-4)


def before_the_first_step():
    """The second layer of `tab_runs.backprop`, with its gradient by autograd."""
    torch.manual_seed(0)
    first, second, third = (nn.Linear(*pair) for pair in zip(tab_runs.WIDTHS, tab_runs.WIDTHS[1:], strict=False))
    x, y = torch.randn(16, tab_runs.WIDTHS[0]), torch.arange(16) % tab_runs.WIDTHS[-1]
    nn.functional.cross_entropy(third(second(first(x).tanh()).tanh()), y).backward()
    return second


def test_the_entries_of_a_vector_are_curves_from_which_a_step_can_be_chosen(new_tab, server):
    tab = new_tab(480).open(server.url(), "backprop", "Partials")
    tab.page.get_by_label("parameter", exact=True).select_option("0.bias")
    expect(tab.panel).to_contain_text("its entries are curves")
    curves = tab.page.get_by_role("application", name=re.compile("^Partial derivatives of 0.bias"))
    curves.focus()
    curves.press("ArrowDown")
    curves.press("End")
    curves.press("Enter")
    assert tab.step == 59
    tab.picture()


REMARK = """async (cases) => {
    const { remark } = await import("/data/plugin/gradlab/static/panels/graph_words.js");
    return cases.map(([operation, place]) => remark(operation, place));
}"""


def test_the_trainers_division_of_the_loss_is_explained(tab):
    div = {"operation": "div", "module": "", "formula": "y = a / b, b = 4"}
    cases = [[div, 0], [div, 1], [{**div, "module": "head"}, 0], [{**div, "operation": "mul"}, 0]]
    first, *others = tab.page.evaluate(REMARK, cases)
    assert "accumulate_grad_batches" in first
    assert others == ["", "", ""]
