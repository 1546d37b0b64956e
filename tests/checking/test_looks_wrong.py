"""What looks wrong and is right, each beside an error in the same place that is found."""

import warnings

import pytest
import torch
from torch import nn

import gradlab

F64 = torch.float64


def scaled_backward(function, factor):
    """The same function, with a first derivative that is off by a factor."""

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            ctx.save_for_backward(*tensors)
            return function(*tensors)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            with torch.enable_grad():
                leaves = [t.detach().requires_grad_() for t in ctx.saved_tensors]
                found = torch.autograd.grad(function(*leaves), leaves, g)
            return tuple(factor * t for t in found)

    return Scaled.apply


# --- a kink that no entry shows by itself -----------------------------------------------------------------------


def smallest_singular_value(x):
    return torch.linalg.matrix_norm(x, -2)


@pytest.mark.parametrize("x", [torch.zeros(4, 4, dtype=F64), torch.diag(torch.tensor([2.0, 1.0, 0.0, 0.0], dtype=F64))])
def test_a_kink_that_shows_only_where_several_entries_move(x):
    report = gradlab.check(smallest_singular_value, x)
    assert report.ok, str(report)
    assert report.findings[0].verdict == "kink"
    assert "at points around, however near" in report.findings[0].note


def test_a_wrong_gradient_at_such_a_kink():
    """No slope of σ_min is larger than 1."""
    x = torch.zeros(4, 4, dtype=F64)
    report = gradlab.check(scaled_backward(smallest_singular_value, 40.0), x)
    assert [f.verdict for f in report.failures] == ["wrong"]


@pytest.mark.parametrize("factor", [1.00001, 0.0, -1.0])
def test_a_wrong_gradient_where_the_slope_bends_but_does_not_jump(factor):
    """eˣ·y: the slope at points around is another one, and the less so the nearer they are."""
    x = torch.tensor([0.3, 1.2, -0.5], dtype=F64)
    report = gradlab.check(scaled_backward(lambda x: (x.exp() * x.flip(0)).sum(), factor), x)
    assert [f.verdict for f in report.failures] == ["wrong"]


def test_a_cut_beside_a_kink_of_another_entry():
    """x₀ is at the kink of ReLU; by x₁ the slope is 2x₁, of which autograd gives one half, and jumps nowhere."""

    def function(x):
        return x[0].relu() + x[1].detach() * x[1]

    report = gradlab.check(function, torch.tensor([0.0, 1.5], dtype=F64))
    assert [f.verdict for f in report.failures] == ["wrong"]


# --- a second derivative beside a jump --------------------------------------------------------------------------

CLOSE = 1 + 1e-6 * torch.tensor([1.0, 3.0, -2.0, 7.0], dtype=F64)  # beside the step of ⌊1000·x⌋ at 1


@pytest.mark.parametrize("seed", [1, 32, 56, 132])
def test_the_steps_of_a_staircase_are_no_slope(seed):
    """∂fmod(x, y)/∂y = −⌊x/y⌋ has the more steps the smaller y is, in some of these 1e-4 of its usual size."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (18 * torch.rand(shape, generator=generator, dtype=F64) - 9 for shape in ((10, 1, 5), (10, 5)))
    report = gradlab.check(torch.fmod, x, y, conditions=False)
    assert report.ok, str(report)


class SineOffInTheSecond(torch.autograd.Function):
    """sin x + x·⌊1000·x⌋ / 1000, whose second derivative −sin x comes out as −1.001·sin x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin() + x * torch.floor(1000 * CLOSE * x) / 1000

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        slope = 1.001 * x.cos() - 0.001 * x.detach().cos()
        return g * (slope + torch.floor(1000 * CLOSE * x).detach() / 1000)


def test_a_wrong_second_derivative_beside_a_jump():
    x = torch.tensor([1.0, 1.0, 1.0, 0.7003], dtype=F64)
    report = gradlab.check(SineOffInTheSecond.apply, x, conditions=False)
    assert [f.condition for f in report.failures] == ["second derivative"]


# --- roundings inside one operation -----------------------------------------------------------------------------


def norm_of_one(x, w):
    return torch.native_layer_norm(x, (1,), w, None, 1e-5)[0]


ONE = torch.tensor([[1.6046096051488306]], dtype=F64)  # of which autograd's kernel leaves −2e-14


def test_what_a_normalization_subtracts_leaves_a_rounding():
    report = gradlab.check(norm_of_one, ONE, torch.ones(1, dtype=F64))
    assert report.ok, str(report)


def test_a_wrong_gradient_of_a_normalization():
    x, w = torch.tensor([[1.6, 1.6 + 1e-9]], dtype=F64), torch.ones(2, dtype=F64)
    wrong = scaled_backward(lambda x, w: torch.native_layer_norm(x, (2,), w, None, 1e-5)[0], 1.01)
    assert [f.name for f in gradlab.check(wrong, x, w).failures if f.verdict == "wrong"][-1] == "argument 1"


# --- another function where no gradients are asked for ----------------------------------------------------------


def test_a_function_that_is_another_one_without_gradients():
    report = gradlab.check(lambda x: x**3 if torch.is_grad_enabled() else x, torch.ones(3, dtype=F64) / 2)
    assert report.ok, str(report)


def test_an_error_in_a_function_that_is_another_one_without_gradients():
    wrong = scaled_backward(lambda x: x**3, 1.00001)
    report = gradlab.check(lambda x: wrong(x) if torch.is_grad_enabled() else x, torch.ones(3, dtype=F64) / 2)
    assert [f.verdict for f in report.failures] == ["wrong"]


def test_the_fast_path_of_an_encoder():
    """Without gradients it gives 0 at padded places."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, dtype=F64)
    model = nn.TransformerEncoder(layer, 1, enable_nested_tensor=True).eval()
    x, padded = torch.randn(2, 3, 4, dtype=F64), torch.tensor([[False, False, True]] * 2)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nested tensors are a prototype
        fast = model(x, src_key_padding_mask=padded)
    assert (fast - model(x, src_key_padding_mask=padded)).abs().max() > 0.1
    report = gradlab.check(model, x, kwargs={"src_key_padding_mask": padded}, conditions=False, second_order=False)
    assert report.ok, str(report)
