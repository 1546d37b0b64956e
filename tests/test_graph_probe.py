"""What the Gradlab tab draws of a backward pass. Expected numbers come from autograd's hooks and closed forms."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from wrong_functions import WIDTH, WRONG, Slot

import gradlab
from gradlab.backprop import Tape
from gradlab.probes import GraphProbe
from gradlab.records import Array, Graph
from gradlab.schedules import every
from gradlab.sinks import MemorySink
from gradlab.witnesses.operation import MOST_ENTRIES, numeric_downstream

TYPE = torch.float64
RNG = torch.Generator().manual_seed(0)
X = torch.randn(7, WIDTH, generator=RNG, dtype=TYPE)


class Kept(MemorySink):
    """Remembers structures besides, which no figure asks for."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def write(self, records):
        records = list(records)
        self.kept += [r for r in records if isinstance(r, (Graph, Array))]
        super().write(records)


class Written:
    """The records of a watched loop: structures, and for each step what stands in them."""

    def __init__(self, records):
        self.structures = {r.tag: json.loads(r.structure) for r in records if isinstance(r, Graph)}
        self.steps = {r.step: (r.tag.removesuffix("/values"), r.values) for r in records if isinstance(r, Array)}

    def at(self, step):
        tag, numbers = self.steps[step]
        return _Filled(self.structures[tag], numbers)


class _Filled:
    def __init__(self, structure, numbers):
        self.structure, self.numbers = structure, numbers

    def number(self, place):
        return float(self.numbers[place])

    def all(self, places):
        size = math.prod(places["shape"])
        return self.numbers[places["at"] : places["at"] + size].reshape(places["shape"])

    def value(self, name):
        (found,) = [v for v in self.structure["values"] if v["name"] == name]
        return found

    def operations(self, name):
        return [o for o in self.structure["operations"] if o["operation"] == name]

    def witnesses(self, operation):
        found = operation["agreement"]
        return {name: self.number(found[name]) for name in ("manual", "autograd", "numeric", "error", "tolerance")}


def watched(tmp_path, model, batches, loss=lambda y: y.square().sum(), **settings):
    sink = Kept()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    probes = {"graph": GraphProbe(every(1), **settings)}
    with gradlab.watch(model, optimizer, tmp_path, probes=probes, sinks=[sink]) as lab:
        for x in batches:
            with lab.step():
                optimizer.zero_grad()
                loss(model(x)).backward()
                optimizer.step()
    return Written(sink.kept)


def network(*middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), *middle, nn.Linear(WIDTH, 2)).to(TYPE)


def test_batches_of_another_size_keep_the_structure(tmp_path):
    written = watched(tmp_path, network(nn.Tanh()), [X, X[:5], X[:6], X])
    assert list(written.structures) == ["graph/0"]
    assert sorted(written.steps) == [0, 1, 2, 3]
    assert len({numbers.shape for _, numbers in written.steps.values()}) == 1
    (tanh,) = written.at(1).operations("tanh")
    assert written.at(0).all(tanh["shape"]).tolist() == [7, WIDTH]
    assert written.at(1).all(tanh["shape"]).tolist() == [5, WIDTH]


def test_a_batch_small_enough_to_be_read_has_a_structure_with_its_numbers(tmp_path):
    written = watched(tmp_path, network(nn.Tanh()), [X, X[:1]])
    (tanh,) = written.at(0).operations("tanh")
    assert tanh["value"]["numbers"] is None
    (tanh,) = written.at(1).operations("tanh")
    assert written.at(1).all(tanh["value"]["numbers"]).shape == (1, WIDTH)


def test_another_forward_pass_has_a_structure_of_its_own(tmp_path):
    class Switching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.calls = nn.Linear(WIDTH, 1), 0

        def forward(self, x):
            self.calls += 1
            return self.linear(x).tanh() if self.calls % 2 else self.linear(x).sin()

    written = watched(tmp_path, Switching().to(TYPE), [X] * 4)
    assert sorted(written.structures) == ["graph/0", "graph/1"]
    assert [written.steps[step][0] for step in range(4)] == ["graph/0", "graph/1", "graph/0", "graph/1"]
    assert written.at(2).operations("tanh")
    assert written.at(3).operations("sin")


def test_norms_are_those_of_autograds_hooks(tmp_path):
    model = network(nn.Tanh())
    seen = {}

    def keep(module, args, output):
        output.register_hook(lambda g: seen.update(upstream=g.detach().clone()))
        args[0].register_hook(lambda g: seen.update(downstream=g.detach().clone()))

    model[1].register_forward_hook(keep)
    filled = watched(tmp_path, model, [X]).at(0)
    (tanh,) = filled.operations("tanh")
    upstream, downstream = float(seen["upstream"].norm()), float(seen["downstream"].norm())
    assert filled.number(tanh["upstream"]["l2"]) == pytest.approx(upstream, rel=1e-12)
    assert filled.number(tanh["downstream"]) == pytest.approx(downstream, rel=1e-12)
    assert filled.number(tanh["gain"]) == pytest.approx(downstream / upstream, rel=1e-12)
    for name, parameter in model.named_parameters():
        value = filled.value(name)
        assert filled.number(value["value"]["l2"]) == pytest.approx(float(parameter.detach().norm()), rel=1e-12)
        assert filled.number(value["gradient"]["l2"]) == pytest.approx(float(parameter.grad.norm()), rel=1e-12)
        assert filled.number(value["gradient"]["linf"]) == pytest.approx(float(parameter.grad.abs().max()), rel=1e-12)
        assert filled.number(value["gradient"]["mean"]) == pytest.approx(float(parameter.grad.mean()), rel=1e-12)


def test_a_product_has_its_numbers_in_closed_form(tmp_path):
    """L = (w·x)² with w = 3, x = 2: L = 36, ∂L/∂(w·x) = 12, ∂L/∂w = 24."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(3.0, dtype=TYPE))

        def forward(self, x):
            return self.w * x

    filled = watched(tmp_path, Product(), [torch.tensor(2.0, dtype=TYPE)], loss=lambda y: y.square()).at(0)
    assert filled.number(filled.structure["loss"]) == 36
    assert filled.all(filled.value("w")["value"]["numbers"]) == 3
    assert filled.all(filled.value("w")["gradient"]["numbers"]) == 24
    (mul,) = filled.operations("mul")
    assert filled.all(mul["upstream"]["numbers"]) == 12
    place = filled.structure["operations"].index(mul)
    (edge,) = [e for e in filled.structure["edges"] if e["operation"] == place and e["value"] == "w"]
    assert filled.all(edge["local"]) == 2
    assert filled.all(edge["downstream"]["numbers"]) == 24
    found = filled.witnesses(mul)
    assert (found["manual"], found["autograd"], found["error"]) == (24, 24, 0)
    assert found["numeric"] == pytest.approx(24, rel=1e-9)


@pytest.mark.parametrize("case", ["factor", "sign", "zero"])
def test_a_wrong_function_is_accused_and_the_numeric_witness_sides_with_manual(tmp_path, case):
    function, call, _ = WRONG[case]
    torch.manual_seed(0)
    filled = watched(tmp_path, network(Slot(function, call)), [X]).at(0)
    accused = [o for o in filled.structure["operations"] if o["agreement"] and _differs(filled.witnesses(o))]
    assert accused[0]["operation"] == "tanh"  # from the loss down, the first; what lies behind it gets its error
    found = filled.witnesses(accused[0])
    assert found["numeric"] == pytest.approx(found["manual"], rel=1e-7)
    assert abs(found["autograd"] - found["manual"]) > 0.1 * abs(found["manual"])


def _differs(found):
    return found["error"] > found["tolerance"]


def test_a_right_network_accuses_nobody(tmp_path):
    filled = watched(tmp_path, network(nn.LayerNorm(WIDTH), nn.GELU(), nn.Softmax(-1)), [X]).at(0)
    compared = [filled.witnesses(o) for o in filled.structure["operations"] if o["agreement"]]
    assert len(compared) >= 5
    assert not any(map(_differs, compared))
    assert all(c["numeric"] == pytest.approx(c["manual"], rel=1e-6, abs=1e-9) for c in compared)


def test_a_scaled_loss_leaves_the_gradients_as_they_are(tmp_path):
    """With a gradient scaler of 2¹⁰ the numbers are those without, up to rounding (powers of two round nothing)."""
    model, sink = network(nn.Tanh()).float(), Kept()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    probes = {"graph": GraphProbe(every(1))}
    with (
        gradlab.watch(model, optimizer, tmp_path, probes=probes, scaler=scaler, sinks=[sink]) as lab,
        lab.step(),
    ):
        scaler.scale(model(X.float()).square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    filled = Written(sink.kept).at(0)
    model.zero_grad()
    model(X.float()).square().sum().backward()
    for name, parameter in model.named_parameters():
        gradient = filled.value(name)["gradient"]
        assert filled.number(gradient["l2"]) == pytest.approx(float(parameter.grad.norm()), rel=1e-6)
    bias = filled.value("2.bias")["gradient"]["numbers"]
    assert filled.all(bias).tolist() == model[2].bias.grad.tolist()


def test_of_a_deep_network_only_the_end_is_drawn(tmp_path):
    model = nn.Sequential(*[nn.Tanh() for _ in range(20)], nn.Linear(WIDTH, 1)).to(TYPE)
    model.insert(0, nn.Linear(WIDTH, WIDTH, dtype=TYPE))
    filled = watched(tmp_path, model, [X], most=5).at(0)
    assert [o["operation"] for o in filled.structure["operations"]] == ["sum", "power", "addmm", "tanh"]


CASES = {
    "x²": (lambda x: (x * x).sum(), lambda x: 2 * x),
    "sin": (lambda x: x.sin().sum(), np.cos),
    "exp": (lambda x: x.exp().sum(), np.exp),
    "1/x": (lambda x: x.reciprocal().sum(), lambda x: -1 / x**2),
    "softplus": (lambda x: nn.functional.softplus(x).sum(), lambda x: 1 / (1 + np.exp(-x))),
}


@pytest.mark.parametrize("case", CASES)
def test_one_entry_by_finite_differences(case):
    function, derivative = CASES[case]
    x = torch.tensor([0.5, -1.5, 2.0], dtype=TYPE, requires_grad=True)
    terms = _terms(lambda: function(x))
    (term,) = [t for t in terms if t.entry.inputs and t.entry.inputs[0].tensor is x]
    for i, at in enumerate(x.tolist()):
        assert numeric_downstream([term], term.entry.inputs[0], (i,)) == pytest.approx(derivative(at), rel=1e-8)


def _terms(run):
    terms = []
    with Tape() as tape:
        loss = run()
    tape.backward(loss, terms=terms)
    return terms


@pytest.mark.parametrize(
    "function", [lambda x: torch.native_dropout(x, 0.5, True)[0], lambda x: torch.fft.fft(x).abs()]
)
def test_what_cannot_run_again_is_nan(function):
    """Another draw of dropout's mask would be another function; complex numbers have no single difference."""
    torch.manual_seed(0)
    x = torch.randn(4, dtype=TYPE, requires_grad=True)
    found = [t for t in _terms(lambda: function(x).sum()) if _is_random(t) or _is_complex(t)]
    assert found
    assert all(math.isnan(numeric_downstream([t], t.entry.inputs[0], (0,))) for t in found)


def _is_random(term):
    return torch.Tag.nondeterministic_seeded in term.entry.facts.op.tags


def _is_complex(term):
    return any(t.is_complex() for t in [term.entry.inputs[0].tensor, *term.upstream] if t is not None)


def test_large_tensors_are_left_out():
    x = torch.zeros(MOST_ENTRIES + 1, requires_grad=True)
    (term, *_) = _terms(lambda: x.sum())
    assert math.isnan(numeric_downstream([term], term.entry.inputs[0], (0,)))
