"""The precision lab: gradients in lower dtypes against float64, and the V-curve of differences.

Expected numbers come from NumPy in the given dtype, from closed forms, and from mpmath with 40 digits.
"""

import json
import math
import random
from itertools import combinations

import mpmath
import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function

from gradlab.checking.difference_curve import STEPS, Curve, v_curve
from gradlab.checking.precision_report import precision
from gradlab.errors import BadInput
from gradlab.figures import style

HALF, BRAIN, SINGLE, DOUBLE = torch.float16, torch.bfloat16, torch.float32, torch.float64
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}  # IEEE 754
ALONE = "autograd alone is off"


def square(x):
    return x * x


def total(output):
    return output.sum()


class CubeWrongInHalf(Function):
    """x³, whose backward is off by one half in float16 only."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x * (1.5 if x.dtype is HALF else 1.0)


class CubeWrong(Function):
    """x³ with a backward that is off by one half in every dtype."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 4.5 * x * x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.last(self.drop(CubeWrongInHalf.apply(self.norm(self.first(x)))))


class NoHalf(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x):
        self.norm(x)
        torch.rand(1), random.random(), np.random.rand()
        if x.dtype is HALF:
            self.eval()
            raise RuntimeError("no kernel for [/half] here\nand a second line")
        return x * self.weight


# --- the gradient in each dtype ---------------------------------------------------------------------------------


def as_bfloat16(x):
    """Round to nearest even at the upper half of a float32's bits."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


ROUND = {"float16": np.float16, "bfloat16": as_bfloat16, "float32": np.float32, "float64": np.float64}


@pytest.mark.parametrize("dtype", [HALF, BRAIN, SINGLE, DOUBLE])
def test_a_square_loses_what_rounding_its_argument_loses(dtype):
    """2x is exact in binary: all that is left is the rounding of x, which NumPy knows."""
    x = np.array([0.1, 0.7, 1 / 3, -5.3])
    name = str(dtype).removeprefix("torch.")
    row = precision(square, torch.from_numpy(x), loss=total, dtypes=[dtype])["x", name]
    low = ROUND[name](x).astype(np.float64)
    largest = 2 * max(np.abs(low).max(), np.abs(x).max())
    assert row.error == pytest.approx(2 * np.abs(low - x).max() / largest, rel=1e-12)
    assert row.manual_error == pytest.approx(row.error, rel=1e-12)
    assert row.epsilon == EPSILON[name]
    assert row.roundings == row.error / EPSILON[name]
    assert row.roundings <= 0.5
    assert row.marks == ()


@pytest.mark.parametrize("name", list(EPSILON))
def test_a_chain_of_a_few_operations_loses_a_few_roundings(name):
    x = torch.linspace(0.1, 0.9, 20, dtype=DOUBLE)
    row = precision(lambda x: (x * x).sin() * x, x, dtypes=[getattr(torch, name)])["x", name]
    assert row.roundings < 4
    assert (row.error > 0) == (name != "float64")


def test_the_error_is_the_designs_with_the_largest_entry_of_all_tensors_as_floor():
    """b's gradient, 1, is below a thousandth of a's, 20000: the floor 20 is what it is measured by."""
    a, b = torch.tensor([1.0]), torch.tensor([0.1])
    report = precision(lambda a, b: 20_000 * a + (b * b) * 3, a, b, loss=total, dtypes=[HALF])
    low = 2 * float(np.float16(3) * np.float16(0.1))  # 3·b is rounded, and doubling it is exact
    gap = abs(low - 6 * float(np.float32(0.1)))
    assert gap > 0
    assert report["b", "float16"].error == pytest.approx(gap / 20, rel=1e-9)


def test_overflow_is_named_with_its_share():
    """e¹² = 162,755 is above float16's largest number, 65,504; e¹ is not."""
    report = precision(torch.exp, torch.tensor([12.0, 1.0, 1.0, 1.0]), loss=total)
    row = report["argument 0", "float16"]
    assert (row.overflow, row.underflow, row.error, row.marks) == (0.25, 0.0, math.inf, ("overflow",))
    assert "overflow of 25% of the entries" in str(report)
    assert report["argument 0", "bfloat16"].marks == ()


def test_underflow_is_named_with_its_share():
    """e⁻²⁰ = 2·10⁻⁹ is below half of float16's smallest number, 6·10⁻⁸."""
    report = precision(torch.exp, torch.tensor([-20.0, 0.0]), loss=total)
    row = report["argument 0", "float16"]
    assert (row.overflow, row.underflow, row.marks) == (0.0, 0.5, ("underflow",))
    assert row.error < EPSILON["float16"]  # e⁰ is exact, and e⁻²⁰ is nothing beside it
    assert "underflow of 50% of the entries" in str(report)


@pytest.mark.parametrize("seed", range(4))
def test_a_true_zero_is_no_underflow(seed):
    """A softmax does not see a key bias, nor BatchNorm a bias before it: 0, in float64 perhaps noise of 1e-17."""
    torch.manual_seed(seed)
    attention = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    assert {row.underflow for row in precision(attention, torch.randn(2, 5, 16)).rows} == {0.0}
    normalized = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh())
    assert {row.underflow for row in precision(normalized, torch.randn(3, 2)).rows if row.name == "0.bias"} == {0.0}


def test_a_gradient_that_vanishes_as_a_whole_is_an_underflow():
    """60 factors of σ′ ≤ ¼: less than 10⁻³⁶ beside a last layer's 1, which float64 and float32 hold, float16 not."""

    class Deep(nn.Module):
        def forward(self, x, y):
            for _ in range(60):
                x = x.sigmoid()
            return x.sum() + y

    report = precision(Deep(), torch.ones(2), torch.ones(1), loss=total)
    assert (report["x", "float16"].underflow, report["x", "float32"].underflow) == (1.0, 0.0)
    assert report["y", "float16"].underflow == 0.0


def test_an_infinity_that_float64_has_too_is_no_overflow():
    report = precision(torch.sqrt, torch.tensor([0.0, 0.3]), loss=total)
    assert {(row.overflow, row.marks) for row in report.rows} == {(0.0, ())}
    assert all(row.roundings < 2 for row in report.rows)


def test_cancellation_is_called_imprecise():
    """(x + 1000) − 1000 of x = 0.1 has no digit of x left in float16, whose numbers near 1000 are ½ apart."""
    x = torch.tensor([0.1])
    report = precision(lambda x: ((x + 1000) - 1000) ** 2, x, loss=total, dtypes=[HALF, SINGLE])
    row = report["x", "float16"]
    # In float16 the sum is 1000, so that the gradient 2·0 is 0 beside 0.2: relative error 1, and an underflow.
    assert float(np.float16(0.1) + np.float16(1000)) == 1000
    assert row.error == 1
    assert row.marks == ("underflow", "imprecise")


def test_a_backward_that_is_wrong_in_float16_only_is_seen_and_named():
    torch.manual_seed(0)
    report = precision(Net(), torch.randn(16, 3))
    wrong = {(row.name, row.dtype) for row in report.rows if ALONE in row.marks}
    # first.bias stands before BatchNorm: its gradient is zero, in either witness.
    assert {(n, "float16") for n in ("x", "first.weight", "norm.weight", "norm.bias")} == wrong
    row = report["norm.bias", "float16"]
    assert row.error == pytest.approx(1 / 3, abs=0.01)  # |1.5 − 1| / 1.5
    assert row.manual_error < 8 * EPSILON["float16"]
    assert row.blame.startswith("the custom Function CubeWrongInHalf in module Net")
    assert "to blame in float16 for x, first.weight, norm.weight, norm.bias: the custom Function" in str(report)


def test_a_backward_that_is_wrong_everywhere_is_disputed_not_imprecise():
    report = precision(CubeWrong, torch.tensor([1.0, 2.0]))
    assert {row.marks for row in report.rows} == {("disputed in float64",)}
    assert "autograd and the handwritten sweep differ in float64 already for x" in report.notes[0]
    assert "CubeWrong" in report.notes[0]


def test_a_dtype_that_does_not_run_is_a_row_that_says_why():
    report = precision(NoHalf(), torch.ones(3, 2))
    row = report["weight", "float16"]
    assert (row.name, row.error, row.marks) == ("", None, ("does not run",))
    assert row.reason == "RuntimeError: no kernel for [/half] here"
    assert "does not run: RuntimeError: no kernel for [/half] here" in str(report)
    assert report["weight", "float32"].error < 4 * EPSILON["float32"]


def test_without_a_gradient_in_float64_nothing_is_compared():
    def only_single(x):
        if x.dtype is not SINGLE:
            raise TypeError("float32 only")
        return x.exp()

    report = precision(only_single, torch.tensor([1.0, 100.0]), loss=total)
    row = report["x", "float32"]
    assert (row.error, row.roundings, row.overflow, row.marks) == (None, None, 0.5, ("overflow",))
    assert report.notes == ("there is no float64 gradient to compare with (TypeError: float32 only)",)
    assert str(report).count("float32 only") == 4


def test_what_is_not_reached_is_named():
    report = precision(lambda x, y: x * 2, torch.ones(1), torch.ones(1))
    assert {row.marks for row in report.rows if row.name == "y"} == {("not reached",)}
    assert {row.error for row in report.rows if row.name == "y"} == {0.0}


def test_what_a_function_finds_by_itself_is_noted():
    model = nn.Linear(2, 1)
    report = precision(lambda x: model(x), torch.ones(1, 2))
    assert "model keeps its own dtype throughout" in report.notes[0]
    assert report["x", "float32"].reason == ""
    assert "dtype" in report["x", "float16"].reason


def test_random_numbers_are_noted():
    report = precision(lambda x: x * torch.rand_like(x), torch.ones(2))
    assert any("random numbers" in note for note in report.notes)
    assert not precision(square, torch.ones(2)).notes


def test_dropout_masks_are_the_same_in_every_dtype():
    report = precision(nn.Dropout(0.5), torch.ones(1000))
    assert all(row.roundings < 2 for row in report.rows)


def test_complex_tensors_take_the_complex_counterpart():
    report = precision(square, torch.tensor([1 + 2j, 0.1j]), dtypes=[SINGLE, DOUBLE])
    assert report["x", "float32"].roundings < 4
    assert report["x", "float64"].error == 0


def test_the_rows_keep_the_order_that_was_asked_for():
    report = precision(square, torch.ones(1), dtypes=[SINGLE, HALF])
    assert report.dtypes == ("float32", "float16")
    assert [row.dtype for row in report.rows] == ["float32", "float16"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, "float16"])
def test_only_floating_dtypes(dtype):
    with pytest.raises(BadInput, match="no dtype of real floating numbers: choose from float16, bfloat16, float32"):
        precision(square, torch.ones(1), dtypes=[dtype])


def test_no_such_row():
    with pytest.raises(KeyError, match=r"\(x, float16\)"):
        precision(square, torch.ones(1))["y", "float16"]


# --- what is printed and saved ----------------------------------------------------------------------------------


def test_what_is_printed_says_no_more_than_there_is():
    class Wide(nn.Linear):
        pass

    text = str(precision(Wide(2, 1), torch.ones(1, 2), dtypes=[SINGLE, DOUBLE]))
    assert text.startswith("the gradient of Wide in each dtype")
    assert "input input" not in text
    assert "marks" not in text  # there are none
    (row,) = [line.split("│") for line in text.splitlines() if "parameter weight" in line and "float64" in line]
    assert [cell.strip() for cell in row[3:5]] == ["reference", ""]
    assert "marks" in str(precision(torch.exp, torch.tensor(12.0)))


def test_print_is_plain_and_whole(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    name = "a" * 150

    def bold(batch):
        return batch["[red]"][name] ** 2

    text = str(precision(bold, {"[red]": {name: torch.ones(2)}}))
    assert "\x1b" not in text
    assert f"input batch['[red]']['{name}']" in text
    assert len({len(line) for line in text.splitlines()[1:]}) == 1  # nothing is wrapped


def test_json_holds_the_rows_and_writes_infinities_as_text():
    report = precision(torch.exp, torch.tensor(12.0), dtypes=[HALF, SINGLE])
    content = json.loads(report.to_json(), parse_constant=pytest.fail)
    half, single = content["rows"]
    assert (half["error"], half["roundings"], half["marks"]) == ("inf", "inf", ["overflow"])
    assert single["error"] == report["argument 0", "float32"].error
    assert report.table[1]["roundings"] == single["roundings"] == single["error"] / EPSILON["float32"]


# --- leaving no trace -------------------------------------------------------------------------------------------


def snapshot(model, *tensors):
    states = (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state()))
    content = {name: t.tolist() for name, t in model.state_dict().items()}
    flags = [m.training for m in model.modules()]
    every = [*model.parameters(), *tensors]
    leaves = [(id(t.grad), None if t.grad is None else t.grad.tolist(), t.requires_grad, t.dtype) for t in every]
    return states, content, flags, leaves, [t.tolist() for t in tensors], torch.is_grad_enabled()


def behind_a_function(look):
    return lambda model, x: look(lambda x: model(x.float()), x)


def as_an_argument(look):
    return lambda model, x: look(lambda m, x: m(x.float()), model, x)


@pytest.mark.parametrize("by", [lambda look: look, behind_a_function, as_an_argument])
@pytest.mark.parametrize("look", [precision, v_curve])
def test_nothing_of_the_users_is_changed(look, by):
    model, x = NoHalf(), torch.randn(4, 2, requires_grad=True)
    model.weight.grad, x.grad = torch.ones(2), torch.ones(4, 2)
    before = snapshot(model, x)
    with torch.no_grad():
        by(look)(model, x)
    assert snapshot(model, x) == before


@pytest.mark.parametrize("look", [precision, v_curve])
def test_nothing_is_changed_by_a_target_that_raises(look):
    model, x = NoHalf(), torch.randn(4, 2)
    model.weight.grad = torch.ones(2)

    def raises(x):
        model.eval()
        model.norm(x.float())
        model.norm.running_mean.fill_(7)
        torch.rand(1), random.random(), np.random.rand()
        raise ValueError("never")

    before = snapshot(model, x)
    if look is v_curve:
        with pytest.raises(BadInput, match=r"there is none \(ValueError: never\)"):
            v_curve(raises, x)
    else:
        assert {row.reason for row in precision(raises, x).rows} == {"ValueError: never"}
    assert snapshot(model, x) == before


# --- the V-curve ------------------------------------------------------------------------------------------------


def curves_of(curve):
    return {(c.dtype, c.formula): c for c in curve.curves}


def exactly(formula, x, h):
    """|difference − cos x| of sin, with 40 digits."""
    with mpmath.workdps(40):
        x, h = mpmath.mpf(x), mpmath.mpf(h)
        low, run = (x, h) if formula == "forward" else (x - h, 2 * h)
        return float(abs((mpmath.sin(x + h) - mpmath.sin(low)) / run - mpmath.cos(x)))


def test_the_steps_go_from_a_tenth_to_the_sixteenth_decimal():
    assert (STEPS[0], STEPS[-1], len(STEPS)) == (pytest.approx(0.1), pytest.approx(1e-16), 46)


@pytest.mark.parametrize(("formula", "last"), [("forward", 1e-6), ("central", 1e-3)])
def test_the_truncation_error_of_sin_is_the_exact_one(formula, last):
    curve = curves_of(v_curve(torch.sin, torch.tensor(1.0), loss=total))["float64", formula]
    large = [(h, error) for h, error in zip(curve.steps, curve.errors, strict=True) if h >= last]
    assert len(large) >= 6
    # Rounding adds up to ε·|L|/h, which is below 1e-3 of truncation at these steps.
    assert [error for _, error in large] == pytest.approx([exactly(formula, 1, h) for h, _ in large], rel=1e-3)


def test_the_slopes_of_sin_are_half_its_sine_and_a_sixth_of_its_cosine():
    found = curves_of(v_curve(torch.sin, torch.tensor(1.0), loss=total))
    for dtype in ("float64", "float32"):
        forward, central = found[dtype, "forward"], found[dtype, "central"]
        assert (forward.order, central.order) == (1, 2)
        assert forward.truncation == pytest.approx(math.sin(1) / 2, rel=0.05)
        assert central.truncation == pytest.approx(math.cos(1) / 6, rel=0.05)
        assert forward.rounding == central.rounding == pytest.approx(EPSILON[dtype] * math.sin(1), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_best_steps_are_where_the_lines_meet(dtype):
    """h = √(2ε·|L|/|L″|) and ∛(3ε·|L|/|L‴|), the minima of c·hᵖ + ε·|L|/h."""
    found, epsilon = curves_of(v_curve(torch.sin, torch.tensor(1.0), loss=total)), EPSILON[dtype]
    expected = {"forward": math.sqrt(2 * epsilon), "central": (3 * epsilon * math.tan(1)) ** (1 / 3)}
    for formula, h in expected.items():
        curve = found[dtype, formula]
        assert curve.expected_best == pytest.approx(h, rel=0.05)
        assert h / 3 < curve.best[0] < h * 3
        least = curve.truncation * h**curve.order + curve.rounding / h
        assert 0.3 * least < curve.best[1] < 3 * least


def test_rounding_stays_near_its_line():
    for curve in v_curve(torch.sin, torch.tensor(1.0), loss=total).curves:
        left = [e * h for h, e in zip(curve.steps, curve.errors, strict=True) if h < curve.best[0] / 10 and e == e]
        assert len(left) > 5
        assert 0.1 * curve.rounding < max(left) < 2 * curve.rounding


def test_no_luck_counts_as_the_best():
    errors = (1e-1, 1e-2, 1e-3, 1e-2, 0.0, 1e-1)
    steps = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    assert Curve("forward", "float64", 1, steps, errors, 1.0, 1e-6).best == (1e-3, 1e-3)
    assert Curve("forward", "float64", 1, steps, (math.nan,) * 6, 1.0, 1e-6).best is None


def test_float32_ends_where_a_step_is_lost():
    """1 + h is 1 in float32 for h below 2⁻²⁵, and 1 − h for h below 2⁻²⁶ or so."""
    curve = curves_of(v_curve(torch.sin, torch.tensor(1.0)))["float32", "forward"]
    assert all(math.isnan(error) == (h < 2**-24) for h, error in zip(curve.steps, curve.errors, strict=True))


def test_a_parabola_and_a_straight_line_have_no_truncation():
    x = torch.tensor(1.3)
    parabola = v_curve(lambda x: 2 * x * x - x, x, loss=total)
    assert curves_of(parabola)["float64", "forward"].truncation == pytest.approx(2, rel=0.05)
    assert curves_of(parabola)["float64", "central"].truncation == 0
    assert curves_of(parabola)["float64", "central"].expected_best is None
    assert [note.partition(" shows in ")[2].partition(" ")[0] for note in parabola.notes] == ["central"]
    line = v_curve(lambda x: 3 * x, x, loss=total)
    assert {c.truncation for c in line.curves} == {0}
    assert curves_of(line)["float64", "forward"].best[0] == pytest.approx(0.1)
    assert len(line.notes) == 2


def test_the_entry_is_the_one_with_the_largest_gradient_unless_it_is_named():
    x, y = torch.tensor([[1.0, 5.0], [-9.0, 2.0]]), torch.tensor([4.0, 3.0])

    def cubes(x, y):
        return (x**3).sum() + (y**3).sum()

    largest = v_curve(cubes, x, y, loss=total)
    assert (largest.place, largest.value, largest.gradient, largest.loss) == ("x[1,0]", -9, 3 * 81, 504)
    assert v_curve(cubes, x, y, variable="y").place == "y[0]"
    named = v_curve(cubes, x, y, variable="x", index=(0, 1), loss=total)
    assert (named.place, named.value, named.gradient) == ("x[0,1]", 5, 75)
    assert v_curve(cubes, x, y, variable="y", index=1, loss=total).gradient == 27


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variable": "z"}, "no variable 'z' with entries: choose from x"),
        ({"index": (0, 0)}, r"x of shape \(2,\) has no entry \(0, 0\)"),
        ({"index": 2}, r"x of shape \(2,\) has no entry \(2,\)"),
        ({"index": -1}, r"x of shape \(2,\) has no entry \(-1,\)"),
    ],
)
def test_entries_that_are_not_there(options, message):
    with pytest.raises(BadInput, match=message):
        v_curve(square, torch.ones(2), **options)


def test_a_parameter_of_a_module_moves_and_comes_back():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x = torch.randn(5, 2)
    curve = v_curve(model, x, variable="0.weight", index=(1, 0), loss=total)
    own = model.double()
    own(x.double()).sum().backward()
    assert curve.gradient == pytest.approx(own[0].weight.grad[1, 0].item(), rel=1e-12)
    assert curves_of(curve)["float64", "central"].best[1] < 1e-8


def test_an_output_without_a_gradient_is_no_part_of_the_loss():
    """Else differences would be of another L than autograd's gradient."""

    def with_metric(x):
        return (100 * x).detach(), x.sin()

    curve = v_curve(with_metric, torch.tensor(1.0))
    for c in curve.curves:
        assert min(c.errors) < EPSILON[c.dtype] ** 0.4
    assert curve.loss < 1.5 * math.sin(1)


def test_a_complex_entry_moves_along_the_real_line():
    curve = v_curve(lambda z: (z * z * z).real, torch.tensor(1 + 2j), loss=total)
    assert (curve.value, curve.gradient) == (1, pytest.approx(3 - 12))  # Re 3z² at 1 + 2i
    assert curves_of(curve)["float64", "central"].best[1] < 1e-8


def test_a_dtype_in_which_nothing_runs_is_noted():
    curve = v_curve(torch.linalg.inv, torch.tensor([[2.0]]), dtypes=[DOUBLE, HALF])
    assert {c.dtype for c in curve.curves} == {"float64"}
    assert any(note.startswith("nothing runs in float16 (RuntimeError:") for note in curve.notes)


def test_a_wrong_autograd_is_not_passed_off_as_the_truth():
    curve = v_curve(CubeWrong, torch.tensor([1.0, 2.0]))
    assert "differ in float64 already for x" in curve.notes[0]
    assert "differ in float64 already for x" in str(curve)


def test_the_curve_as_json_and_as_text():
    curve = v_curve(torch.sin, torch.tensor(1.0), loss=total)
    content = json.loads(curve.to_json(), parse_constant=pytest.fail)
    assert content["gradient"] == pytest.approx(math.cos(1), rel=1e-15)
    assert len(content["curves"]) == 4
    assert content["curves"][0]["errors"][:3] == list(curve.curves[0].errors[:3])
    assert content["curves"][2]["errors"][-1] == "nan"
    assert "differences at argument 0 = 1, where ∂L/∂x is 0.540302" in str(curve)


def test_printed_errors_are_relative_to_the_derivative_as_in_the_picture():
    curve = v_curve(lambda x: 1e-3 * x.sin(), torch.tensor(1.0), loss=total)
    text = str(curve)
    assert "relative error about there" in text
    for c in curve.curves:
        assert f" {c.best[1] / (1e-3 * math.cos(1)):.3g} " in text
    assert "absolute error about there" in str(v_curve(torch.cos, torch.tensor(0.0), loss=total))


# --- the pictures -----------------------------------------------------------------------------------------------


def labelled(axes):
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def assert_legible(figure):
    """No two texts overlap by more than a tenth of the smaller one."""
    style.png(figure, dpi=60)
    with style.look():
        figure.canvas.draw()
    for axes in figure.axes:
        texts = [*axes.texts, axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts()]
        texts += [axes.title, axes._left_title, *axes.get_xticklabels(), *axes.get_yticklabels()]
        boxes = {t.get_text(): t.get_window_extent() for t in texts if t.get_text() and t.get_visible()}
        for (a, one), (b, other) in combinations(boxes.items(), 2):
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            shared = max(width, 0) * max(height, 0)
            assert shared <= 0.1 * min(one.width * one.height, other.width * other.height), (a, b)


def test_the_precision_figure_draws_the_reports_numbers():
    torch.manual_seed(0)
    report = precision(Net(), torch.randn(16, 3))
    figure = report.figure()
    assert_legible(figure)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "Precision of the gradient: Net"
    assert axes.get_xlabel() == "relative error against float64 (logarithmic)"
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names == list(dict.fromkeys(row.name for row in report.rows))
    drawn = {(x, y) for line in axes.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
    for row in report.rows:
        place = names.index(row.name)
        if row.dtype != "float64":
            assert (row.error, place) in drawn
        if row.manual_error:
            assert (row.manual_error, place) in drawn
    squares = labelled(axes)[ALONE]
    assert list(squares.get_ydata()) == [names.index(r.name) for r in report.rows if ALONE in r.marks]
    dashed = sorted(line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--")
    assert dashed == sorted(EPSILON.values())
    assert axes.yaxis_inverted()  # the first on top


def test_the_precision_figure_shows_overflow_underflow_equality_and_what_does_not_run():
    def steep(x, y):
        if x.dtype is BRAIN:
            raise RuntimeError("not in bfloat16, for a reason that is long enough to be wrapped once or twice, or so")
        return x.exp().sum() + y.exp().sum()

    report = precision(steep, torch.tensor([12.0]), torch.tensor([-20.0, 0.0]), loss=total)
    figure = report.figure()
    assert_legible(figure)
    (axes,) = figure.axes
    assert list(labelled(axes)["inf or NaN: overflow"].get_ydata()) == [0]
    triangles = [line for line in axes.lines if line.get_marker() == "v" and len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in triangles] == [[1], [1]]  # autograd and the sweep, of y in float16
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"some entries became 0: underflow", "equal to the last bit", "float16, ε = 9.8e-04"} <= set(legend)
    assert not any(text.startswith("bfloat16") for text in legend)
    caption = axes.texts[0].get_text().replace("\n", " ")
    assert "Nothing ran in bfloat16: RuntimeError: not in bfloat16" in caption


def test_a_precision_figure_of_many_parameters_and_of_none_can_be_read():
    layers = [nn.Linear(3, 3) for _ in range(40)]
    assert_legible(precision(nn.Sequential(*layers), torch.ones(1, 3)).figure())

    def never(x):
        raise ValueError("never")

    report = precision(never, torch.ones(1))
    figure = report.figure()
    style.png(figure, dpi=20)
    assert figure.axes[0].texts[0].get_text().count("ValueError: never") == 4


def test_the_v_figure_draws_the_errors_and_the_slopes():
    curve = v_curve(torch.sin, torch.tensor(1.0), loss=total)
    figure = curve.figure()
    assert_legible(figure)
    assert [a.get_title(loc="left") for a in figure.axes] == ["V-curve in float64", "V-curve in float32"]
    assert len({a.get_ylim() for a in figure.axes}) == 1
    for axes, dtype in zip(figure.axes, ("float64", "float32"), strict=True):
        lines = labelled(axes)
        for c in (c for c in curve.curves if c.dtype == dtype):
            (own,) = [line for label, line in lines.items() if label.startswith(f"{c.formula}: ")]
            errors = np.array(c.errors) / math.cos(1)
            assert own.get_ydata() == pytest.approx(np.where(errors > 0, errors, np.nan), nan_ok=True)
            slope = lines[f"truncation of {c.formula}, slope {c.order}: ∝ {'h' if c.order == 1 else 'h²'}"]
            rise = np.diff(np.log10(slope.get_ydata())) / np.diff(np.log10(slope.get_xdata()))
            assert rise == pytest.approx(np.full(len(STEPS) - 1, c.order))
            (star,) = [line for label, line in lines.items() if label.startswith(f"best h of {c.formula}")]
            assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((c.best[0], c.best[1] / math.cos(1)))
        rounding = lines["rounding, slope −1: about ε·|L| / h"]
        assert rounding.get_ydata() * np.array(STEPS) == pytest.approx(
            np.full(len(STEPS), EPSILON[dtype] * math.tan(1)), rel=1e-6
        )
    assert "h is lost in rounding: x + h is x" in figure.axes[1].get_legend_handles_labels()[1]


def test_a_v_figure_without_a_v_says_so():
    figure = v_curve(lambda x: 3 * x, torch.tensor(1.0)).figure()
    assert_legible(figure)
    caption = figure.axes[0].texts[0].get_text().replace("\n", " ")
    assert "No truncation shows for forward and central" in caption
    kink = v_curve(torch.relu, torch.tensor(0.0)).figure()
    assert_legible(kink)
    assert kink.axes[0].get_ylabel() == "absolute error"
