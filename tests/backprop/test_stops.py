"""Where gradients stop: detach, no_grad, leaves made midway, custom Functions, checkpoints."""

import numpy as np
import pytest
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from gradlab.backprop import Tape, TapeError

# --- without Functions --------------------------------------------------------------------------------------


def detached(x, w):
    return (x.detach() * w + x * w.detach()).sum()


def detached_and_tracked_again(x, w):
    y = (x * w).detach().requires_grad_()
    return (y * w).sum()


def region_without_grad(x, w):
    with torch.no_grad():
        scale = (x * w).sum().exp()
        shift = scale.detach() + w
    return (x * scale + shift).sum()


def grad_enabled_within_no_grad(x, w):
    with torch.no_grad():
        constant = x * 2
        with torch.enable_grad():
            tracked = x * constant
        lost = tracked * 2
    return (tracked * w + lost).sum()


def tensors_that_do_not_require_grad(x, w):
    data = torch.full_like(x, 2.0)
    return (data.exp() * w).sum() + (data * 3).sum()


def no_leaf_is_reached(x, w):
    return (x.detach() * 0).sum() + w.sum() * 0


PLAIN = [
    detached,
    detached_and_tracked_again,
    region_without_grad,
    grad_enabled_within_no_grad,
    tensors_that_do_not_require_grad,
    no_leaf_is_reached,
]


@pytest.mark.parametrize("forward", PLAIN, ids=lambda f: f.__name__)
def test_like_autograd(agree, leaf, forward):
    agree(forward, leaf(3, 4), leaf(4))


def test_a_leaf_made_inside_gets_a_gradient():
    with Tape() as tape:
        w = torch.zeros(3).requires_grad_()
        loss = (w.exp() * 2).sum()
    assert tape.backward(loss)[w].tolist() == [2, 2, 2]


def test_requires_grad_turned_on_midway(leaf):
    """What is computed before the switch is a constant, what comes after is tracked."""
    x = torch.tensor([1.0, 2.0])
    with Tape() as tape:
        constant = x * 3
        x.requires_grad_()
        loss = (x * constant).sum()
    expected = torch.autograd.grad(loss, x)[0]
    assert torch.equal(tape.backward(loss)[x], expected)


def test_requires_grad_turned_on_in_an_intermediate_value(leaf):
    x = torch.tensor([1.0, 2.0])
    with Tape() as tape:
        y = x * 3
        y.requires_grad_()
        loss = (y * y).sum()
    expected = torch.autograd.grad(loss, y)[0]
    grads = tape.backward(loss)
    assert torch.equal(grads[y], expected)
    assert grads[x] is None


def test_a_parameter_of_a_frozen_layer_gets_none():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    model[0].requires_grad_(False)
    with Tape() as tape:
        loss = model(torch.ones(1, 2)).sum()
    named = tape.backward(loss).named(model)
    assert named["0.weight"] is None
    assert named["1.weight"] is not None


# --- custom Functions ---------------------------------------------------------------------------------------


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Product(Function):
    """Several inputs, the setup_context style."""

    @staticmethod
    def forward(x, w, factor):
        return x * w * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w, ctx.factor = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w * ctx.factor, (g * x * ctx.factor).sum(0), None


class SinCos(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, a, b):
        (x,) = ctx.saved_tensors
        return a * x.cos() - b * x.sin()


class SortedWithPlaces(Function):
    """An integer output, and a floating one marked as not differentiable."""

    @staticmethod
    def forward(ctx, x):
        values, places = x.sort(-1)
        largest = values[..., -1] * 2
        ctx.mark_non_differentiable(places, largest)
        ctx.save_for_backward(places)
        return values * 2, places, largest

    @staticmethod
    def backward(ctx, g, _, __):
        (places,) = ctx.saved_tensors
        return torch.zeros_like(g).scatter(-1, places, 2 * g)


class TwiceInPlace(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2


class Nested(Function):
    """A Function that applies another in its forward, with grad mode turned on there."""

    @staticmethod
    def forward(ctx, x, w):
        with torch.enable_grad():
            a, b = x.detach().requires_grad_(), w.detach().requires_grad_()
            y = Cube.apply(a) * b
        ctx.inner = a, b, y
        return y.detach()

    @staticmethod
    def backward(ctx, g):
        a, b, y = ctx.inner
        return torch.autograd.grad(y, (a, b), g)


class NestedQuietly(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return Cube.apply(x) + x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (3 * x * x + x.cos())


class Same(Function):
    """Returns its input."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g


class FirstRows(Function):
    """Returns a view of its input."""

    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x[:2]

    @staticmethod
    def backward(ctx, g):
        return torch.cat([g, g.new_zeros(ctx.shape[0] - 2, *ctx.shape[1:])])


class SameAsView(Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return g


class WorksInPlaceInside(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        buffer = torch.zeros_like(x)
        buffer += x
        buffer[0].mul_(3)
        return buffer

    @staticmethod
    def backward(ctx, g):
        g = g.clone()
        g[0] *= 3
        return g


class Straight(Function):
    """The straight-through estimator does not say what its forward does: only the forward is differentiated."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return torch.zeros_like(g)


def cube(x, w):
    return (Cube.apply(x * w) * w).sum()


def several_in_a_row(x, w):
    return Cube.apply(Cube.apply(Cube.apply(x)) * w).sum()


def setup_context(x, w):
    return Product.apply(x, w, 3.0).sin().sum()


def constant_without_grad_passed_in(x, w):
    with torch.no_grad():
        teacher = (x * w).exp()
    return (Product.apply(teacher, w, 2.0) + Product.apply(x, w.detach(), 2.0)).sum()


def two_outputs(x, w):
    a, b = SinCos.apply(x * w)
    return (a * b * w).sum()


def one_of_two_outputs(x, w):
    return (SinCos.apply(x)[1] * w).sum()


def output_not_differentiable(x, w):
    values, places, largest = SortedWithPlaces.apply(x * w)
    return (values * places).sum() + (largest * values[..., 0]).sum()


def dirty(x, w):
    y = x * w
    z = TwiceInPlace.apply(y)
    return (y * z).sum()


def nested(x, w):
    return (Nested.apply(x * 2, w.expand(3, 4)) * w).sum()


def nested_quietly(x, w):
    return (NestedQuietly.apply(x * w) * w).sum()


def input_returned(x, w):
    y = Same.apply(x * w)
    return (y * y).sum() + Same.apply(w).sum()


def view_returned(x, w):
    return (FirstRows.apply(x * w) * w).sum() + SameAsView.apply(x).sin().sum()


def in_place_inside(x, w):
    return (WorksInPlaceInside.apply(x * w) * w).sum()


def written_afterwards(x, w):
    y = Cube.apply(x)
    y.mul_(w)
    with torch.no_grad():
        y.add_(1)
    return (y * w).sum()


def written_beside_quietly_then_seen(x, w):
    y = Cube.apply(x)
    beside = y.detach()  # autograd follows writes to it, and knows nothing of y then
    beside.mul_(0.5)
    beside[0].mul_(w[0] if w.dim() > 1 else w)
    return y.sum()


def rounding(x, w):
    return (Straight.apply(x) * w).sum()


def called_under_no_grad(x, w):
    with torch.no_grad():
        y = Cube.apply(x)
    return (y * w * x).sum()


FUNCTIONS = [
    cube,
    several_in_a_row,
    setup_context,
    constant_without_grad_passed_in,
    two_outputs,
    one_of_two_outputs,
    output_not_differentiable,
    dirty,
    nested,
    nested_quietly,
    input_returned,
    view_returned,
    in_place_inside,
    written_afterwards,
    written_beside_quietly_then_seen,
    rounding,
    called_under_no_grad,
]


@pytest.mark.parametrize("forward", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_like_autograd(agree, leaf, forward):
    agree(forward, leaf(3, 4), leaf(4))


def test_a_wrong_backward_does_not_mislead_the_tape(leaf):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 5

        @staticmethod
        def backward(ctx, g):
            return g * 4

    x = leaf(3)
    with Tape() as tape:
        loss = Wrong.apply(x).sum()
    assert torch.autograd.grad(loss, x)[0].tolist() == [4, 4, 4]
    assert tape.backward(loss)[x].tolist() == [5, 5, 5]


# --- through NumPy ------------------------------------------------------------------------------------------


class ThroughNumpy(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()


class ThroughNumpyAndOn(ThroughNumpy):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.detach().numpy()) / 2) * 2


class ThroughNumpyByCopy(ThroughNumpy):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tensor(np.sin(x.detach().numpy()))


class ThroughNumpyIntoABuffer(ThroughNumpy):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        buffer = torch.empty_like(x)
        buffer.copy_(torch.from_numpy(np.sin(x.detach().numpy())))
        return buffer


@pytest.mark.parametrize(
    "function", [ThroughNumpy, ThroughNumpyAndOn, ThroughNumpyByCopy, ThroughNumpyIntoABuffer], ids=lambda f: f.__name__
)
def test_a_function_through_numpy_is_refused_when_the_gradient_arrives(leaf, function):
    x, w = leaf(3), leaf(3)
    with Tape() as tape:
        y = function.apply(x * 2)
        loss = (y * w).sum()
        other = w.exp().sum()
    assert torch.equal(tape.backward(other, retain_tape=True)[w], w.detach().exp())
    with pytest.raises(TapeError, match=function.__name__):
        tape.backward(loss)


# --- checkpoints --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(agree, leaf, reentrant):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Dropout(0.5)).double()

    def forward(x, w, *parameters):
        y = checkpoint(model, x * w, use_reentrant=reentrant)
        return (checkpoint(lambda a, b: (a * b).exp(), y, w, use_reentrant=reentrant) * w).sum()

    x, w = leaf(3, 4), leaf(4)
    torch.manual_seed(0)
    with Tape() as tape:
        loss = forward(x, w)
    loss.backward()
    grads = tape.backward(loss)
    for tensor in (x, w, *model.parameters()):
        torch.testing.assert_close(grads[tensor], tensor.grad)


def test_a_zero_that_takes_no_memory_is_added():
    """Forward-mode differentiation makes such zeros; PyTorch adds them below autograd, by operations of its own."""
    w, c = torch.ones(2, requires_grad=True), torch.tensor([2.0, 3.0])
    with Tape() as tape:
        loss = ((w + torch._efficientzerotensor((2,))) * c).sum()
    assert torch.equal(tape.backward(loss)[w], c)
