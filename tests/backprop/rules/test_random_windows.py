"""Matrix products and pooling with shapes and settings chosen at random, against autograd."""

import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opinfo import Comparison

FAST = settings(max_examples=40, deadline=None, derandomize=True)


def _random(shape, seed):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@FAST
@given(
    batch=st.sampled_from([((), ()), ((2,), (2,)), ((2, 1), (3,)), ((), (0,)), ((2,), ())]),
    rows=st.one_of(st.none(), st.integers(0, 3)),
    inner=st.integers(1, 3),
    columns=st.one_of(st.none(), st.integers(0, 3)),
)
def test_matmul(batch, rows, inner, columns):
    """None stands for a vector in place of a matrix."""
    a = _random((inner,) if rows is None else (*batch[0], rows, inner), 0)
    b = _random((inner,) if columns is None else (*batch[1], inner, columns), 1)
    Comparison(torch.matmul, (a, b)).check()


@FAST
@given(
    shapes=st.tuples(*[st.integers(1, 3)] * 3),
    beta=st.sampled_from([0, 1, -0.5]),
    alpha=st.sampled_from([0, 1, 2.5]),
    bias=st.sampled_from(["matrix", "row", "number"]),
)
def test_addmm(shapes, beta, alpha, bias):
    n, k, m = shapes
    c = _random({"matrix": (n, m), "row": (m,), "number": ()}[bias], 0)
    Comparison(torch.addmm, (c, _random((n, k), 1), _random((k, m), 2)), {"beta": beta, "alpha": alpha}).check()


WINDOW = {
    "shape": st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(3, 9), st.integers(3, 9)),
    "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "stride": st.one_of(st.none(), st.tuples(st.integers(1, 4), st.integers(1, 4))),
    "padding": st.tuples(st.integers(0, 1), st.integers(0, 1)),
    "ceil_mode": st.booleans(),
}


def _padding_fits(kernel, padding):
    return all(2 * p <= k for k, p in zip(kernel, padding, strict=True))


@FAST
@given(**WINDOW, dilation=st.integers(1, 2))
def test_max_pool2d(shape, kernel, stride, padding, ceil_mode, dilation):
    assume(_padding_fits(kernel, padding))
    assume(all(n + 2 * p > dilation * (k - 1) for n, k, p in zip(shape[2:], kernel, padding, strict=True)))
    Comparison(F.max_pool2d, (_random(shape, 0), kernel, stride, padding, dilation, ceil_mode)).check()


@FAST
@given(**WINDOW, counts_padding=st.booleans(), divisor=st.sampled_from([None, 3]))
def test_avg_pool2d(shape, kernel, stride, padding, ceil_mode, counts_padding, divisor):
    assume(_padding_fits(kernel, padding))
    window = (kernel, stride, padding, ceil_mode, counts_padding, divisor)
    Comparison(F.avg_pool2d, (_random(shape, 0), *window)).check()


@FAST
@given(shape=WINDOW["shape"], output=st.tuples(st.integers(1, 11), st.integers(1, 11)))
def test_adaptive_pooling(shape, output):
    x = _random(shape, 0)
    Comparison(F.adaptive_avg_pool2d, (x, output)).check()
    Comparison(F.adaptive_max_pool2d, (x, output)).check()


@FAST
@given(
    shape=WINDOW["shape"],
    output=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    mode=st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
    align_corners=st.booleans(),
)
def test_interpolation(shape, output, mode, align_corners):
    corners = align_corners if mode.startswith("bi") else None
    Comparison(F.interpolate, (_random(shape, 0), output, None, mode, corners)).check()


@FAST
@given(
    shape=WINDOW["shape"],
    border=st.tuples(*[st.integers(0, 2)] * 4),
    mode=st.sampled_from(["reflect", "replicate", "circular", "constant"]),
)
def test_borders(shape, border, mode):
    Comparison(F.pad, (_random(shape, 0), border, mode)).check()


@FAST
@given(shape=WINDOW["shape"], kernel=WINDOW["kernel"], stride=st.integers(1, 3), padding=st.integers(0, 1))
def test_windows_and_back(shape, kernel, stride, padding):
    def unfold_then_fold(x):
        columns = F.unfold(x, kernel, padding=padding, stride=stride)
        return columns, F.fold(columns.sin(), x.shape[-2:], kernel, padding=padding, stride=stride)

    Comparison(unfold_then_fold, (_random(shape, 0),)).check()
