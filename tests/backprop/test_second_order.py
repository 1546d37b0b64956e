"""Second order for free: the sweep is a sequence of recorded operations, so a tape around it differentiates it again.

Each case is a scalar function; the Hessian-vector product by two nested tapes is compared with autograd's double
backward, and once with the closed form.
"""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradlab import Tape

CLASSES = torch.tensor([1, 0, 3, 2, 1, 3])
GENERATOR = torch.Generator().manual_seed(7)


def _numbers(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=GENERATOR)


X, TARGET, SIGNS = _numbers(6, 4), _numbers(6, 4), torch.sign(_numbers(6, 4))
WEIGHT, W3, MASK = _numbers(4, 4), _numbers(6, 4, 3), (_numbers(6, 4) > 0).double() * 2
IMAGES = _numbers(3, 4, 5, 5)

POINTWISE = {
    "exp": torch.exp,
    "log": lambda x: (x * x + 1).log(),
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sqrt": lambda x: (x * x + 1).sqrt(),
    "rsqrt": lambda x: (x * x + 1).rsqrt(),
    "reciprocal": lambda x: (x * x + 1).reciprocal(),
    "pow": lambda x: x**3,
    "div": lambda x: x / (x * x + 1),
    "erf": torch.erf,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "relu": lambda x: F.relu(x) ** 2,
    "log sigmoid": F.logsigmoid,
    "leaky relu": lambda x: F.leaky_relu(x) ** 2,
    "glu": F.glu,
    "atan": torch.atan,
    "hypot": lambda x: torch.hypot(x, x.sin() + 2),
    "where": lambda x: torch.where(x > 0, x**3, x.sin()),
    "dropout's mask": lambda x: (x * MASK) ** 3,
}

PRODUCTS = {
    "mm": lambda x: (x @ WEIGHT) ** 2,
    "x·xᵀ": lambda x: (x @ x.T) ** 2,
    "bmm": lambda x: torch.bmm(x.unsqueeze(1), W3) ** 3,
    "linear": lambda x: F.linear(x, WEIGHT, WEIGHT[0]).tanh(),
    "outer": lambda x: torch.outer(x[:, 0], x[0]) ** 2,
    "dot": lambda x: x.flatten().dot(x.flatten().sin()),
    "addmm": lambda x: torch.addmm(x, x, WEIGHT, beta=2, alpha=3) ** 2,
    "einsum": lambda x: torch.einsum("ij,kj->ik", x, x.sin()),
}

REDUCTIONS = {
    "softmax": lambda x: x.softmax(1) * TARGET,
    "log softmax": lambda x: x.log_softmax(1) * TARGET,
    "softmax of rows": lambda x: x.softmax(0) ** 2,
    "logsumexp": lambda x: x.logsumexp(1) ** 2,
    "mean": lambda x: x.mean(0) ** 3,
    "var": lambda x: x.var(1) ** 2,
    "std": lambda x: x.std(0),
    "norm": lambda x: x.norm(dim=1),
    "prod": lambda x: x.prod(1),
    "cumsum": lambda x: x.cumsum(1) ** 3,
    "amax": lambda x: x.amax(1) ** 3,
}

NORMALIZATIONS = {
    "layer norm": lambda x: F.layer_norm(x, (4,), WEIGHT[0], WEIGHT[1]) * TARGET,
    "layer norm, plain": lambda x: F.layer_norm(x, (4,)) ** 3,
    "rms norm": lambda x: F.rms_norm(x, (4,), WEIGHT[0], eps=1e-5) * TARGET,
    "batch norm": lambda x: F.batch_norm(x, None, None, WEIGHT[0], WEIGHT[1], training=True) * TARGET,
    "batch norm in evaluation": lambda x: F.batch_norm(x, WEIGHT[2], WEIGHT[3] ** 2, WEIGHT[0], training=False) ** 3,
    "batch norm, with momentum": lambda x: (
        F.batch_norm(x, torch.zeros(4).double(), torch.ones(4).double(), training=True) ** 3
    ),
    "group norm": lambda x: F.group_norm(x, 2, WEIGHT[0], WEIGHT[1]) * TARGET,
    "instance norm": lambda x: F.instance_norm(x.reshape(2, 3, 4)) ** 3,
    "normalize": lambda x: F.normalize(x) * TARGET,
    # Auxiliary outputs, used further on: their gradients count too.
    "layer norm, its mean and 1/σ": lambda x: sum(
        (o**3).sum() for o in torch.native_layer_norm(x, (4,), None, None, 1e-5)
    ),
    "group norm, its mean and 1/σ": lambda x: sum(
        (o**3).sum() for o in torch.native_group_norm(x, None, None, 6, 4, 1, 2, 1e-5)
    ),
    "variance and mean": lambda x: sum((o**3).sum() for o in torch.var_mean(x, 1)),
}

LOSSES = {
    "mse": lambda x: F.mse_loss(x.sin(), TARGET),
    "l1": lambda x: F.l1_loss(x**2, TARGET),
    "huber": lambda x: F.huber_loss(x.sin(), TARGET),
    "smooth l1": lambda x: F.smooth_l1_loss(x.sin(), TARGET),
    "cross entropy": lambda x: F.cross_entropy(x, CLASSES),
    "cross entropy, smoothed": lambda x: F.cross_entropy(x, CLASSES, label_smoothing=0.1),
    "cross entropy, probabilities": lambda x: F.cross_entropy(x, TARGET.softmax(1)),
    "nll": lambda x: F.nll_loss(x.log_softmax(1), CLASSES),
    "bce": lambda x: F.binary_cross_entropy(x.sigmoid(), TARGET.sigmoid()),
    "bce with logits": lambda x: F.binary_cross_entropy_with_logits(x, TARGET.sigmoid()),
    "kl": lambda x: F.kl_div(x.log_softmax(1), TARGET.softmax(1), reduction="sum"),
    "poisson": lambda x: F.poisson_nll_loss(x, SIGNS.abs()),
    "gaussian": lambda x: F.gaussian_nll_loss(x, TARGET, x.exp()),
    "soft margin": lambda x: F.soft_margin_loss(x, SIGNS),
    "cosine": lambda x: F.cosine_embedding_loss(x, x.flip(0) + 1, SIGNS[:, 0]),
    "triplet": lambda x: F.triplet_margin_loss(x, x.flip(0).sin(), x * 0.1 + 1),
}

SHAPES = {
    "views": lambda x: (x.t().reshape(-1)[3:15].view(3, 4).unsqueeze(0).expand(2, 3, 4)) ** 3,
    "cat": lambda x: torch.cat([x, x.sin()], 1) ** 3,
    "index": lambda x: x[[0, 0, 2]] ** 3,
    "gather": lambda x: x.gather(1, CLASSES[:, None]) ** 3,
    "in place": lambda x: ((x * 2).tanh_() * x).add_(1) ** 2,
    "embedding": lambda x: F.embedding(CLASSES, x) ** 3,
    "convolution": lambda x: F.conv2d(IMAGES * x[0, 0], x.reshape(2, 3, 2, 2).repeat(1, 2, 1, 1)[:, :4], x[0, :2]) ** 2,
    "max pooling": lambda x: F.max_pool2d(x.reshape(1, 1, 6, 4), 2) ** 3,
    "average pooling": lambda x: F.avg_pool2d(x.reshape(1, 1, 6, 4), 2) ** 3,
}


def _written_out_layer_norm(x):
    mean, r = x.mean(1, keepdim=True), (x.var(1, correction=0, keepdim=True) + 1e-5).rsqrt()
    return sum((o**3).sum() for o in ((x - mean) * r, mean, r))


# Autograd takes the mean and 1/σ of its layer norm for constants: there the definition is differentiated instead.
WRITTEN_OUT = {"layer norm, its mean and 1/σ": _written_out_layer_norm}

CASES = POINTWISE | PRODUCTS | REDUCTIONS | NORMALIZATIONS | LOSSES | SHAPES


def by_two_tapes(function, x, v):
    """The gradient of (gradient · v): the outer tape records the inner one's sweep."""
    with torch.no_grad(), Tape() as outer:
        with Tape() as inner:
            y = function(x).sum()
        slope = (inner.backward(y)[x] * v).sum()
    return outer.backward(slope)[x]


def by_double_backward(function, x, v):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    return torch.autograd.grad((gradient * v).sum(), x)[0]


@pytest.mark.parametrize("case", CASES)
def test_hessian_times_vector(case):
    v = torch.randn(X.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = by_double_backward(WRITTEN_OUT.get(case, CASES[case]), X, v)
    assert float(expected.abs().max()) > 1e-3  # else the test could not fail
    torch.testing.assert_close(by_two_tapes(CASES[case], X, v), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_has_a_second_derivative_where_autograd_has_none(causal):
    """Autograd's flash attention cannot be differentiated twice; its plain form, three operations, can."""
    q, k, v = (_numbers(2, 3, 5, 4) for _ in range(3))
    direction = _numbers(2, 3, 5, 4)

    def attention(q):
        return F.scaled_dot_product_attention(q, k + q.sin(), v * q, is_causal=causal) ** 2

    with sdpa_kernel(SDPBackend.MATH):
        expected = by_double_backward(attention, q, direction)
    torch.testing.assert_close(by_two_tapes(attention, q, direction), expected, rtol=1e-9, atol=1e-11)


def test_a_closed_form():
    """f = Σ (a·b)³ over pairs: ∂²f/∂a² = 6·a·b³, ∂²f/∂a∂b = 9·a²·b²."""
    a, b = torch.tensor([2.0, -1.0]).double(), torch.tensor([3.0, 0.5]).double()
    with torch.no_grad(), Tape() as outer:
        with Tape() as inner:
            f = ((a * b) ** 3).sum()
        slope = inner.backward(f)[a].sum()
    second = outer.backward(slope)
    torch.testing.assert_close(second[a], 6 * a * b**3)
    torch.testing.assert_close(second[b], 9 * a**2 * b**2)


def test_the_outer_tape_of_a_network_gives_the_hessian_of_its_parameters():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.LayerNorm(3), torch.nn.Linear(3, 4)
    ).double()
    parameters = list(model.parameters())
    directions = [torch.randn_like(p) for p in parameters]
    loss = F.cross_entropy(model(X), CLASSES)
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    expected = torch.autograd.grad(sum((g * d).sum() for g, d in zip(first, directions, strict=True)), parameters)
    with torch.no_grad(), Tape() as outer:
        with Tape() as inner:
            loss = F.cross_entropy(model(X), CLASSES)
        gradients = inner.backward(loss)
        slope = sum((gradients[p] * d).sum() for p, d in zip(parameters, directions, strict=True))
    second = outer.backward(slope)
    torch.testing.assert_close([second[p] for p in parameters], list(expected), rtol=1e-9, atol=1e-11)


SAVED = {
    name: CASES[name] for name in ("exp", "sqrt", "rsqrt", "reciprocal", "tanh", "sigmoid", "softmax", "log softmax")
}


@pytest.mark.parametrize("case", SAVED)
def test_autograds_own_backward_pass_may_be_recorded(case):
    """With ``create_graph=True`` autograd hands its saved results back, and the gradient goes on through them."""
    v = torch.randn(X.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = X.clone().requires_grad_()
    with Tape() as tape:
        (gradient,) = torch.autograd.grad(SAVED[case](x).sum(), x, create_graph=True)
        slope = (gradient * v).sum()
    torch.testing.assert_close(tape.backward(slope)[x], by_double_backward(SAVED[case], X, v), rtol=1e-9, atol=1e-11)
