"""Broadcasting and convolutions with shapes and settings chosen at random, against autograd."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opinfo import Comparison

FAST = settings(max_examples=60, deadline=None, derandomize=True)


def _random(shape, seed):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@st.composite
def broadcastable(draw, count):
    """``count`` shapes that broadcast against each other, with sizes 0 to 3."""
    full = draw(st.lists(st.integers(0, 3), max_size=4))
    shapes = []
    for _ in range(count):
        kept = full[draw(st.integers(0, len(full))) :]
        shapes.append([draw(st.sampled_from([1, size])) for size in kept])
    return shapes


@FAST
@given(
    shapes=broadcastable(2),
    function=st.sampled_from([torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.minimum]),
)
def test_two_arguments_that_broadcast(shapes, function):
    Comparison(function, tuple(_random(shape, i) for i, shape in enumerate(shapes))).check()


@FAST
@given(shapes=broadcastable(2), function=st.sampled_from([torch.maximum, torch.minimum]))
def test_ties(shapes, function):
    a, b = (torch.randint(2, shape).double().requires_grad_() for shape in shapes)
    Comparison(function, (a, b)).check()


@FAST
@given(shapes=broadcastable(3))
def test_where(shapes):
    condition, a, b = (_random(shape, i) for i, shape in enumerate(shapes))
    Comparison(torch.where, (condition.detach() > 0, a, b)).check()


@FAST
@given(shapes=broadcastable(3), function=st.sampled_from([torch.addcmul, torch.addcdiv]), alpha=st.floats(-2, 2))
def test_three_arguments_that_broadcast(shapes, function, alpha):
    x, a, b = (_random(shape, i) for i, shape in enumerate(shapes))
    Comparison(function, (x, a, b), {"value": alpha}).check()


PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
CONVOLUTION = {
    "batch": st.integers(1, 3),
    "channels": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "size": st.tuples(st.integers(1, 9), st.integers(1, 9)),
    "kernel": PAIR,
    "stride": PAIR,
    "padding": st.tuples(st.integers(0, 3), st.integers(0, 3)),
    "dilation": PAIR,
    "groups": st.integers(1, 3),
    "has_bias": st.booleans(),
}


@FAST
@given(**CONVOLUTION)
def test_conv2d(batch, channels, size, kernel, stride, padding, dilation, groups, has_bias):
    reach = [s + 2 * p - d * (k - 1) for s, p, d, k in zip(size, padding, dilation, kernel, strict=True)]
    assume(min(reach) >= 1)
    x = _random((batch, groups * channels[0], *size), 0)
    w = _random((groups * channels[1], channels[0], *kernel), 1)
    b = _random((groups * channels[1],), 2) if has_bias else None
    Comparison(torch.nn.functional.conv2d, (x, w, b, stride, padding, dilation, groups)).check()


@FAST
@given(**CONVOLUTION, rest=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_conv_transpose2d(batch, channels, size, kernel, stride, padding, dilation, groups, has_bias, rest):
    assume(all(r < max(s, d) for r, s, d in zip(rest, stride, dilation, strict=True)))
    ends = zip(size, stride, padding, dilation, kernel, rest, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + r + 1 >= 1 for n, s, p, d, k, r in ends))
    x = _random((batch, groups * channels[0], *size), 0)
    w = _random((groups * channels[0], channels[1], *kernel), 1)
    b = _random((groups * channels[1],), 2) if has_bias else None
    Comparison(torch.nn.functional.conv_transpose2d, (x, w, b, stride, padding, rest, groups, dilation)).check()
