"""Gradients that are wrong in ways that ``torch.autograd.gradcheck`` lets pass, and some that only look wrong."""

from __future__ import annotations

import numpy as np
import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.autograd import Function
from wrong_functions import Square

F64 = torch.float64


def function(forward, backward):
    """A custom Function that saves its inputs; ``backward(g, *inputs)``."""

    class Made(Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return backward(g, *ctx.saved_tensors)

    return Made


def numbers(*shape: int, dtype: torch.dtype = F64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


class WrongWeight(Function):
    """y = x·W, with a gradient of W that is a tenth too large."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.t(), 1.1 * x.t() @ g


class CubeOnce(Function):
    """y = x³, whose double backward sees a constant in place of x."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach()
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * g * ctx.x**2


class CubeOnceMarked(CubeOnce):
    """The same, and it says that there is no double backward."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 3 * g * ctx.x**2


class Sine(Function):
    """y = sin x, whose backward is a Function of its own, with a wrong derivative by g."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return SineBackward.apply(g, *ctx.saved_tensors)


class SineBackward(Function):
    @staticmethod
    def forward(ctx, g, x):
        ctx.save_for_backward(g, x)
        return g * x.cos()

    @staticmethod
    def backward(ctx, h):
        g, x = ctx.saved_tensors
        return h * x.sin(), -h * g * x.sin()


class NumpySquare(Function):
    """y = x² by way of NumPy, where no tape sees it."""

    factor = 2.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(x.detach().numpy() ** 2)

    @classmethod
    def backward(cls, ctx, g):
        (x,) = ctx.saved_tensors
        return 2.0 * g * x


class WrongNumpySquare(NumpySquare):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2.02 * g * x


def one_of_many(g: Tensor, x: Tensor) -> Tensor:
    gradient = 2 * g * x
    gradient[777] *= 1.05
    return gradient


def forgets_to_sum(g: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Of a·b; right where the shapes are equal."""
    by_a, by_b = g * b, g * a
    return by_a if a.shape == g.shape else by_a[:1].expand_as(a), by_b if b.shape == g.shape else by_b[0].reshape(
        b.shape
    )


_weight = numbers(4, 3).requires_grad_()
square = lambda x: x * x  # noqa: E731

# name: (target, arguments, the tensor to accuse, a part of the report)
WRONG = {
    "a dW that a closure captured": (lambda x: WrongWeight.apply(x, _weight), [numbers(5, 4)], "_weight", "1.1 ×"),
    "all zero under a scaled loss": (
        function(lambda x: x.sin() * 1e-6, lambda g, x: torch.zeros_like(x)), [numbers(5)], "argument 0",
        "zero in every",
    ),
    "one entry of 20,000": (function(square, one_of_many), [numbers(20_000)], "argument 0", "[777]"),
    "an expandable shape": (
        function(lambda x, b: x + b, lambda g, x, b: (g, g)), [numbers(5, 3), numbers(3)], "argument 1", "[5, 3]",
    ),
    "None": (function(torch.exp, lambda g, x: None), [numbers(5)], "argument 0", "None (not reached)"),
    "double backward": (CubeOnce, [numbers(5)], "x", "second derivative"),
    "double backward by the upstream gradient": (Sine, [numbers(5)], "upstream gradient 0", "second derivative"),
    "non-contiguous inputs": (
        function(square, lambda g, x: 2 * g * x if x.is_contiguous() else g * x), [numbers(5, 4)], "argument 0",
        "with non-contiguous inputs",
    ),
    "non-contiguous upstream gradients": (
        function(square, lambda g, x: 2 * g * x if g.is_contiguous() else g * x), [numbers(5, 4)], "argument 0",
        "with non-contiguous inputs and upstream gradients",
    ),
    "expanded upstream gradients": (
        function(square, lambda g, x: 2 * x * (g if 0 not in g.stride() else 2 * g)), [numbers(5)], "argument 0",
        "as that of .sum()",
    ),
    "broadcast inputs": (
        function(torch.mul, forgets_to_sum), [numbers(5, 4), numbers(5, 4, seed=1)], "argument 0", "broadcast",
    ),
    "half precision": (
        function(square, lambda g, x: (3 if x.dtype == torch.float16 else 2) * g * x), [numbers(5, 4)], "argument 0",
        "in float16, and right in float64",
    ),
    "half precision, asked in half precision": (
        function(square, lambda g, x: (3 if x.dtype == torch.float16 else 2) * g * x),
        [numbers(5, 4, dtype=torch.float16)], "argument 0", "in float16, and right in float64",
    ),
    "where no tape sees the forward": (WrongNumpySquare, [numbers(5)], "x", "numeric"),
    "a value cut off by detach": (lambda x: x.detach() * x, [numbers(5)], "x", "cut at detach"),
    "a gradient that is clipped": (
        function(lambda x: x * 1, lambda g, x: g.clamp(-1.1, 1.1)), [numbers(5)], "argument 0", "entries are off",
    ),
    "wrong for negative numbers only": (
        function(torch.abs, lambda g, x: g), [numbers(50)], "argument 0", "entries are off",
    ),
    "a backward that raises": (
        function(lambda x: x.sum(0), lambda g, x: g), [numbers(5, 3)], "argument 0", "the backward pass raised",
    ),
}  # fmt: skip


class Counting(nn.Module):
    """Random, with state, and with a kink."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(numbers(3, dtype=torch.float32))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return (x * self.weight).clamp(-0.1, 0.1) + torch.rand(3) * self.weight


class SingleOnly(nn.Module):
    """Computes in float32, whatever comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.float(), self.inner.weight.float(), self.inner.bias.float())


def tied() -> nn.Module:
    layers = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    layers[2].weight = layers[0].weight
    return layers


def in_place(x: Tensor) -> Tensor:
    y = x * 1
    y[1:] *= x[:-1]
    return y.exp_()


F32 = torch.float32
# name: (target, arguments, the verdict on one tensor)
RIGHT = {
    "relu at 0": (torch.relu, [torch.tensor([0.0, 1, -1, 0], dtype=F64)], "kink"),
    "leaky relu at 0": (nn.LeakyReLU(), [torch.tensor([0.0, 1.0], dtype=F64)], "kink"),
    "max-pool at ties": (nn.MaxPool2d(2), [torch.ones(1, 1, 4, 4, dtype=F64)], "kink"),
    "abs at 0": (torch.abs, [torch.zeros(4, dtype=F64)], "agree"),
    "norm at 0": (torch.norm, [torch.zeros(3, dtype=F64)], "agree"),
    "sort at ties": (lambda x: x.sort().values, [torch.tensor([1.0, 1, 2], dtype=F64)], "kink"),
    "floor at a jump": (torch.floor, [torch.tensor([1.0, 2.5], dtype=F64)], "kink"),
    "rounding to three decimals": (lambda x: x.round(decimals=3), [numbers(20)], "agree"),
    "sqrt near 0": (torch.sqrt, [torch.tensor([1e-12, 1e-8, 1e-4, 1], dtype=F64)], "agree"),
    "sqrt at 0": (torch.sqrt, [torch.tensor([0.0, 1], dtype=F64)], "kink"),
    "sqrt near 0 in float32": (torch.sqrt, [torch.tensor([1e-12, 1e-8, 1e-4, 1])], "agree"),
    "dropout": (nn.Dropout(), [numbers(6, 6, dtype=F32)], "agree"),
    "batch normalization": (nn.BatchNorm1d(3), [numbers(6, 3, dtype=F32)], "agree"),
    "random with state": (Counting(), [numbers(5, 3, dtype=F32)], "agree"),
    "tied weights": (tied(), [numbers(5, 4, dtype=F32)], "agree"),
    "float32 only": (SingleOnly(), [numbers(5, 4, dtype=F32)], "agree"),
    "once differentiable": (CubeOnceMarked, [numbers(5)], "agree"),
    "by way of NumPy": (NumpySquare, [numbers(5)], "agree"),
    "in place": (in_place, [numbers(5)], "agree"),
    "complex": (lambda z: z * z.conj(), [numbers(4, dtype=torch.complex128)], "agree"),
    "cancellation": (lambda x: (1e6 + x) - 1e6, [numbers(4, dtype=F32)], "agree"),
    "a large constant": (lambda x: x.sin() + 1e8, [numbers(4)], "agree"),
    "a tiny loss": (lambda x: x.sin() * 1e-12, [numbers(4)], "agree"),
    "a true zero": (lambda x: x.softmax(0).sum(), [numbers(4)], "agree"),
    "an unused input": (lambda x, y: x * 2, [numbers(3), numbers(3, seed=1)], "not reached"),
    "a metric beside the output": (lambda x: (x.sin(), x.detach().abs().max()), [numbers(3)], "agree"),
    "spectral normalization": (
        nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)).eval(), [numbers(4, 3, dtype=F32)], "agree",
    ),
    "an embedding": (nn.Embedding(7, 3), [torch.tensor([1, 2, 1])], "agree"),
    "a broadcast Function": (
        function(lambda x, b: x + b, lambda g, x, b: (g.sum_to_size(x.shape), g.sum_to_size(b.shape))),
        [numbers(5, 3), numbers(3)], "agree",
    ),
}  # fmt: skip


class SquareWithWrongJvp(Square):
    """y = x², right backwards and wrong forwards."""

    @staticmethod
    def jvp(ctx, tangent):
        return 3 * tangent * ctx.saved_tensors[0]


class SwappedNeeds(Function):
    """y = a·b, which asks for the other input's need of a gradient."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        need_a, need_b = ctx.needs_input_grad
        return g * b if need_b else None, g * a if need_a else None


def hooked(x: Tensor) -> Tensor:
    y = x.sin()
    y.register_hook(lambda g: 2 * g)
    return y * x


def hooked_module() -> nn.Module:
    layers = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    layers[1].register_full_backward_hook(lambda module, below, above: tuple(2 * g for g in below))
    return layers


def hooked_layer() -> nn.Module:
    layer = nn.Linear(3, 2).double()
    layer.weight.register_hook(lambda g: 1.5 * g)
    return layer


def by_batch(g: Tensor, x: Tensor) -> Tensor:
    return g * x.cos() * (1 if len(x) == 3 else 2)


WRONG |= {
    "a wrong jvp": (SquareWithWrongJvp, [numbers(5)], "x", "forward mode"),
    "needs_input_grad of the other input": (SwappedNeeds, [numbers(4), numbers(4, seed=1)], "a", "where only a"),
    "a hook on a value": (hooked, [numbers(4)], "x", "hook on a tensor"),
    "a full backward hook on a module": (hooked_module(), [numbers(2, 3)], "0.weight", "a backward hook on module 1"),
    "a hook on a parameter": (hooked_layer(), [numbers(2, 3)], "weight", "hook on a tensor"),
    "wrong for another batch size": (
        function(torch.sin, by_batch), [numbers(3, 2)], "argument 0", "first sample alone",
    ),
    "blind to the upstream gradient": (
        function(lambda x: (x * x).sum(), lambda g, x: 2 * x + 0 * g), [numbers(3)], "argument 0", "argument 0",
    ),
}  # fmt: skip


class Filling(nn.Module):
    """Writes into a buffer and then computes with it: what a backward pass reads must not be put back before it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.register_buffer("scale", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        self.scale.fill_(2.0)
        return y * self.scale


def symmetric(n: int) -> Tensor:
    a = numbers(n, n)
    return a @ a.t() + torch.eye(n, dtype=F64)


def drawing_by_numpy():
    generator = np.random.default_rng(1)
    return lambda x: x * generator.random()


def checkpointed():
    layer = nn.Linear(3, 3).double()
    return lambda x: torch.utils.checkpoint.checkpoint(layer, x.tanh(), use_reentrant=True).tanh()


def drawing():
    generator = torch.Generator().manual_seed(1)
    return lambda x: x * torch.rand(x.shape, generator=generator, dtype=x.dtype)


class Changing(Function):
    """y = 2x, whose backward works on what it is given."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return g.mul_(2)


class WritingForward(Function):
    """y = 2x with a 0 in front; the gradient is a quarter too large."""

    @staticmethod
    def forward(ctx, x):
        y = 2 * x
        y[0] = 0
        y[1:3].mul_(1)
        return y

    @staticmethod
    def backward(ctx, g):
        g = 2.5 * g
        g[0] = 0
        return g


class Layered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        return WritingForward.apply(self.inner(x)).tanh()


def by_batch_of_one(g: Tensor, x: Tensor) -> Tensor:
    return g * x.cos() * (1 if len(x) == 1 else 2)


class Product(Function):
    """x·wᵀ for matrices alone: its backward raises for vectors, which nobody gave it."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, g.t() @ x


SymmetricWrong = function(lambda c: c * 1, lambda g, c: 1.5 * (g + g.t()) / 2)

RIGHT |= {
    "an embedding with padding": (nn.Embedding(5, 3, padding_idx=1), [torch.tensor([1, 2, 1])], "agree"),
    "ctc loss": (
        nn.CTCLoss(), [numbers(6, 1, 4).log_softmax(-1), torch.tensor([[1, 2]]), torch.tensor([6]), torch.tensor([2])],
        "agree",
    ),
    "normalize at 0": (lambda x: nn.functional.normalize(x, dim=0), [torch.zeros(2, dtype=F64)], "agree"),
    "autograd inside": (
        lambda x: torch.autograd.grad((x**3).sum(), x, create_graph=True)[0], [numbers(3)], "agree",
    ),
    "a buffer that changes on the way": (Filling().double(), [numbers(4, 3)], "agree"),
    "a matrix that cholesky takes for symmetric": (torch.linalg.cholesky, [symmetric(4)], "agree"),
    "eigenvalues of a symmetric matrix": (torch.linalg.eigvalsh, [symmetric(4)], "agree"),
    "a normal distribution by its covariance": (
        lambda x, c: torch.distributions.MultivariateNormal(torch.zeros(3, dtype=F64), c).log_prob(x),
        [numbers(3), symmetric(3)], "agree",
    ),
    "a sampler by rejection": (
        lambda a: torch.distributions.Gamma(a, 1.0).rsample(), [numbers(3).abs() + 1], "not differentiable",
    ),
    "a product that knows matrices alone": (Product, [numbers(4, 3), numbers(2, 3)], "agree"),
    "a reentrant checkpoint": (checkpointed(), [numbers(2, 3)], "agree"),
    "a random generator of its own": (drawing(), [numbers(4)], "agree"),
    "one of NumPy's": (drawing_by_numpy(), [numbers(4)], "agree"),
}  # fmt: skip

WRONG |= {
    "a backward for one layout": (
        function(torch.sin, lambda g, x: g.view(-1).view(x.shape) * x.cos()), [numbers(3, 2)], "argument 0",
        "takes the layout of a tensor for granted",
    ),
    "a backward that changes its upstream gradient": (
        lambda x: Changing.apply(x.tanh()) + x, [numbers(3, 2)], "x", "the custom Function Changing",
    ),
    "a factor that is nearly one": (
        function(torch.sin, lambda g, x: (1 + 3e-6) * g * x.cos()), [numbers(5)], "argument 0", "(1 +3e-06) ×",
    ),
    "a real factor of complex numbers": (
        function(lambda z: z * 2, lambda g, z: g), [numbers(4, dtype=torch.complex128)], "argument 0", "is 0.5 ×",
    ),
    "NaN of a formula that is 0/0": (lambda x: x.abs().sqrt() * x, [torch.tensor([1.0, 0, -2], dtype=F64)], "x", "nan"),
    "a forward that writes into its output": (WritingForward, [numbers(4)], "x", "WritingForward"),
    "the same, in a layer": (Layered(), [numbers(3, 4)], "inner.weight", "WritingForward"),
    "a batch of one": (function(torch.sin, by_batch_of_one), [numbers(1, 3)], "argument 0", "every sample twice"),
    "the same, where nothing else uses it": (Changing, [numbers(3, 2)], "x", "in place"),
    "a wrong gradient of a symmetric matrix": (
        lambda c: torch.linalg.cholesky(SymmetricWrong.apply(c)), [symmetric(3)], "c", "custom Function Made",
    ),
}  # fmt: skip
