"""The chain rule on a formula, against autograd, closed forms written out by hand, and counts of paths."""

import json
import math

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gradlab.errors import BadInput
from gradlab.figures import expression_graph as drawn
from gradlab.figures import path_sums
from gradlab.figures.edges import Wire, label_places, wires
from gradlab.figures.layers import layers
from gradlab.figures.style import look
from gradlab.studies import chain_rule
from gradlab.studies.chain_rule import ChainRule
from gradlab.studies.expression_graph import Graph, product
from gradlab.studies.operations import FUNCTIONS
from gradlab.studies.written import Written, names_in

FORMULAS = [
    ("x*sin(x*y) + y", {"x": 2.0, "y": -1.0}),
    ("(tanh(w*x + b) - t)**2", {"w": 0.5, "x": 2.0, "b": -0.3, "t": 1.0}),
    ("x**2 * exp(-x) / (x**2 + 1)", {"x": 1.5}),
    ("x**x + 2**x + x**3.5", {"x": 1.3}),
    ("3 - x - (-x) * Abs(x) + 1/x", {"x": -0.7}),
    ("Max(x, y) * Min(x, 2) + sqrt(x) * ln(y) + pi*x", {"x": 0.4, "y": 3.0}),
    ("f*x + sin(f)", {"f": 0.3, "x": 2.0}),
]


def graph_of(text, values):
    return ChainRule(text, values)._follow()[0]


@pytest.mark.parametrize(("text", "values"), FORMULAS, ids=lambda each: each if isinstance(each, str) else "")
def test_all_witnesses_agree_and_autograd_of_the_plain_formula_does(text, values):
    found = ChainRule(text, values)(None)
    assert set(found.errors) == {
        "handwritten",
        "numeric",
        "symbolic",
        "the sum over paths",
        "sympy's local derivatives",
    }
    assert max(found.errors.values()) < found.tolerance
    leaves = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in values.items()}
    names = {**{name: getattr(torch, own) for name, own in FUNCTIONS.items()}, "pi": math.pi, **leaves}
    plain = eval(text.replace("Min(x, 2)", "Min(x, x*0 + 2)"), {}, names)
    plain.backward()
    assert found.numbers["f"] == pytest.approx(plain.item(), rel=1e-12)
    for name, leaf in leaves.items():
        assert found.numbers[f"df/d{name}"] == pytest.approx(leaf.grad.item(), rel=1e-12)


def test_the_default_has_the_numbers_of_the_closed_form():
    numbers = ChainRule("x*sin(x*y) + y", "x = 2, y = -1")(None).numbers
    x, y = 2.0, -1.0
    assert numbers == pytest.approx(
        {
            "f": x * math.sin(x * y) + y,
            "df/dx through a": x * y * math.cos(x * y),
            "df/dx through c": math.sin(x * y),
            "df/dx": x * y * math.cos(x * y) + math.sin(x * y),
            "df/dy through a": x**2 * math.cos(x * y),
            "df/dy directly": 1.0,
            "df/dy": x**2 * math.cos(x * y) + 1,
        }
    )


def test_a_power_is_as_many_paths_as_factors():
    graph = graph_of("x*x*x", {"x": 2.0})
    paths = list(graph.paths("x"))
    assert [product(path) for path in paths] == [4.0, 4.0, 4.0]
    assert graph.count("x") == 3
    assert ChainRule("x*x", {"x": 3.0})(None).numbers["df/dx directly again"] == 3.0


def test_what_is_written_twice_is_computed_once():
    steps = Written("sin(x*y) + cos(x*y)", ["x", "y"]).steps(torch.tensor(1.0), torch.tensor(2.0))
    assert [f"{step.name} = {step.formula}" for step in steps] == ["a = x·y", "b = sin(a)", "c = cos(a)", "f = b + c"]


def test_edges_carry_upstream_times_local():
    graph = graph_of("(x + y) * exp(x - y) / (1 + x**2)", {"x": 0.3, "y": 0.8})
    gradients = {node.name: node.gradient for node in graph.nodes}
    for edge in graph.edges:
        assert edge.upstream == gradients[edge.target]
        assert edge.downstream == pytest.approx(edge.upstream * edge.local, rel=1e-14)
    for node in graph.nodes[:-1]:
        own = [edge.downstream for edge in graph.edges if edge.source == node.name]
        assert node.gradient == pytest.approx(sum(own), rel=1e-14)


def test_a_wrong_local_derivative_is_noticed(monkeypatch):
    right = chain_rule.graph_of

    def wrong(*arguments):
        graph = right(*arguments)
        first, *others = graph.edges
        changed = type(first)(*(getattr(first, name) * (1.01 if name == "local" else 1) for name in first.__slots__))
        return Graph(graph.text, graph.nodes, (changed, *others))

    monkeypatch.setattr(chain_rule, "graph_of", wrong)
    found = ChainRule("x*sin(x*y) + y", {"x": 2.0, "y": -1.0})(None)
    assert found.errors["sympy's local derivatives"] == pytest.approx(0.01 / 1.01)
    assert found.errors["the sum over paths"] > found.tolerance
    assert found.errors["handwritten"] < found.tolerance


@pytest.mark.parametrize(
    ("text", "values", "words"),
    [
        ("x*z", {"x": 1.0}, "z has no value"),
        ("x*foo(x)", {"x": 1.0}, "cannot be followed"),
        ("x", {"x": 1.0}, "no operation"),
        ("x +", {"x": 1.0}, "no formula"),
        ("sin(x, x)", {"x": 1.0}, "takes 1 numbers"),
        ("x*y", "x=1, y", "study.values"),
    ],
)
def test_what_cannot_be_followed_is_said(text, values, words):
    with pytest.raises(BadInput, match=words):
        ChainRule(text, values)


def test_a_value_that_is_no_number_and_too_many_operations_are_said():
    with pytest.raises(BadInput, match=r"a = log\(y\) is nan at y = -1"):
        ChainRule("log(y)*x", {"x": 1.0, "y": -1.0})(None)
    with pytest.raises(BadInput, match="room for 20"):
        ChainRule("+".join(f"sin({i}*x)" for i in range(1, 9)), {"x": 1.0})(None)
    with pytest.raises(BadInput, match="more than 200 paths"):
        graph_of(doubled("x", 8), {"x": 1.0})


def doubled(text, times):
    """A square of a square of …: the number of paths doubles with each."""
    for _ in range(times):
        text = f"({text})*({text})"
    return text


def test_names_stand_in_their_order():
    assert names_in("sin(y)*x + y*pi") == ["y", "x"]


# --- the picture --------------------------------------------------------------------------------------------


def test_layers_put_every_edge_to_the_right_and_boxes_apart():
    graph = graph_of("(x+y)*(x+z)*(y+z) + x", {"x": 1.0, "y": 2.0, "z": -0.5})
    links = [(edge.source, edge.target) for edge in graph.edges]
    places, routes = layers([node.name for node in graph.nodes], links)
    for (source, target), route in zip(links, routes, strict=True):
        assert route[0] == places[source]
        assert route[-1] == places[target]
        assert [column for column, _ in route] == list(range(int(places[source][0]), int(places[target][0]) + 1))
    for name, (column, height) in places.items():
        others = [h for other, (c, h) in places.items() if other != name and c == column]
        assert all(abs(height - other) > 1 - 1e-6 for other in others)


def test_a_tree_has_no_crossings():
    nodes = ["p", "q", "r", "s", "a", "b", "f"]
    links = [("p", "b"), ("q", "a"), ("r", "b"), ("s", "a"), ("b", "f"), ("a", "f")]
    places, _ = layers(nodes, links)
    for i, (a, b) in enumerate(links):
        for c, d in links[:i]:
            if places[a][0] == places[c][0] and b != d:
                assert (places[a][1] - places[c][1]) * (places[b][1] - places[d][1]) > 0


@pytest.mark.parametrize(("text", "values"), FORMULAS[:3], ids=["default", "neuron", "fraction"])
def test_no_label_covers_a_box_or_another_label(text, values):
    with look():
        picture = drawn.figure(graph_of(text, values))
        canvas = FigureCanvasAgg(picture)
        canvas.draw()
    renderer = canvas.get_renderer()
    for axes in picture.axes:
        labels = [text for text in axes.texts if text.get_zorder() == 2.5]
        boxes = [patch.get_window_extent(renderer) for patch in axes.patches if patch.get_zorder() == 3]
        spans = [label.get_window_extent(renderer) for label in labels]
        assert len(labels) == len(graph_of(text, values).edges)
        for i, span in enumerate(spans):
            assert not any(span.overlaps(other) for other in [*boxes, *spans[:i]]), labels[i].get_text()


def test_a_text_beside_a_level_line_stands_above_it():
    (wire,) = wires({"a": (0.0, 0.0), "b": (5.0, 0.0)}, [[(0.0, 0.0), (5.0, 0.0)]], [("a", "b")], {0.0: 1.0, 5.0: 1.0})
    assert isinstance(wire, Wire)
    (label,) = label_places([wire], ["1 × 2\n= 2"], [(0.0, 0.0, 1.0, 0.7), (5.0, 0.0, 1.0, 0.7)])
    assert label.y > 0.25
    assert abs(label.x - 2.5) < 0.2
    assert wire.reversed(0.1).vertices[-1].tolist() == [0.6, 0.0]


def test_many_paths_are_drawn_as_the_largest_and_a_rest():
    graph = graph_of("x*x*x*x*x*x*x*x*x*x", {"x": 1.0})
    (axes,) = path_sums.figure(graph, {"x": list(graph.paths("x"))}).axes
    assert [label.get_text() for label in axes.get_yticklabels()][-2:] == ["2 more paths", "∂f/∂x"]
    assert [bar.get_width() for bar in axes.patches] == [*[1.0] * 8, 2.0, 10.0]


def test_the_tab_gets_the_graph_with_the_numbers_of_the_closed_form():
    x, y = 2.0, -1.0
    found = ChainRule("x*sin(x*y) + y", {"x": x, "y": y})._follow()[1]
    structure, numbers = json.loads(found[0].structure), found[1].values
    gradients = {v["name"]: numbers[v["gradient"]["numbers"]["at"]] for v in structure["values"]}
    assert gradients["x"] == pytest.approx(math.sin(x * y) + x * y * math.cos(x * y), rel=1e-14)
    assert gradients["y"] == pytest.approx(x * x * math.cos(x * y) + 1, rel=1e-14)
    assert [operation["outputs"] for operation in structure["operations"]] == [["f"], ["c"], ["b"], ["a"]]
    locals_ = [numbers[e["local"]["at"]] for e in structure["edges"] if e["value"] == "x"]
    assert locals_ == pytest.approx([math.sin(x * y), y], rel=1e-14)
    for operation in structure["operations"]:
        numeric, manual = (numbers[operation["agreement"][witness]] for witness in ("numeric", "manual"))
        assert numeric == pytest.approx(manual, rel=1e-8)  # h² and ε/h for h = 2⁻¹⁷
