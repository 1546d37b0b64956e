"""Breakdowns: the chain rule of one sweep as data, against numbers derived by hand, autograd and sympy."""

import json
import math

import hypothesis.strategies as st
import pytest
import sympy
import torch
from hypothesis import given, settings
from torch import nn
from torch.autograd import Function

from gradlab.backprop import Breakdown, Tape
from gradlab.backprop.chain.graph import graph_of
from gradlab.backprop.chain.modules import flows


def sweep(forward, *, grad=True, outputs=None, **options):
    """A forward pass recorded and swept; ``forward`` returns the loss, or what `Tape.backward` takes."""
    with torch.set_grad_enabled(grad), Tape(**options) as tape:
        result = forward()
    terms = []
    gradients = tape.backward(*(result if isinstance(result, tuple) else (result,)), terms=terms)
    return terms, gradients


def breakdown_of(forward, *, grad=True, readable=64, model=None, **names):
    terms, gradients = sweep(forward, grad=grad)
    return Breakdown.of(terms, model=model, names=names, readable=readable), gradients


def scalar(value, requires_grad=True):
    return torch.tensor(value, dtype=torch.float64, requires_grad=requires_grad)


def tensor_of(gradient):
    return torch.tensor(gradient.numbers, dtype=getattr(torch, gradient.dtype)).reshape(gradient.shape)


def assert_sums_are(breakdown, gradients, **leaves):
    """The path sums are bit for bit what the sweep returned; None where nothing arrived."""
    for name, leaf in leaves.items():
        found = breakdown.path_sums.get(name)
        expected = gradients.get(leaf)
        if expected is None:
            assert found is None
        else:
            assert torch.equal(tensor_of(found.gradient), expected), name
            total = sum(tensor_of(c.gradient) for c in found.contributions)
            close = 1e3 * torch.finfo(expected.dtype).eps
            torch.testing.assert_close(total, expected, rtol=close, atol=close)


# --- numbers derived by hand --------------------------------------------------------------------------------


def test_a_square_of_a_line():
    """y = (w·x + b)² at w = 3, x = 2, b = 1: u = w·x = 6, v = u + b = 7, y = v² = 49.

    ∂y/∂v = 2v = 14;  ∂v/∂u = ∂v/∂b = 1;  ∂u/∂w = x = 2.  So ∂y/∂b = 14·1 = 14 and ∂y/∂w = 14·1·2 = 28.
    """
    w, x, b = scalar(3.0), scalar(2.0, False), scalar(1.0)
    breakdown, _ = breakdown_of(lambda: (w * x + b) ** 2, w=w, x=x, b=b)
    power, add, mul = breakdown.terms
    assert [(t.place, t.operation, t.module) for t in breakdown.terms] == [
        (1, "power", ""),
        (2, "add", ""),
        (3, "mul", ""),
    ]
    assert [t.outputs[0].content.numbers for t in breakdown.terms] == [49.0, 7.0, 6.0]
    assert [t.outputs[0].upstream.numbers for t in breakdown.terms] == [1.0, 14.0, 14.0]
    assert (power.formula, power.local, power.settings) == ("y = xⁿ", "n·xⁿ⁻¹", {"n": 2})
    assert (add.formula, add.local, add.settings) == ("y = a + b", "∂y/∂a = 1, ∂y/∂b = 1", {})
    found = [(i.symbol, i.name, i.kind, i.content.numbers, i.local, i.gain) for t in breakdown.terms for i in t.inputs]
    assert found == [
        ("x", "add #2", "made", 7.0, 14.0, 14.0),
        ("a", "mul #3", "made", 6.0, 1.0, 1.0),
        ("b", "b", "input", 1.0, 1.0, 1.0),
        ("a", "w", "input", 3.0, 2.0, 2.0),
        ("b", "x", "input", 2.0, None, None),
    ]
    downstream = [i.downstream and i.downstream.numbers for t in breakdown.terms for i in t.inputs]
    assert downstream == [14.0, 14.0, 14.0, 28.0, None]
    assert (mul.upstream, mul.downstream, mul.gain) == (14.0, 28.0, 2.0)
    assert {name: each.gradient.numbers for name, each in breakdown.path_sums.items()} == {
        "power #1": 1.0,
        "add #2": 14.0,
        "mul #3": 14.0,
        "b": 14.0,
        "w": 28.0,
    }


def test_a_value_used_twice_shows_both_contributions_and_their_sum():
    """y = (w·x + w)² at w = 3, x = 2: v = 9, ∂y/∂v = 18; by the sum 18·1, by the product 18·x = 36, together 54."""
    w, x = scalar(3.0), scalar(2.0)
    breakdown, _ = breakdown_of(lambda: (w * x + w) ** 2, w=w, x=x)
    of_w = breakdown.path_sums["w"]
    assert [(c.place, c.by, c.symbol, c.gradient.numbers) for c in of_w.contributions] == [
        (2, "add #2", "b", 18.0),
        (3, "mul #3", "a", 36.0),
    ]
    assert (of_w.gradient.numbers, of_w.made_by, of_w.content.numbers) == (54.0, None, 3.0)
    assert breakdown.path_sums["x"].gradient.numbers == 54.0  # 18·w
    assert breakdown.path_sums["add #2"].made_by == 2


def test_a_value_used_twice_by_one_operation():
    """y = w·w at 3: each place contributes w = 3."""
    w = scalar(3.0)
    breakdown, _ = breakdown_of(lambda: w * w, w=w)
    assert [(c.symbol, c.gradient.numbers) for c in breakdown.path_sums["w"].contributions] == [("a", 3.0), ("b", 3.0)]
    (term,) = breakdown.terms
    assert (term.downstream, term.gain) == (6.0, 6.0)  # the sum over both places


def test_a_matrix_product_has_a_jacobian():
    """y = W·x at W = [[1, 2], [3, 4]], x = [5, 6], upstream (1, 10).

    ∂yᵢ/∂xⱼ = Wᵢⱼ, so downstream (1·1 + 10·3, 1·2 + 10·4) = (31, 42).  ∂yᵢ/∂Wₖⱼ = xⱼ where i = k, else 0.
    """
    W = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    x = torch.tensor([5.0, 6.0], requires_grad=True)
    breakdown, _ = breakdown_of(lambda: (W @ x, torch.tensor([1.0, 10.0])), W=W, x=x)
    matrix, vector = breakdown.terms[0].inputs
    assert (matrix.symbol, matrix.is_jacobian, vector.symbol, vector.is_jacobian) == ("A", True, "x", True)
    assert vector.local == [[1.0, 2.0], [3.0, 4.0]]
    assert matrix.local == [[[5.0, 6.0], [0.0, 0.0]], [[0.0, 0.0], [5.0, 6.0]]]
    assert vector.downstream.numbers == [31.0, 42.0]
    assert matrix.downstream.numbers == [[5.0, 6.0], [50.0, 60.0]]


def test_statistics_of_a_gradient():
    """y = Σ c·w has the gradient c = (3, −4): length 5, largest size 4, mean −½."""
    w, c = torch.ones(2, requires_grad=True), torch.tensor([3.0, -4.0])
    breakdown, _ = breakdown_of(lambda: (c * w).sum(), w=w)
    gradient = breakdown.path_sums["w"].gradient
    assert (gradient.shape, gradient.dtype, gradient.l2, gradient.linf, gradient.mean) == ((2,), "float32", 5, 4, -0.5)


@pytest.mark.parametrize("text", ["sin(x)*y + x", "exp(x*y)/x", "(x**2 + y)**3 - x*y", "sqrt(x + y*x)*cos(y)"])
def test_like_sympy(text):
    """The path sums are sympy's partial derivatives, and so are the upstream gradients of all that lies between."""
    functions = {"sin": torch.sin, "cos": torch.cos, "exp": torch.exp, "sqrt": torch.sqrt}
    x, y = scalar(0.7), scalar(1.3)
    breakdown, _ = breakdown_of(lambda: eval(text, {}, {"x": x, "y": y, **functions}), x=x, y=y)
    expression = sympy.sympify(text)
    for name in ("x", "y"):
        expected = expression.diff(name).evalf(30, subs={"x": 0.7, "y": 1.3})
        assert breakdown.path_sums[name].gradient.numbers == pytest.approx(float(expected), rel=1e-12)
        assert sum(c.gradient.numbers for c in breakdown.path_sums[name].contributions) == pytest.approx(
            float(expected)
        )


# --- invariants ---------------------------------------------------------------------------------------------

POINTWISE = [torch.sin, torch.tanh, torch.atan, torch.sigmoid, lambda t: t * 0.7, lambda t: 2 - t, torch.cos]
PAIRS = [torch.add, torch.sub, torch.mul, lambda a, b: torch.add(a, b, alpha=2), lambda a, b: torch.addcmul(a, a, b)]
VIEWS = [
    lambda t: t.t(),
    lambda t: t.transpose(0, 1).contiguous(),
    lambda t: t.reshape(-1).view(t.shape),
    lambda t: t.unsqueeze(0).squeeze(0),
    lambda t: t.clone(),
    lambda t: t.permute(1, 0).double(),
    lambda t: t[None].expand(3, 2, 2).reshape(6, 2)[:2],
    lambda t: t.detach() + t,
]
MIXING = [lambda a, b: a @ b, lambda a, b: a.softmax(1) * b, lambda a, b: a / (b * b + 1), lambda a, b: a.cumsum(0) + b]
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20)), max_size=10)


def program(steps, leaves):
    """A random expression of 2 × 2 matrices; every value may be used again, and none grows without bounds."""
    values = list(leaves)
    for kind, which, first, second in steps:
        a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
        one, two = (POINTWISE, VIEWS)[kind % 2], (PAIRS, MIXING)[kind % 2]
        values.append(one[which % len(one)](a) if kind < 2 else two[which % len(two)](a, b).sin())
    return torch.stack([v.tanh().sum() for v in values]).sum()


def matrices():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, 2, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2)]


@given(STEPS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_path_sums_are_the_gradients(steps, grad):
    v, w = matrices()
    breakdown, gradients = breakdown_of(lambda: program(steps, (v, w)), grad=grad, v=v, w=w)
    assert_sums_are(breakdown, gradients, v=v, w=w)
    if grad:
        expected = torch.autograd.grad(program(steps, (v, w)), (v, w))
        for name, theirs in zip("vw", expected, strict=True):
            torch.testing.assert_close(tensor_of(breakdown.path_sums[name].gradient), theirs, rtol=1e-9, atol=1e-11)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_each_contribution_is_upstream_times_local(steps):
    """Entry by entry for pointwise rules, row vector times matrix for Jacobians; then what views did is undone."""
    v, w = matrices()
    breakdown, _ = breakdown_of(lambda: program(steps, (v, w)), v=v, w=w)
    checked = 0
    for term in breakdown.terms:
        upstream = [tensor_of(o.upstream) for o in term.outputs if o.upstream is not None]
        for each in term.inputs:
            if each.local is None or each.how:
                continue
            local, (g,) = torch.tensor(each.local, dtype=torch.float64), upstream
            product = g.reshape(-1) @ local.reshape(g.numel(), -1) if each.is_jacobian else (g * local)
            found = tensor_of(each.downstream)
            torch.testing.assert_close(product.reshape(found.shape), found, rtol=1e-12, atol=1e-14)
            checked += 1
    assert checked >= 2


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_folding_loses_nothing(steps):
    """Of every value that is left, the contributions add up to its upstream gradient, and no view is a term."""
    v, w = matrices()
    breakdown, _ = breakdown_of(lambda: program(steps, (v, w)), v=v, w=w)
    assert not {t.operation for t in breakdown.terms} & {"view", "identity", "t", "transpose", "permute", "expand"}
    upstream = {o.name: o.upstream for t in breakdown.terms for o in t.outputs if o.upstream is not None}
    for name, each in breakdown.path_sums.items():
        total = sum(tensor_of(c.gradient) for c in each.contributions)
        torch.testing.assert_close(total, tensor_of(each.gradient), rtol=1e-10, atol=1e-12)
        assert each.made_by is None or upstream[name] == each.gradient
    assert set(upstream) == {name for name, each in breakdown.path_sums.items() if each.made_by is not None}


# --- folding ------------------------------------------------------------------------------------------------


def test_a_transposed_weight_is_the_weight():
    x, w = torch.randn(5, 3), torch.randn(2, 3, requires_grad=True)
    breakdown, gradients = breakdown_of(lambda: (x @ w.t()).sum(), w=w)
    use = breakdown.terms[-1].inputs[1]
    assert (use.name, use.how, use.content.shape, use.downstream.shape) == ("w", ("transposed",), (3, 2), (2, 3))
    assert_sums_are(breakdown, gradients, w=w)


def test_a_view_used_twice_goes_back_by_its_own_rule():
    """u = wᵀ expanded is used by two operations: each brings its own part, in the shape of w."""
    w, a, b = torch.randn(1, 3, requires_grad=True), torch.randn(3, 4), torch.randn(3, 4)

    def forward():
        u = w.t().expand(3, 4)
        return (u * a).sum() + (u * b).sum()

    breakdown, gradients = breakdown_of(forward, w=w)
    first, second = breakdown.path_sums["w"].contributions
    torch.testing.assert_close(tensor_of(first.gradient), b.sum(1)[None])
    torch.testing.assert_close(tensor_of(second.gradient), a.sum(1)[None])
    assert breakdown.terms[2].inputs[0].how == ("transposed", "expanded")
    assert_sums_are(breakdown, gradients, w=w)


def test_a_cast_is_named_and_undone():
    w = torch.ones(2, requires_grad=True)
    breakdown, gradients = breakdown_of(lambda: (w.to(torch.bfloat16) * 2).sum().float(), w=w)
    use = breakdown.terms[-1].inputs[0]
    assert (use.how, use.content.dtype, use.downstream.dtype) == (("as bfloat16",), "bfloat16", "float32")
    assert_sums_are(breakdown, gradients, w=w)


def test_what_was_broadcast_says_so():
    w, x = torch.ones(3, requires_grad=True), torch.randn(2, 3)
    breakdown, _ = breakdown_of(lambda: (x * w).sum(), w=w)
    assert [i.how for i in breakdown.terms[-1].inputs] == [(), ("broadcast",)]


def test_a_loss_that_is_a_view_of_a_parameter():
    """No operation is left; the gradient is what backward was started with."""
    w = torch.ones(1, requires_grad=True)
    breakdown, gradients = breakdown_of(lambda: w.view(()), w=w)
    assert breakdown.terms == ()
    assert [(c.by, c.place) for c in breakdown.path_sums["w"].contributions] == [("start", None)]
    assert_sums_are(breakdown, gradients, w=w)


# --- modules ------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Uses its input and its layer twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(3, 3), nn.Tanh()

    def forward(self, x):
        return x + self.layer(self.act(self.layer(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(Residual(), nn.LayerNorm(3), nn.Flatten(), nn.Linear(6, 2))

    def forward(self, x):
        return self.body(x).exp()


def assert_parameters_agree(breakdown, gradients, model):
    for name, expected in gradients.named(model).items():
        found = breakdown.path_sums[name]
        assert found.kind == "parameter"
        torch.testing.assert_close(tensor_of(found.gradient), expected, rtol=1e-12, atol=1e-14)
        assert torch.equal(tensor_of(found.gradient), expected)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("options", [{}, {"depth": 0}, {"depth": 1}, {"depth": 2}, {"together": True}])
def test_collapsing_keeps_every_parameters_gradient(grad, options):
    model, x = Net().double(), torch.randn(4, 2, 3, dtype=torch.float64)
    terms, gradients = sweep(lambda: model(x).mean(), grad=grad)
    breakdown = Breakdown.of(terms, readable=64)
    assert_parameters_agree(breakdown, gradients, model)
    modules = breakdown.by_module(**options)
    assert_parameters_agree(modules, gradients, model)
    assert modules == Breakdown.of_modules(terms, readable=64, **options)
    assert modules.by_module() == breakdown.by_module()


def test_the_flow_through_each_module_is_what_the_breakdown_writes():
    model, x = Net().double(), torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    terms, _ = sweep(lambda: model(x).mean())
    expected = [(t.module, t.upstream, t.downstream, t.gain) for t in Breakdown.of_modules(terms, together=True).terms]
    assert [(f.module, f.upstream, f.downstream, f.gain) for f in flows(terms)] == expected
    assert [f.module for f in flows(terms, model)][1:3] == ["Net", "body.3"]


def test_modules_in_the_order_of_the_chain():
    model = Net()
    terms, _ = sweep(lambda: model(torch.randn(4, 2, 3)).sum())
    found = [(t.module, t.operation, t.operations) for t in Breakdown.of_modules(terms).terms]
    assert found == [
        ("", "sum", ("sum",)),
        ("Net", "Net", ("exp",)),
        ("body.3", "Linear", ("addmm",)),
        ("body.1", "LayerNorm", ("layer_norm",)),
        ("body.0", "Residual", ("add",)),
        ("body.0.layer", "Linear", ("addmm",)),
        ("body.0.act", "Tanh", ("tanh",)),
        ("body.0.layer", "Linear", ("addmm",)),
    ]
    upper = [(t.module, t.operations) for t in Breakdown.of_modules(terms, depth=2).terms]
    assert upper[4:] == [("body.0", ("add", "addmm", "tanh", "addmm"))]
    assert [t.module for t in Breakdown.of_modules(terms, depth=1).terms] == ["", "Net", "body"]
    assert [t.module for t in Breakdown.of_modules(terms, together=True).terms].count("body.0.layer") == 1


def test_a_modules_gradients_are_those_at_its_borders():
    model, x = Net().double(), torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    terms, _ = sweep(lambda: model(x).sum())
    inner = model.body[0](x)
    outer = inner.detach().requires_grad_()
    (upstream,) = torch.autograd.grad(model.body[1:](outer).exp().sum(), outer)
    (downstream,) = torch.autograd.grad(inner, x, upstream)
    block = Breakdown.of_modules(terms, depth=2, names={"x": x}).terms[-1]
    assert block.module == "body.0"
    assert block.upstream == pytest.approx(upstream.norm().item(), rel=1e-12)
    assert block.downstream == pytest.approx(downstream.norm().item(), rel=1e-12)
    assert block.gain == pytest.approx((downstream.norm() / upstream.norm()).item(), rel=1e-12)
    (to_x,) = [i for i in block.inputs if i.name == "x"]  # used twice inside: one contribution, the sum
    assert to_x.downstream.l2 == pytest.approx(downstream.norm().item(), rel=1e-12)


def test_a_value_used_inside_and_outside_counts_outside_only():
    """h = a·x is used again inside its module and returned; the module's upstream is what comes from outside."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            h = self.a * x
            return h, h * h

    model = Both()
    x = torch.tensor(3.0, requires_grad=True)

    def forward():
        h, square = model(x)
        return 5 * h + 7 * square

    breakdown, gradients = breakdown_of(forward, x=x)
    (block,) = [t for t in breakdown.by_module().terms if t.module]
    assert sorted(o.upstream.numbers for o in block.outputs) == [5.0, 7.0]
    # dL/dh = 5 + 7·2h = 89 with h = 6, so dL/da = 89·x = 267 and dL/dx = 89·a = 178
    assert breakdown.by_module().path_sums["a"].gradient.numbers == gradients[model.a].item() == 267.0
    assert block.downstream == gradients[x].item() == 178.0


def test_a_tied_module_shows_two_uses():
    layer = nn.Linear(3, 3)
    breakdown, gradients = breakdown_of(lambda: layer(layer(torch.randn(2, 3)).tanh()).sum(), model=layer)
    for each in (breakdown, breakdown.by_module()):
        assert len(each.path_sums["weight"].contributions) == 2
        assert_parameters_agree(each, gradients, layer)
    together = breakdown.by_module(together=True)
    assert [t.operations for t in together.terms if t.module] == [("addmm", "addmm")]
    assert len(together.path_sums["weight"].contributions) == 1


def test_tied_parameters_have_one_name():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.out = nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False)
            self.out.weight = nn.Parameter(torch.randn(3, 2))
            self.also = nn.Linear(3, 2, bias=False)
            self.also.weight = self.into.weight

        def forward(self, x):
            return self.also(self.out(self.into(x)))

    model = Tied()
    breakdown, gradients = breakdown_of(lambda: model(torch.randn(4, 3)).sum())
    assert_parameters_agree(breakdown, gradients, model)
    assert [c.by for c in breakdown.path_sums["into.weight"].contributions] == ["matmul #2", "matmul #4"]


@pytest.mark.parametrize(
    "model",
    [
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        nn.GRU(4, 3, 2),
        nn.LSTM(4, 3, bidirectional=True),
        nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)),
    ],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("grad", [True, False])
def test_models(model, grad):
    if isinstance(model, nn.Sequential):
        model[1] = nn.Conv2d(1, 2, 3)
    x = torch.randn(3, 5, 4)

    def forward():
        y = model(x)
        return (y[0] if isinstance(y, tuple) else y).square().sum()

    terms, gradients = sweep(forward, grad=grad)
    for breakdown in (Breakdown.of(terms, readable=500), Breakdown.of_modules(terms, readable=500)):
        assert_parameters_agree(breakdown, gradients, model)
        assert json.dumps(breakdown.as_dict(), allow_nan=False)
        assert str(breakdown)


# --- in place, several outputs, stops -----------------------------------------------------------------------


@pytest.mark.parametrize("grad", [True, False])
def test_in_place_operations(grad):
    w, v = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0], requires_grad=True)

    def forward():
        y = w * 1
        y.mul_(v)
        y[0] = y[1] * v[0]
        y.add_(w).tanh_()
        return (y * v).sum()

    breakdown, gradients = breakdown_of(forward, grad=grad, w=w, v=v)
    assert_sums_are(breakdown, gradients, w=w, v=v)
    assert {"w", "v", "v[0]"} <= set(breakdown.path_sums)


@pytest.mark.parametrize("grad", [True, False])
def test_contents_are_those_of_then(grad):
    """A content that was overwritten, and that nobody kept, is unknown: never the new one in its place."""
    w = torch.tensor([1.0, 2.0], requires_grad=True)

    def forward():
        y = w + 1
        z = y - w
        y.add_(10)
        return (z * y.neg()).sum()

    breakdown, _ = breakdown_of(forward, grad=grad, w=w)
    found = {(t.operation, t.place): t.outputs[0].content.numbers for t in breakdown.terms}
    assert found == {
        ("sum", 1): -25.0,
        ("mul", 2): [-12.0, -13.0],
        ("neg", 3): [-12.0, -13.0],
        ("add", 4): [12.0, 13.0],
        ("sub", 5): [1.0, 1.0],
        ("add", 6): None,
    }


def test_after_the_optimizers_step_contents_are_unknown():
    w, x = scalar(3.0), scalar(2.0)
    terms, _ = sweep(lambda: w * x)
    with torch.no_grad():
        w.sub_(1)
    (term,) = Breakdown.of(terms, names={"w": w, "x": x}).terms
    assert [i.content.numbers for i in term.inputs] == [None, 2.0]
    assert [i.local for i in term.inputs] == [None, None]  # the rule would read the new w
    assert [i.downstream.numbers for i in term.inputs] == [2.0, 3.0]


def test_a_write_that_autograd_does_not_see():
    w = torch.tensor([1.0, 2.0], requires_grad=True)

    def forward():
        y = w * 3
        with torch.no_grad():
            y.mul_(5)
        return (y * 2).sum()

    terms, gradients = sweep(forward)
    assert None in [term.rule for term in terms]
    breakdown = Breakdown.of(terms, names={"w": w})
    (write,) = [t for t in breakdown.terms if "did not see" in t.formula]
    assert (write.operation, write.gain, write.inputs[0].local) == ("mul", 1.0, 1.0)
    assert_sums_are(breakdown, gradients, w=w)


def test_an_operation_with_several_outputs():
    """Of the two pieces of w one is used: nothing flows back to the other."""
    w = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)

    def forward():
        first, _ = w.chunk(2)
        return (first * torch.tensor([5.0, 7.0])).sum()

    breakdown, gradients = breakdown_of(forward, w=w)
    pieces = breakdown.terms[-1]
    assert [o.upstream and o.upstream.numbers for o in pieces.outputs] == [[5.0, 7.0], None]
    assert pieces.inputs[0].local == [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    assert_sums_are(breakdown, gradients, w=w)


def test_two_pieces_that_are_both_used():
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    breakdown, gradients = breakdown_of(lambda: torch.mul(*w.unbind()), w=w)
    pieces = breakdown.terms[-1]
    assert [o.upstream.numbers for o in pieces.outputs] == [4.0, 3.0]
    assert (pieces.upstream, pieces.inputs[0].gain, pieces.inputs[0].local) == (5.0, 1.0, None)
    assert_sums_are(breakdown, gradients, w=w)


def test_backward_from_several_outputs():
    """a = 2w and b = a² at w = 3, started with 1 at a and 10 at b: ∂/∂a = 1 + 10·2a = 121, ∂/∂w = 242."""
    w = scalar(3.0)
    names = {"w": w}

    def forward():
        a = names["a"] = 2 * w
        b = names["b"] = a**2
        return (a, b), (scalar(1.0, False), scalar(10.0, False))

    terms, gradients = sweep(forward)
    breakdown = Breakdown.of(terms, names=names)
    assert [(c.by, c.gradient.numbers) for c in breakdown.path_sums["a"].contributions] == [
        ("start", 1.0),
        ("power #1", 120.0),
    ]
    assert [(c.by, c.gradient.numbers) for c in breakdown.path_sums["b"].contributions] == [("start", 10.0)]
    assert breakdown.path_sums["w"].gradient.numbers == gradients[w].item() == 242.0
    assert [t.outputs[0].name for t in breakdown.terms] == ["b", "a"]


def test_a_custom_function_is_its_forward():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[0] ** 2 * g

    w = scalar(2.0)
    breakdown, _ = breakdown_of(lambda: Cube.apply(w), w=w)
    assert [t.operation for t in breakdown.terms] == ["mul", "mul"]
    assert breakdown.path_sums["w"].gradient.numbers == 12.0


def test_a_detached_use_gets_nothing():
    w = scalar(2.0)
    names = {"w": w}

    def forward():
        u = names["u"] = w * 3
        return u * u.detach()

    terms, _ = sweep(forward)
    breakdown = Breakdown.of(terms, names=names)
    assert [(i.name, i.how, i.downstream is None) for i in breakdown.terms[0].inputs] == [
        ("u", (), False),
        ("u", ("detached",), True),
    ]


def test_a_leaf_made_during_the_recording():
    leaf = {}

    def forward():
        leaf["z"] = torch.ones(2).requires_grad_()
        return (leaf["z"] * 3).sum()

    terms, gradients = sweep(forward)
    breakdown = Breakdown.of(terms, names=leaf)
    assert_sums_are(breakdown, gradients, z=leaf["z"])


def test_complex_numbers():
    w = torch.tensor([1 + 2j, -1j], requires_grad=True)
    breakdown, gradients = breakdown_of(lambda: (w * (2 - 1j)).abs().sum(), w=w)
    assert_sums_are(breakdown, gradients, w=w)
    gradient = breakdown.path_sums["w"].gradient
    assert gradient.l2 == pytest.approx(gradients[w].norm().item())
    assert gradient.linf == pytest.approx(gradients[w].abs().max().item())
    data = json.loads(json.dumps(breakdown.as_dict(), allow_nan=False))
    assert complex(data["path_sums"]["w"]["gradient"]["numbers"][0]) == gradient.numbers[0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_shown_and_can_be_json(bad):
    w, x = scalar(2.0), scalar(bad, False)
    breakdown, _ = breakdown_of(lambda: w * x, w=w)
    gradient = breakdown.path_sums["w"].gradient
    assert str(gradient.numbers) == str(bad)
    assert str(gradient.linf) == str(abs(bad))
    data = json.loads(json.dumps(breakdown.as_dict(), allow_nan=False))
    assert float(data["path_sums"]["w"]["gradient"]["numbers"]) == pytest.approx(bad, nan_ok=True)
    assert str(bad) in str(breakdown)


def test_nothing_came_in():
    w = torch.zeros(2, requires_grad=True)
    terms, _ = sweep(lambda: (w * 3).sum() * 0)
    breakdown = Breakdown.of(terms)
    assert breakdown.terms[-1].gain != breakdown.terms[-1].gain  # 0 ÷ 0 is no number
    assert "‖0‖ × nan = ‖0‖" in " ".join(str(Breakdown.of(terms, readable=0)).split())


def test_empty_tensors():
    w = torch.ones(0, 3, requires_grad=True)
    breakdown, gradients = breakdown_of(lambda: (w * 2).sum(), w=w)
    assert breakdown.path_sums["w"].gradient.l2 == 0
    assert gradients[w].shape == breakdown.path_sums["w"].gradient.shape


# --- names, sizes, lines ------------------------------------------------------------------------------------


def test_only_small_tensors_have_numbers():
    w = torch.randn(3, requires_grad=True)
    large, small = (breakdown_of(lambda: (w * w).sum(), readable=n, w=w)[0] for n in (2, 3))
    for breakdown, is_known in ((large, False), (small, True)):
        each = breakdown.terms[-1].inputs[0]
        assert [n is not None for n in (each.content.numbers, each.downstream.numbers, each.local)] == [is_known] * 3
        assert breakdown.terms[0].outputs[0].content.numbers is not None
    assert large.path_sums["w"].gradient.l2 == small.path_sums["w"].gradient.l2


def test_two_models_with_parts_of_the_same_name():
    first, second = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))
    terms, gradients = sweep(lambda: second(first(torch.randn(1, 2))).sum())
    breakdown = Breakdown.of(terms)
    assert_sums_are(breakdown, gradients, **{"0.weight": first[0].weight, "Sequential.0.weight": second[0].weight})
    assert [t.module for t in breakdown.by_module(together=True).terms] == ["", "0_2", "0"]
    watched = Breakdown.of(terms, model=second)  # names are relative to it
    assert_sums_are(watched, gradients, **{"0.weight": second[0].weight, "Sequential.0.weight": first[0].weight})


def test_layers_called_one_by_one():
    layers = [nn.Linear(2, 2, bias=False) for _ in range(3)]
    terms, _ = sweep(lambda: layers[2](layers[1](layers[0](torch.randn(1, 2)))).sum())
    breakdown = Breakdown.of(terms)
    assert [t.module for t in breakdown.terms] == ["", "Linear_3", "Linear_2", "Linear"]
    assert {"weight", "Linear.weight", "Linear_2.weight"} <= set(breakdown.path_sums)


def test_values_without_a_name():
    a, b = nn.Parameter(torch.ones(2)), torch.ones(2, requires_grad=True)
    breakdown, _ = breakdown_of(lambda: (a * b * 2 + b).sum() + (torch.rand(2) * a).sum())
    assert {name: each.kind for name, each in breakdown.path_sums.items() if each.made_by is None} == {
        "parameter": "parameter",
        "input": "input",
    }
    assert [i.name for i in breakdown.terms[2].inputs] == ["constant", "parameter"]
    c = torch.ones(2)
    breakdown, _ = breakdown_of(lambda: (b * c).sum())
    assert [i.name for i in breakdown.terms[-1].inputs] == ["input 1", "input 2"]


def test_a_piece_is_named_after_the_whole():
    w = torch.arange(6.0).reshape(2, 3).requires_grad_()
    names = {"w": w}

    def forward():
        u = names["u"] = w * 2
        return w[0, 1] * w[:, 2].sum() * u[1][-1] * w[0].sum() * w[1:, ::2].sum()

    terms, gradients = sweep(forward)
    breakdown = Breakdown.of(terms, names=names)
    found = {o.name for t in breakdown.terms for o in t.outputs if o.is_named}
    assert {"u", "w[0]", "w[0][1]", "w[:, 2]", "u[1]", "u[1][-1]", "w[1:]", "w[1:][:, ::2]"} <= found
    assert len([o for t in breakdown.terms for o in t.outputs]) == len(
        {o.name for t in breakdown.terms for o in t.outputs}
    )
    assert_sums_are(breakdown, gradients, w=w)


def test_settings_and_factors_of_one():
    a, b = scalar(2.0), scalar(3.0)
    breakdown, _ = breakdown_of(lambda: torch.sub(torch.add(a, b, alpha=2), b) * 5, a=a, b=b)
    found = [(t.formula, t.local, t.settings) for t in breakdown.terms]
    assert found == [
        ("y = a · b", "∂y/∂a = b, ∂y/∂b = a", {"b": 5}),
        ("y = a − b", "∂y/∂a = 1, ∂y/∂b = −1", {}),
        ("y = a + α·b", "∂y/∂a = 1, ∂y/∂b = α", {"α": 2}),
    ]


def test_settings_that_are_no_factors_stay():
    x = torch.randn(3, requires_grad=True)
    breakdown, _ = breakdown_of(lambda: nn.functional.softplus(x).sum())
    assert breakdown.terms[-1].settings == {"β": 1, "threshold": 20}
    assert breakdown.terms[-1].formula == "y = ln(1 + eᵝˣ)/β, and x where βx > threshold"


def test_lines_of_the_users_code():
    w = scalar(2.0)
    terms, _ = sweep(lambda: w * 3, lines=True)
    breakdown = Breakdown.of(terms)
    assert breakdown.terms[0].line.startswith("test_breakdown.py:")
    assert breakdown.terms[0].line in str(breakdown)


def test_the_graph_of_no_terms():
    assert graph_of([]).blocks == []
    assert str(Breakdown.of([])) == "No operation passed a gradient."
    assert Breakdown.of([]).by_module() == Breakdown.of([])


# --- text ---------------------------------------------------------------------------------------------------


def test_the_table_of_a_small_expression():
    w, x = scalar(3.0), scalar(2.0)
    breakdown, _ = breakdown_of(lambda: (w * x + w) ** 2, w=w, x=x)
    assert str(breakdown).splitlines() == [
        "The chain rule, from the loss down: upstream × local derivative = downstream",
        "",
        "#  operation  output  upstream  ×  local  =  downstream  goes to     as  formula; local derivative",
        "1  power      81             1  ×     18  =          18  add #2 = 9  x   y = xⁿ, n = 2;  n·xⁿ⁻¹",
        "2  add        9             18  ×      1  =          18  mul #3 = 6  a   y = a + b;  ∂y/∂a = 1, ∂y/∂b = 1",
        "                            18  ×      1  =          18  w = 3       b",
        "3  mul        6             18  ×      2  =          36  w = 3       a   y = a · b;  ∂y/∂a = b, ∂y/∂b = a",
        "                            18  ×      3  =          54  x = 2       b",
        "",
        "Gradients: a value used several times gets the sum over its uses (the path sum)",
        "w = 3  gets  54  =     18 from add #2 + 36 from mul #3",
        "x = 2  gets  54  from  mul #3",
    ]


def test_the_table_says_where_no_gradient_goes():
    w, x = scalar(3.0), scalar(2.0, False)
    breakdown, _ = breakdown_of(lambda: w * x, w=w, x=x)
    assert [line.split() for line in str(breakdown).splitlines()[3:5]][1] == ["no", "gradient", "x", "=", "2", "b"]


def test_the_table_of_a_network_is_whole():
    """Columns stand under each other, and every name is there, however long."""
    model = nn.Sequential()
    model.add_module("a_module_with_a_name_that_is_longer_than_any_terminal_is_wide_" * 3, nn.Linear(20, 30))
    model.add_module("b̂", nn.Tanh())  # a combining character takes no place
    breakdown, _ = breakdown_of(lambda: model(torch.randn(7, 20)).sum())
    lines = str(breakdown).splitlines()
    assert sum(name in str(breakdown) for name, _ in model.named_parameters()) == 2
    for part in ("‖·‖ is the length", "Y = C + A·B", "(7, 30)", "In a local derivative, G or g"):
        assert part in str(breakdown)
    top = next(line for line in lines if line.startswith("#"))
    rows = lines[lines.index(top) + 1 :]
    rows = rows[: rows.index("")]
    assert len(rows) == 5
    for row in rows:
        bare = "".join(c for c in row if c != "\u0302")
        assert top.index("goes to") >= 2
        assert bare[top.index("goes to") - 2 : top.index("goes to")] == "  "
        assert bare[top.index("goes to")] != " "


def test_entries_below_the_table():
    w = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    breakdown, _ = breakdown_of(lambda: (w * w).sum(1).prod(), w=w)
    text = breakdown.table(numbers=True)
    block = text[text.index("mul #3") :].split("\n\n")[-1].splitlines()
    # L = s₁·s₂ with s = (14, 77): upstream of the squares is 77 in the first row and 14 in the second
    assert [line.split() for line in block] == [
        ["mul", "#3"],
        ["mul", "#3", "1", "4", "9"],
        ["16", "25", "36"],
        ["upstream", "77", "77", "77"],
        ["14", "14", "14"],
        ["a:", "w", "1", "2", "3"],
        ["4", "5", "6"],
        ["local", "1", "2", "3"],
        ["4", "5", "6"],
        ["downstream", "77", "154", "231"],
        ["56", "70", "84"],
        ["b:", "w", "1", "2", "3"],
        ["4", "5", "6"],
        ["local", "1", "2", "3"],
        ["4", "5", "6"],
        ["downstream", "77", "154", "231"],
        ["56", "70", "84"],
    ]
