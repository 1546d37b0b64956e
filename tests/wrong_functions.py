"""Custom autograd Functions with a right forward and a wrong backward: what a checker of gradients must catch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import Function

WIDTH = 6


class Square(Function):
    """y = x² with right formulas, backwards and forwards; whoever wants a wrong one overrides it."""

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]

    @staticmethod
    def jvp(ctx, tangent):
        return 2 * tangent * ctx.saved_tensors[0]


def tanh_by(backward):
    """tanh as a custom Function, whose backward is a function of the upstream gradient and of y."""

    class Tanh(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.tanh()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return backward(g, y)

    return Tanh


def _affine(backward):
    class Affine(Function):
        @staticmethod
        def forward(ctx, x, w, b):
            ctx.save_for_backward(x, w)
            return x @ w.t() + b

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            right = (g @ w, g.flatten(0, -2).t() @ x.flatten(0, -2), g.flatten(0, -2).sum(0))
            return backward(g, x, w, right)

    return Affine


class Assigned(Function):
    """y = x·eˣ + sin x: x is used three times, and only the last use counts."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.exp() + x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        grad = g * x.exp()
        grad = g * x * x.exp()
        grad = g * x.cos()
        return grad  # noqa: RET504


class LeftOut(Function):
    """The same, with one of three uses forgotten."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.exp() + x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.exp() + g * x * x.exp()


class Exchanged(Function):
    """y = a·b with a = x and b = sin x outside: the two gradients are the wrong way round."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * a, g * b


class SoftmaxWithoutSum(Function):
    """Σⱼ gⱼ·yⱼ is forgotten in y·(g − Σⱼ gⱼ·yⱼ)."""

    @staticmethod
    def forward(ctx, x):
        y = x.softmax(-1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return y * g


class NormWithoutMean(Function):
    """Layer normalization that takes the mean for a constant."""

    @staticmethod
    def forward(ctx, x):
        centred = x - x.mean(-1, keepdim=True)
        r = (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward(centred * r, r)
        return centred * r

    @staticmethod
    def backward(ctx, g):
        xhat, r = ctx.saved_tensors
        return r * (g - xhat * (g * xhat).mean(-1, keepdim=True))


class TwoOutputs(Function):
    """y = (sin x, cos x), and the gradient of the second is added with the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return g * x.cos() + h * x.sin()


def one_row(g: Tensor) -> Tensor:
    g = g.clone()
    g[2] = 0.5 * g[2]
    return g


def row_off(right):
    return right[0], one_row(right[1]), right[2]


class Slot(nn.Module):
    """A place in a network for a custom Function of one of the kinds above."""

    def __init__(self, function, call):
        super().__init__()
        self.function, self.call = function, call
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) / 2)
        self.bias = nn.Parameter(torch.randn(WIDTH))

    def forward(self, x):
        return self.call(self, x)


def unary(slot, x):
    return slot.function.apply(x)


def affine(slot, x):
    return slot.function.apply(x, slot.weight, slot.bias)


def product(slot, x):
    return slot.function.apply(x, (x * slot.weight[0]).sin())


def pair(slot, x):
    a, b = slot.function.apply(x)
    return a + 2 * b


# name: (Function, how it is called, a part of the hint)
WRONG = {
    "factor": (tanh_by(lambda g, y: 1.5 * g * (1 - y * y)), unary, "1.5 ×"),
    "sign": (tanh_by(lambda g, y: g * (y * y - 1)), unary, "opposite sign"),
    "zero": (tanh_by(lambda g, y: torch.zeros_like(g)), unary, "zero in every entry"),
    "none": (tanh_by(lambda g, y: None), unary, "nothing flows"),
    "not finite": (tanh_by(lambda g, y: g * (1 - y * y) / (y > 0)), unary, "NaN or infinite"),
    "a constant added": (tanh_by(lambda g, y: g * (1 - y * y) + 0.125), unary, "off by 0.125"),
    "local derivative left out": (tanh_by(lambda g, y: g), unary, "the local derivative is left out"),
    "upstream left out": (tanh_by(lambda g, y: 1 - y * y), unary, "the upstream gradient is left out"),
    "order reversed": (tanh_by(lambda g, y: (g * (1 - y * y)).flip(-1)), unary, "opposite order"),
    "order lost": (tanh_by(lambda g, y: (g * (1 - y * y)).roll(1, 0)), unary, "another order"),
    "clipped": (tanh_by(lambda g, y: (g * (1 - y * y)).clamp(-0.05, 0.05)), unary, "entries differ"),
    "y for y²": (tanh_by(lambda g, y: g * (1 - y)), unary, ""),
    "weight transposed": (_affine(lambda g, x, w, r: (r[0], r[1].t(), r[2])), affine, "transposed"),
    "weight not transposed": (_affine(lambda g, x, w, r: (g @ w.t(), r[1], r[2])), affine, ""),
    "bias of the first sample": (
        _affine(lambda g, x, w, r: (r[0], r[1], g[0].sum(0))),
        affine,
        "the sum over the batch is missing: only sample 0 of 5",
    ),
    "weight of the last sample": (
        _affine(lambda g, x, w, r: (r[0], g[-1].t() @ x[-1], r[2])),
        affine,
        "the sum over the batch is missing: only sample 4 of 5",
    ),
    "mean for sum": (_affine(lambda g, x, w, r: (r[0], r[1] / 5, r[2])), affine, "a mean over the batch of 5"),
    "one row": (_affine(lambda g, x, w, r: row_off(r)), affine, "all at index 2 of dimension 0"),
    "weight exchanged for another": (_affine(lambda g, x, w, r: (r[0], None, r[2])), affine, "nothing flows"),
    "assigned": (Assigned, unary, "'=' where '+=' was needed"),
    "one use left out": (LeftOut, unary, "left out of the path sum"),
    "exchanged": (Exchanged, product, "two of them are exchanged"),
    "softmax without its sum": (SoftmaxWithoutSum, unary, ""),
    "norm without its mean": (NormWithoutMean, unary, "only one of 2 uses counts"),
    "one of two outputs": (TwoOutputs, pair, ""),
}
