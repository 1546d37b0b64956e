"""Backward kernels that autograd runs under the tape: second derivatives, against autograd's own."""

import pytest
import torch
import torch.nn.functional as F
from opinfo import Comparison

aten = torch.ops.aten


def _numbers(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()


MATRIX, IMAGE = (3, 4), (2, 3, 6, 6)
SECOND = {
    "relu": (F.relu, MATRIX),
    "hardtanh": (F.hardtanh, MATRIX),
    "leaky_relu": (F.leaky_relu, MATRIX),
    "softshrink": (F.softshrink, MATRIX),
    "softplus": (lambda x: F.softplus(5 * x, 2, 3), MATRIX),
    "elu": (F.elu, MATRIX),
    "silu": (F.silu, MATRIX),
    "gelu": (F.gelu, MATRIX),
    "gelu by tanh": (lambda x: F.gelu(x, approximate="tanh"), MATRIX),
    "logsigmoid": (F.logsigmoid, MATRIX),
    "nll_loss": (lambda x: F.nll_loss(x.sin(), torch.tensor([1, 0, 2])), MATRIX),
    "rows and parts": (lambda x: x.sin()[1, 1:3], MATRIX),
    "diagonal": (lambda x: x.sin().diagonal(), MATRIX),
    "unfold": (lambda x: x.sin().unfold(1, 2, 1), MATRIX),
    "embedding": (lambda w: F.embedding(torch.tensor([[0, 1], [1, 2]]), w.sin(), padding_idx=0), MATRIX),
    "avg_pool2d": (lambda x: F.avg_pool2d(x.sin(), 2), IMAGE),
    "max_pool2d": (lambda x: F.max_pool2d(x.sin(), 2), IMAGE),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x.sin(), (3, 2)), IMAGE),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x.sin(), 3), IMAGE),
    "reflection_pad2d": (lambda x: F.pad(x.sin(), (1, 2, 1, 0), mode="reflect"), IMAGE),
    "interpolate": (lambda x: F.interpolate(x.sin(), scale_factor=2, mode="bilinear"), IMAGE),
}


def _second(function):
    def gradients(*inputs):
        y = function(*inputs)
        return torch.autograd.grad((y * y).sum(), inputs, create_graph=True)

    return gradients


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    function, shape = SECOND[name]
    Comparison(_second(function), (_numbers(*shape),)).check()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("convolve", [F.conv2d, F.conv_transpose2d])
def test_second_derivatives_of_convolutions(convolve, groups):
    def convolution(x, w, b):
        return convolve(x, w, b, stride=2, padding=1, groups=groups)

    inputs = _numbers(2, 4, 5, 6), _numbers(4, 4 // groups, 3, 3), _numbers(4)
    Comparison(_second(convolution), inputs).check()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("kernel", [aten.tanh_backward, aten.sigmoid_backward])
def test_kernels_that_read_a_result(kernel, dtype):
    Comparison(kernel, (_numbers(3, 4, dtype=dtype), _numbers(4, 3, dtype=dtype).t())).check()


@pytest.mark.parametrize("kernel", [aten._softmax_backward_data, aten._log_softmax_backward_data])
def test_kernels_of_softmax(kernel):
    Comparison(lambda u, p: kernel(u, p, 1, u.dtype), (_numbers(3, 4), _numbers(4, 3).t())).check()
