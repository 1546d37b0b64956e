"""`gradlab.check` is a checker: it must catch and name what is wrong, and let pass what only looks so."""

import copy
import json
import random
import subprocess
import sys
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from planted import F64, RIGHT, WRONG, CubeOnce, WrongWeight, function, numbers
from torch import nn
from wrong_functions import WIDTH, Slot
from wrong_functions import WRONG as WRONG_FUNCTIONS

import gradlab
from gradlab.errors import BadInput

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")


@pytest.mark.parametrize("case", WRONG)
def test_what_gradcheck_lets_pass_is_caught_and_named(case):
    target, arguments, accused, said = WRONG[case]
    report = gradlab.check(target, *arguments)
    assert not report.ok
    assert accused in [finding.name for finding in report.failures]
    with pytest.raises(gradlab.GradientError) as caught:
        report.raise_for_failure()
    assert accused in str(caught.value)
    assert said in str(caught.value)
    assert said in str(report)


@pytest.mark.parametrize("case", RIGHT)
def test_what_only_looks_wrong_is_let_pass(case):
    target, arguments, verdict = RIGHT[case]
    report = gradlab.check(target, *arguments)
    assert report.ok, str(report)
    assert verdict in [finding.verdict for finding in report.findings]
    report.raise_for_failure()


@pytest.mark.parametrize("case", WRONG_FUNCTIONS)
def test_wrong_functions_inside_a_network(case):
    made, call, hint = WRONG_FUNCTIONS[case]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, WIDTH), Slot(made, call), nn.Linear(WIDTH, 2)).double()
    report = gradlab.check(model, numbers(5, 3, 4), second_order=False)
    first = report.failures[0]
    assert made.__name__ in first.blame
    assert "module 1" in first.blame
    assert hint in first.hint
    if first.numbers:
        assert first.alone == "autograd"


def test_the_numbers_are_those_of_the_closed_form():
    double = function(lambda x: x**3, lambda g, x: 1.5 * g * 3 * x**2)
    finding = gradlab.check(double, numbers(6), loss=torch.sum)["argument 0"]
    (place,) = finding.index
    expected = 3 * numbers(6)[place].item() ** 2
    assert finding.numbers["manual"] == pytest.approx(expected, rel=1e-12)
    assert finding.numbers["numeric"] == pytest.approx(expected, abs=4 * finding.errors["numeric"])
    assert finding.numbers["symbolic"] == pytest.approx(expected, rel=1e-12)
    assert finding.numbers["autograd"] == pytest.approx(1.5 * expected, rel=1e-12)
    assert finding.error == pytest.approx(1 / 3, rel=1e-6)
    assert finding.off == 6


def test_every_entry_is_counted():
    report = gradlab.check(nn.Linear(4, 3).double(), numbers(5, 4))
    assert report.counts == {"manual": 20 + 12 + 3, "numeric": 20 + 12 + 3}
    assert gradlab.check(nn.Linear(4, 3).double(), numbers(5, 4), witnesses=["forward"]).counts == {"forward": 35}


def test_only_inputs_that_require_a_gradient_where_one_does():
    report = gradlab.check(torch.mul, numbers(3).requires_grad_(), numbers(3, seed=1))
    assert [finding.kind for finding in report.findings] == ["input"]


def test_frozen_parameters_are_left_out():
    model = nn.Linear(3, 2)
    model.weight.requires_grad_(False)
    assert [f.name for f in gradlab.check(model, numbers(4, 3, dtype=torch.float32)).findings] == ["input", "bias"]


def test_a_bound_method_and_keyword_arguments():
    report = gradlab.check(
        nn.functional.cross_entropy, numbers(4, 3), torch.tensor([0, 1, 2, 0]), kwargs={"reduction": "sum"}
    )
    assert report.ok
    assert report.counts["numeric"] == 12


def test_a_lightning_module_with_a_batch():
    import lightning.pytorch as pl

    class Net(pl.LightningModule):
        def __init__(self, wrong):
            super().__init__()
            self.weight, self.wrong = nn.Parameter(numbers(4, 3)), wrong

        def training_step(self, batch, index):
            x, y = batch
            out = WrongWeight.apply(x, self.weight) if self.wrong else x @ self.weight
            return {"loss": nn.functional.mse_loss(out, y)}

    batch = (numbers(5, 4), numbers(5, 3, seed=1))
    assert gradlab.check(Net(wrong=False), batch).ok
    report = gradlab.check(Net(wrong=True), batch)
    assert report["weight"].verdict == "wrong"
    assert "WrongWeight" in report["weight"].blame


def test_randomness_that_no_seed_controls():
    generators = [[torch.Generator()]]  # where nobody finds it

    def noisy(x):
        return x * torch.rand(3, dtype=x.dtype, generator=generators[0][0])

    report = gradlab.check(noisy, numbers(3))
    assert report["x"].verdict == "nondeterministic"
    assert not report.ok


def test_an_output_without_a_derivative():
    report = gradlab.check(lambda x: torch.ops.aten.igamma(x.abs() + 1, x.abs() + 1), numbers(3))
    assert report["x"].verdict == "not differentiable"
    assert report.ok


def test_precision_is_told_from_a_mistake():
    """300² exceeds 65,504, the largest number in float16: the norm is infinite there, and the true gradient 300/√4."""
    report = gradlab.check(
        lambda x: (x * 300).square().sum().sqrt(), torch.ones(4, dtype=torch.float16), loss=torch.sum
    )
    assert report.ok
    finding = report["x"]
    assert finding.verdict == "precision"
    assert finding.numbers["autograd in float64"] == pytest.approx(150.0)
    assert finding.numbers["autograd"] != pytest.approx(150.0, rel=0.1)


# --- traces ---------------------------------------------------------------------------------------------------


class Stateful(nn.Module):
    def __init__(self, raises=False):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.raises = raises

    def forward(self, x):
        out = self.layers(x) + random.random() + float(np.random.rand()) + torch.rand(1)
        if self.raises:
            raise RuntimeError("broken on purpose")
        return out


def state(model):
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()]
    return (
        copy.deepcopy(model.state_dict()),
        [m.training for m in model.modules()],
        [p.grad.clone() for p in model.parameters()],
        [p.requires_grad for p in model.parameters()],
        hooks,
        torch.get_rng_state(),
        random.getstate(),
        repr(np.random.get_state(legacy=False)),
        torch.is_grad_enabled(),
    )


def same(a, b):
    if isinstance(a, dict):
        return all(same(a[k], b[k]) for k in a.keys() | b.keys())
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, (list, tuple)) else a == b


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("captured", [False, True])
def test_no_trace_is_left(raises, captured):
    torch.manual_seed(3)
    model = Stateful()
    x = numbers(5, 3, dtype=torch.float32)
    model(x).sum().backward()
    model.layers[2].eval()
    model.raises = raises
    target = (lambda x: model(x)) if captured else model
    grads = [p.grad for p in model.parameters()]
    before = state(model)
    if raises:
        with pytest.raises(RuntimeError, match="broken on purpose"):
            gradlab.check(target, x)
    else:
        assert gradlab.check(target, x).ok
    assert same(before, state(model))
    assert all(p.grad is g for p, g in zip(model.parameters(), grads, strict=True))
    assert x.grad is None


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.calls, self.seen, self.last = 0, [], None
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, x):
        self.calls += 1
        self.seen.append(x.shape)
        self.last = x.sum()
        return self.layer(x) + torch.rand(2, generator=self.generator)


def test_no_trace_in_what_a_function_only_reaches():
    model, weight = Counting(), torch.ones(3, requires_grad=True)
    before = model.generator.get_state()

    def leaving_gradients(g, x):
        weight.grad = torch.ones(3)
        return 2 * g

    made = function(lambda x: x * 2, leaving_gradients)
    assert gradlab.check(lambda x: model(made.apply(x)) + weight.sum(), numbers(4, 3, dtype=torch.float32)).ok
    assert (model.calls, model.seen, model.last) == (0, [], None)
    assert torch.equal(model.generator.get_state(), before)
    assert weight.grad is None


@pytest.mark.parametrize("draws", [np.random.default_rng(1), np.random.RandomState(1), random.Random(1)])
def test_a_generator_of_any_library_goes_on_where_it_was(draws):
    before = copy.deepcopy(draws)
    assert gradlab.check(lambda x: x * draws.uniform(1, 2), numbers(3)).ok
    assert draws.uniform(0, 1) == before.uniform(0, 1)


def test_the_first_use_leaves_no_trace_either():
    """In a process of its own: a library that is imported for the first time may draw a random number."""
    program = """
import random, torch, gradlab
before = random.getstate()
print(gradlab.check(torch.sin, torch.ones(2, dtype=torch.float64), conditions=False, second_order=False))
assert random.getstate() == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_tensors_inside_an_object_are_said_to_be_left_out():
    report = gradlab.check(lambda b, t: b.x * t, SimpleNamespace(x=numbers(3)), numbers(3))
    assert "tensors inside a SimpleNamespace were not looked at" in str(report)


def test_a_lightning_module_is_blamed_by_the_names_of_its_own():
    class Wrong(Step):
        def training_step(self, batch, index):
            return WrongWeight.apply(self.layer(batch), torch.ones(1, 1) * self.layer.bias).mean()

    report = gradlab.check(Wrong(), torch.ones(3, 2))
    assert not report.ok
    assert "WrongWeight" in str(report)
    assert "_Step" not in str(report)
    assert "model." not in str(report)


def test_inside_inference_mode():
    with torch.inference_mode():
        assert gradlab.check(torch.sin, numbers(3)).ok
        assert torch.is_inference_mode_enabled()


def test_inside_no_grad():
    with torch.no_grad():
        assert gradlab.check(torch.sin, numbers(3)).ok
        assert not torch.is_grad_enabled()


# --- bad input ------------------------------------------------------------------------------------------------


def test_bad_input_says_what_to_do():
    with pytest.raises(BadInput, match="a function, an nn.Module"):
        gradlab.check(3.0, numbers(3))
    with pytest.raises(BadInput, match="give an instance"):
        gradlab.check(nn.Linear, numbers(3))
    with pytest.raises(BadInput, match="no witness 'numerical'.*complex_step"):
        gradlab.check(torch.sin, numbers(3), witnesses=["numerical"])
    with pytest.raises(BadInput, match="one real number"):
        gradlab.check(torch.sin, numbers(3), loss=lambda y: y)
    with pytest.raises(BadInput, match="give loss="):
        gradlab.check(lambda x: x.argmax(), numbers(3))


class Step(pl.LightningModule):
    def __init__(self, automatic: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.automatic_optimization = automatic

    def training_step(self, batch, index):
        return self.layer(batch).square().mean()


REFUSED = {
    "no tensor": (lambda: gradlab.check(lambda: torch.zeros(3)), "no tensor among the inputs"),
    "integers": (lambda: gradlab.check(lambda n: n * 1.0, torch.arange(3)), "no floating-point tensor.*int64"),
    "sparse": (lambda: gradlab.check(lambda a: a.to_dense(), numbers(3, 3).to_sparse()), "sparse"),
    "frozen": (lambda: gradlab.check(nn.Embedding(3, 2).requires_grad_(False), torch.arange(3)), "requires_grad_"),
    "no witness": (lambda: gradlab.check(torch.sin, numbers(3), witnesses=()), "at least one other witness"),
    "autograd alone": (lambda: gradlab.check(torch.sin, numbers(3), witnesses="autograd"), "choose from manual"),
    "no numbers": (lambda: gradlab.check(torch.sin, torch.zeros(3, device="meta")), "meta device"),
    "no batch": (lambda: gradlab.check(Step()), "give a batch"),
    "manual optimization": (lambda: gradlab.check(Step(automatic=False), torch.zeros(3, 2)), "calls backward itself"),
    "a loss by name": (lambda: gradlab.check(torch.sin, numbers(3), loss="mse"), "loss must be a function.*'mse'"),
    "in place": (lambda: gradlab.check(lambda x: x.mul_(2), numbers(3)), r"f\(x.clone\(\)\)"),
    "other dtypes": (lambda: gradlab.check(nn.Linear(2, 1), numbers(3, 2)), "holds float32 .* are float64"),
    "inside an object": (
        lambda: gradlab.check(lambda b: b.x * 2, SimpleNamespace(x=numbers(3))),
        "inside a SimpleNamespace",
    ),
    "not a number": (lambda: gradlab.check(torch.log, -numbers(3).abs()), "output is nan.*first made by log"),
    "infinite": (lambda: gradlab.check(torch.log, torch.zeros(2, dtype=F64)), "output is inf|-inf"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_could_check_is_refused(case):
    ask, said = REFUSED[case]
    with pytest.raises(BadInput, match=said):
        ask()


# --- the report -----------------------------------------------------------------------------------------------


def test_json_and_html_say_the_same():
    report = gradlab.check(lambda x: WrongWeight.apply(x, _w), numbers(5, 4))
    content = json.loads(report.to_json())
    assert content["ok"] is False
    (wrong,) = [f for f in content["findings"] if f["verdict"] == "wrong"]
    assert wrong["name"] == "_w"
    assert wrong["alone"] == "autograd"
    page = report._repr_html_()
    assert "_w[" in page
    assert "&lt;- stands alone" in page
    assert "<script" not in page


_w = numbers(4, 3).requires_grad_()


def test_markup_in_names_stays_text():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_parameter("[red]<b>x", nn.Parameter(numbers(2)))

        def forward(self):
            return CubeOnce.apply(self._parameters["[red]<b>x"])

    report = gradlab.check(Odd())
    assert "[red]<b>x" in str(report)
    assert "<b>" not in report._repr_html_()


def test_what_was_left_out_is_said():
    report = gradlab.check(lambda x: x.sin(), numbers(3000), seconds=0.0)
    assert report.ok
    assert 0 < report.counts["numeric"] < 3000
    assert "numeric did not look at" in str(report)
    wrong = function(torch.sin, lambda g, x: 1.001 * g * x.cos())
    sampled = gradlab.check(wrong, numbers(3000), seconds=0.0, witnesses=["numeric"])
    assert not sampled.ok


def test_an_unknown_name():
    with pytest.raises(KeyError, match="there are x"):
        gradlab.check(lambda x: x.sin(), numbers(3))["y"]
