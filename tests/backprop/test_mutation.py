"""In-place operations, writes through views, writes unseen by autograd: right numbers or a named refusal."""

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import Function

from gradlab.backprop import Tape, TapeError

# --- one write ----------------------------------------------------------------------------------------------


def in_place_operations(x, w):
    y = x * 1
    y.mul_(2).add_(w).sub_(1).div_(w.exp())
    y.neg_().sin_().add_(w).tanh_()
    return y.sum()


def in_place_relu_reads_only_its_result(x, w):
    return nn.functional.relu_(x * w).mul(w).sum()


def in_place_after_the_old_content_was_read(x, w):
    y = x * w
    z = y + 1
    y += w
    y -= z
    y *= 3
    return (y * z).sum()


def the_other_argument_is_the_target(x, w):
    y = x * 1
    y.mul_(y.clone())
    y.add_(y)
    y.add_(y.t().sum(0).sum())
    return y.sum()


def the_other_argument_is_a_view_of_the_target(x, w):
    y = x * 1
    y[0].add_(y[1] * 2)
    y[1].mul_(y[0].clone())
    return (y * y).sum()


def setitem_number(x, w):
    y = x * w
    y[0] = 5
    y[1, 2] = 7.0
    return y.square().sum()


def setitem_tensor(x, w):
    y = x * 2
    y[1] = w
    y[:, 3] = w[0] * y[:, 2].clone()
    return y.square().sum()


def augmented_column(x, w):
    y = x * 1
    y[:, 1] *= 2
    y[:, 2] += w[0]
    return (y * w).exp().sum()


def through_a_transpose(x, w):
    y = x * 1
    y.t().mul_(3)
    y.t()[2].add_(w[0])
    return y.square().sum()


def through_a_chain_of_views(x, w):
    y = x * 1
    y.view(4, 3).t()[1:].unsqueeze(0)[0, 1, 1:3].mul_(w[:2])
    return (y * w).square().sum()


def through_a_diagonal(x, w):
    y = x * 1
    y.diagonal().copy_(w[:3])
    return y.square().sum()


def through_detach_only_the_content_changes(x, w):
    y = x * w
    y.detach().mul_(2)
    return (y + y.sum()).sum()


def through_data_only_the_content_changes(x, w):
    y = x + w
    y.data.mul_(2)
    return y.square().sum()


def tracked_write_through_detach(x, w):
    y = x * w
    aside = y.detach()
    aside.add_(w)
    row = aside[1]
    row.add_(1)
    row = aside[1]
    row.mul_(w)
    return (y * w).sum() + (aside * x).sum() + row.sin().sum()


def shape_changed_in_place(x, w):
    y = x * w
    product = (y * 2).sin()
    y.t_().unsqueeze_(0).transpose_(0, 1)
    before = y.exp()
    y.squeeze_(1)
    y = y * 1
    y.t_()
    y[1].mul_(2)
    y.t_()
    return product.sum() + before.sum() + (y.t() * w).sum()


def out_variant(x, w):
    y = torch.zeros(3, 4, dtype=x.dtype)
    with torch.no_grad():
        torch.mul(x, w, out=y)
    return (y * x).sum()


def copy_and_zero(x, w):
    y = x * 1
    y[0].copy_(w)
    y[1].zero_()
    y[2].fill_(w[0])
    return (y.square() * w).sum()


def copy_of_another_type(x, w):
    y = torch.zeros(3, 4, dtype=torch.float32)
    y.copy_(x * w)
    return y.double().square().sum()


def masked_index_put(x, w):
    y = x * w
    y[y > 0] = w[1]
    y[torch.tensor([0, 0]), torch.tensor([1, 2])] += w[:2]
    y.index_put_((torch.tensor([1, 1]), torch.tensor([0, 0])), w[:2], accumulate=True)
    return y.square().sum()


def masked_fill_and_scatter(x, w):
    y = x * w
    y.masked_fill_(x > 0.3, 2.0)
    y.scatter_(1, torch.tensor([[0], [2], [1]]), w[:3].unsqueeze(1))
    y.index_add_(0, torch.tensor([1, 1]), y[:2].clone())
    return y.square().sum()


# --- base and view ------------------------------------------------------------------------------------------


def base_written_then_view_used(x, w):
    y = x * 1
    view = y[1]
    y.mul_(w)
    return (view * view).sum()


def view_written_then_base_used(x, w):
    y = x * 1
    view = y[1]
    view.mul_(w)
    return (y * y).sum()


def view_used_before_and_after(x, w):
    y = x * 1
    view = y[:, 1:3]
    first = view + 1
    y[1:].mul_(w)
    second = view + 2
    view.add_(1)
    return (first * second + view).sum() + y.prod()


def two_views_that_overlap(x, w):
    y = x * 1
    a, b = y[:2], y[1:]
    a.mul_(w)
    b.add_(a * 1)
    a.mul_(2)
    return (a * b).sum() + y.sum()


def expand_then_write_the_base(x, w):
    y = w * 1
    wide = y.expand(3, 4)
    y.mul_(2)
    return (wide * x).sum()


def view_outlives_its_base(x, w):
    view = (x * w)[1]
    view.mul_(w)
    view[0] = 3
    return view.square().sum()


def unsafe_chunks(x, w):
    first, second = (x * w).unsafe_chunk(2, 1)
    first.mul_(w[:2])
    return (first * second).sum()


# --- without gradients --------------------------------------------------------------------------------------


def no_grad_write_on_a_tracked_tensor(x, w):
    y = x * w
    with torch.no_grad():
        y.clamp_(-1, 1)
        y[0] = 0
    return y.sum() + (y + w).exp().sum()


def no_grad_write_on_a_leaf(x, w):
    with torch.no_grad():
        w.mul_(0.5)
    return (x * w).sum()


def no_grad_write_seen_by_a_view(x, w):
    y = x * 1
    view = y[1]
    with torch.no_grad():
        y.add_(1)
    view.mul_(w)
    with torch.no_grad():
        view.add_(1)
    return y.square().sum() + view.sum()


def buffers_filled_under_no_grad(x, w):
    buffer = torch.zeros(3, 4, dtype=x.dtype)
    with torch.no_grad():
        buffer[0] = w
        buffer.add_(x)
    return (buffer * x * w).sum()


def buffer_filled_step_by_step(x, w):
    buffer = torch.empty(3, 4, dtype=x.dtype)
    for row in range(3):
        buffer[row] = x[row] * w if row == 0 else (buffer[row - 1].clone() * x[row]).tanh()
    return buffer.square().sum()


class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def in_place_after_a_function(x, w):
    y = Double.apply(x)
    y.mul_(w)
    y[0].add_(w)
    return y.square().sum()


class TwiceInPlace(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2


def in_place_function_with_a_view_around(x, w):
    y = x * w
    view = y[1:]
    TwiceInPlace.apply(y)
    view.add_(w)
    return (view * x[1:]).sum() + (y * w).sum()


def in_place_function_on_a_view(x, w):
    y = x * w
    view, other = y[1:], y[:2]
    TwiceInPlace.apply(view)
    return (view * x[1:]).sum() + (y * w).sum() + (other * x[:2]).sum()


def view_of_a_function_written(x, w):
    y = Double.apply(x * w)
    view = y[1:]
    view.mul_(w)
    return y.sum() + view.square().sum()


CASES = [
    in_place_operations,
    in_place_relu_reads_only_its_result,
    in_place_after_the_old_content_was_read,
    the_other_argument_is_the_target,
    the_other_argument_is_a_view_of_the_target,
    setitem_number,
    setitem_tensor,
    augmented_column,
    through_a_transpose,
    through_a_chain_of_views,
    through_a_diagonal,
    through_detach_only_the_content_changes,
    tracked_write_through_detach,
    shape_changed_in_place,
    through_data_only_the_content_changes,
    out_variant,
    copy_and_zero,
    copy_of_another_type,
    masked_index_put,
    masked_fill_and_scatter,
    base_written_then_view_used,
    view_written_then_base_used,
    view_used_before_and_after,
    two_views_that_overlap,
    expand_then_write_the_base,
    view_outlives_its_base,
    unsafe_chunks,
    no_grad_write_on_a_tracked_tensor,
    no_grad_write_on_a_leaf,
    no_grad_write_seen_by_a_view,
    buffers_filled_under_no_grad,
    buffer_filled_step_by_step,
    in_place_after_a_function,
    view_of_a_function_written,
    in_place_function_with_a_view_around,
]


@pytest.mark.parametrize("forward", CASES, ids=lambda f: f.__name__)
def test_like_autograd(agree, leaf, forward):
    agree(forward, leaf(3, 4), leaf(4), tolerance=1e-6 if forward is copy_of_another_type else 1e-10)


def test_an_in_place_function_on_a_view_is_refused(agree, leaf):
    with pytest.raises(TapeError, match="mark_dirty"):
        agree(in_place_function_on_a_view, leaf(3, 4), leaf(4))


def test_a_shape_changed_in_place_leaves_what_was_read_before_alone(leaf):
    """Autograd refuses (it counts `t_` as a change); the closed form is d(x⊙x)/dx = 2x."""
    x = leaf(3, 4)
    with Tape() as tape:
        y = x * 1
        loss = (y * y).sum()
        y.t_()
        y.mul_(2)
    torch.testing.assert_close(tape.backward(loss)[x], 2 * x.detach())


def test_a_write_through_data_leaves_what_was_read_before_alone(leaf):
    """Autograd itself is silently wrong here; the closed form is d(x²)/dx = 2x at the content that was read."""
    x = leaf(3)
    before = x.detach().clone()
    with Tape() as tape:
        y = x * 1
        loss = (y * y).sum()
        y.data.mul_(10)
    torch.testing.assert_close(tape.backward(loss)[x], 2 * before)


def test_a_leaf_updated_after_it_was_used(leaf):
    """Autograd refuses; the tape kept the old content: d(w² + 2w')/dw = 2w + 2 with w' = w/2 written unseen."""
    w = leaf(3)
    before = w.detach().clone()
    with Tape() as tape:
        loss = (w * w).sum()
        with torch.no_grad():
            w.mul_(0.5)
        loss = loss + (2 * w).sum()
    torch.testing.assert_close(tape.backward(loss)[w], 2 * before + 2)


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell, nn.RNNCell])
def test_recurrent_cells(agree, cell):
    torch.manual_seed(0)
    model, x = cell(3, 4).double(), torch.randn(5, 2, 3, dtype=torch.float64)

    def forward(*parameters):
        state = None
        for step in x:
            state = model(step, state)
        return (state[0] * state[1]).sum() if isinstance(state, tuple) else state.square().sum()

    agree(forward, *model.parameters())


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN])
def test_recurrent_layers(agree, kind):
    torch.manual_seed(0)
    model, x = kind(3, 4, 2, bidirectional=True, batch_first=True).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    agree(lambda *parameters: model(x)[0].square().sum(), *model.parameters())


def test_batch_norm_writes_its_statistics_unseen(agree):
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3)).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    agree(lambda *p: (model(x).square() * model[0].running_mean.clone() * model(x + 1)).sum(), *model.parameters())


# --- views made before the tape -----------------------------------------------------------------------------


def test_a_view_made_before_the_tape_may_be_written(leaf):
    w = leaf(4)
    buffer = torch.zeros(3, 4, dtype=torch.float64)
    view = buffer[1]
    with Tape() as tape:
        buffer.sum()
        view.copy_(w * 2)
        loss = buffer.square().sum()
    torch.testing.assert_close(tape.backward(loss)[w], 8 * w.detach())


def test_a_base_first_met_after_its_view_was_written(leaf):
    w = leaf(4)
    buffer = torch.zeros(3, 4, dtype=torch.float64)
    view = buffer[1]
    with Tape() as tape:
        view.copy_(w * 2)
        loss = buffer.square().sum()
    torch.testing.assert_close(tape.backward(loss)[w], 8 * w.detach())


def test_a_second_view_first_met_after_the_write(leaf):
    w = leaf(4)
    buffer = torch.zeros(3, 4, dtype=torch.float64)
    view, other = buffer[1], buffer[1:]
    with Tape() as tape:
        view.copy_(w * 2)
        loss = other.square().sum()
    torch.testing.assert_close(tape.backward(loss)[w], 8 * w.detach())


@pytest.mark.parametrize("with_grad", [True, False])
def test_a_view_that_is_read_before_and_after_a_write_through_another_one(with_grad):
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with torch.set_grad_enabled(with_grad), Tape() as tape:
        y = x * 1
        diagonal = y.diagonal()
        before = (diagonal * diagonal).sum()  # keeps a copy of what it read
        y[1].mul_(0.5)
        after = (diagonal * 3).sum()
        loss = before + after
    assert tape.backward(loss)[x].tolist() == [[2 * 1 + 3, 0], [0, 2 * 4 + 3 * 0.5]]


def test_two_outside_tensors_in_the_same_memory_one_of_them_written(leaf):
    """Each counts as a variable of its own; together they pass to x what autograd passes."""
    x = leaf(3, 4)
    base = x * 1
    view = base[1]
    with Tape() as tape:
        before = base.sum() + view.sum()
        view.mul_(2)
        loss = before + base.square().sum()
    expected = torch.autograd.grad(loss, x)[0]
    found = tape.backward(loss)
    total = found[base].clone()
    total[1] += found[view]
    torch.testing.assert_close(total, expected)


def test_memory_seen_as_two_types_is_refused(leaf):
    x = leaf(3, dtype=torch.complex128)
    with Tape() as tape:
        y = x * 1
        torch.view_as_real(y).mul_(2)
        loss = y.abs().sum()
    with pytest.raises(TapeError, match=r"complex128 and as torch\.float64|float64 and as torch\.complex128"):
        tape.backward(loss)


@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.filterwarnings("ignore:Use of masked_fill_ on expanded tensors:UserWarning")
def test_an_expanded_tensor_that_is_written_is_refused(leaf, with_grad):
    x = leaf(4)
    with torch.set_grad_enabled(with_grad), Tape() as tape:
        y = x * 1
        y.expand(3, 4).masked_fill_(torch.tensor(True), 0.5)
        loss = y.sum()
    with pytest.raises(TapeError, match="an expanded tensor was written in place"):
        tape.backward(loss)


# --- random programs ----------------------------------------------------------------------------------------

WHICH = st.integers(0, 5)
VIEWS = st.sampled_from(["row", "rows", "columns", "transpose", "flat", "unsqueeze", "diagonal", "alias", "detach"])
WRITES = st.sampled_from(
    ["mul", "add", "zero", "tanh", "relu", "square", "copy", "mul_other", "add_other", "set", "fill", "masked", "put"]
)
USES = st.sampled_from(["sum", "square", "sin", "product", "keep", "function"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("view"), VIEWS, WHICH, WHICH),
        st.tuples(st.just("write"), WRITES, WHICH, WHICH),
        st.tuples(st.just("write"), WRITES, WHICH, WHICH),
        st.tuples(st.just("write without grad"), WRITES, WHICH, WHICH),
        st.tuples(st.just("use"), USES, WHICH, WHICH),
    ),
    min_size=2,
    max_size=9,
)


def run_program(steps, x, w):
    pool = [x * 1, w * 1, torch.full((3, 4), 0.5, dtype=x.dtype)]
    loss = x.sum() * 0

    def pick(number):
        return pool[-1 - number % len(pool)]

    for kind, name, first, second in steps:
        target, other = pick(first), pick(second)
        if kind == "view":
            pool.append(view_of(name, target))
        elif kind == "use":
            loss = loss + used(name, target, other, pool)
        else:
            with torch.set_grad_enabled(kind == "write"):
                write(name, target, other, w)
    for tensor in pool:
        loss = loss + (tensor * 1.5).sin().sum()
    return loss


def view_of(name, t):
    if name == "row":
        return t[t.shape[0] // 2] if t.dim() else t
    if name == "rows":
        return t[1:] if t.dim() else t.view(1)
    if name == "columns":
        return t[..., 1:3] if t.dim() else t.view(1, 1)
    if name == "transpose":
        return t.transpose(0, -1) if t.dim() else t
    if name == "flat":
        return t.view(-1) if t.is_contiguous() else t.unsqueeze(0)
    if name == "unsqueeze":
        return t.unsqueeze(-1)
    if name == "diagonal":
        return t.diagonal() if t.dim() > 1 else t.view_as(t)
    return t.detach() if name == "detach" else t.view_as(t)


def used(name, t, other, pool):
    if name == "square":
        return (t * t).sum()
    if name == "product":
        return t.sum() * other.exp().sum()
    if name == "keep":
        pool.append(t.tanh())
        return pool[-1].sum()
    if name == "function":
        pool.append(Double.apply(t))
    return t.sin().sum() if name == "sin" else t.sum()


def write(name, t, other, w):
    if name == "mul":
        t.mul_(0.7)
    elif name == "add":
        t.add_(w.sum())
    elif name == "zero":
        t.zero_()
    elif name == "tanh":
        t.tanh_()
    elif name == "relu":
        t.relu_()
    elif name == "square":
        t.mul_(t)
    elif name == "copy":
        t.copy_(other.sum().tanh())
    elif name == "mul_other":
        t.mul_(other.mean())
    elif name == "add_other" and other.shape == t.shape:
        t.add_(other)
    elif name == "set" and t.dim():
        t[0] = w[1]
    elif name == "fill":
        t.fill_(0.3)
    elif name == "masked":
        t.masked_fill_(t > 0.2, 0.4)
    elif name == "put" and t.dim() == 1 and t.numel():
        t.index_put_((torch.tensor([0, 0]),), w[:2], accumulate=True)


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(STEPS)
@example([("view", "detach", 1, 0), ("write", "add", 0, 0)])
def test_random_programs_of_views_writes_and_uses(steps):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    w = torch.randn(4, dtype=torch.float64, generator=generator).requires_grad_()
    tape = Tape()
    try:
        with tape:
            loss = run_program(steps, x, w)
        expected = torch.autograd.grad(loss, (x, w), allow_unused=True)
    except RuntimeError as error:
        if isinstance(error, TapeError):
            raise
        assume(False)
    found = tape.backward(loss)
    for leaf, theirs in zip((x, w), expected, strict=True):
        ours = found.get(leaf)
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
