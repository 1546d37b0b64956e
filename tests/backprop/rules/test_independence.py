"""The sweep leans on nothing that it is to check: no autograd, no backward kernel, grad mode off.

A watching mode sees every primitive operation that the sweep runs, and autograd's entrances are locked meanwhile.
"""

import pytest
import torch
import torch._dynamo  # not while autograd is locked
import torch.nn.functional as F
from opinfo import Comparison, differentiable, quiet, samples
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import gradlab
from gradlab import losses
from gradlab.losses import L1, Bce, CrossEntropy, Huber, Mse

# Kernels that are derivatives under a name that does not say so.
HIDDEN = ("_backward", "_grad", "_vjp", "_jvp")


class Watch(TorchDispatchMode):
    """Notes every operation's name, and whether gradients were enabled while it ran."""

    def __init__(self):
        super().__init__()
        self.names, self.grad_modes = set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func._schema.name.removeprefix("aten::"))
        self.grad_modes.add(torch.is_grad_enabled())
        result = func(*args, **(kwargs or {}))
        assert not any(t.requires_grad for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor))
        return result

    def derivatives(self):
        return sorted(name for name in self.names if any(part in name for part in HIDDEN))


def _locked(*args, **kwargs):
    raise RuntimeError("autograd is locked")


def _lock_autograd(monkeypatch):
    monkeypatch.setattr(torch.autograd, "grad", _locked)
    monkeypatch.setattr(torch.autograd, "backward", _locked)
    monkeypatch.setattr(torch.autograd.graph, "_engine_run_backward", _locked)
    monkeypatch.setattr(torch.autograd, "_engine_run_backward", _locked, raising=False)
    monkeypatch.setattr(torch.Tensor, "backward", _locked)
    for name in ("vjp", "grad", "jvp", "jacrev"):
        monkeypatch.setattr(torch.func, name, _locked)


def _numbers(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    """A transformer's block, with a class for every place."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.first, self.second = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))

    def forward(self, tokens):
        x = self.embedding(tokens)
        q, k, v = (p.unflatten(-1, (2, 4)).transpose(1, 2) for p in self.qkv(self.first(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(-2))
        return self.mlp(self.second(x)).mean(1)


def _convnet():
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Dropout2d(0.5), nn.ConvTranspose2d(4, 3, 3, stride=2), nn.GroupNorm(3, 3), nn.SiLU(), nn.AvgPool2d(2)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(12, 4)),
    )


def _mlp():
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.Sigmoid(), nn.Linear(5, 4), nn.Softplus())


NETWORKS = {
    "mlp": (_mlp, _numbers(6, 3)),
    "convnet": (_convnet, _numbers(6, 2, 8, 8)),
    "attention": (Block, torch.arange(30).reshape(6, 5) % 7),
}

CLASSES = torch.arange(6) % 4
SIGNS = _numbers(6, 4, seed=1).sign()
LOSSES = {
    "gradlab mse": lambda x: Mse()(x, CLASSES),
    "gradlab l1": lambda x: L1()(x, CLASSES),
    "gradlab huber": lambda x: Huber()(x, CLASSES),
    "gradlab cross entropy": lambda x: CrossEntropy()(x, CLASSES),
    "gradlab bce": lambda x: Bce()(x, CLASSES),
    "cross entropy, smoothed": lambda x: F.cross_entropy(x, CLASSES, label_smoothing=0.1),
    "cross entropy, rows": lambda x: F.cross_entropy(x, _numbers(6, 4, seed=2).softmax(1)),
    "smooth l1": lambda x: F.smooth_l1_loss(x, SIGNS),
    "bce": lambda x: F.binary_cross_entropy(x.sigmoid(), SIGNS.clamp(min=0)),
    "kl": lambda x: F.kl_div(x.log_softmax(1), _numbers(6, 4, seed=2).softmax(1), reduction="batchmean"),
    "poisson": lambda x: F.poisson_nll_loss(x, SIGNS.abs()),
    "gaussian": lambda x: F.gaussian_nll_loss(x, SIGNS, x.exp()),
    "hinge": lambda x: F.hinge_embedding_loss(x, SIGNS),
    "soft margin": lambda x: F.soft_margin_loss(x, SIGNS),
    "multi margin": lambda x: F.multi_margin_loss(x, CLASSES),
    "multilabel margin": lambda x: F.multilabel_margin_loss(x, torch.tensor([[1, 2, -1, 0]] * 6)),
    "multilabel soft margin": lambda x: F.multilabel_soft_margin_loss(x, SIGNS.clamp(min=0)),
    "margin ranking": lambda x: F.margin_ranking_loss(x[:, 0], x[:, 1], SIGNS[:, 0]),
    "triplet": lambda x: F.triplet_margin_loss(x, x.flip(0).sin(), x * 0.1 + 1),
    "cosine": lambda x: F.cosine_embedding_loss(x, x.flip(0) + 1, SIGNS[:, 0]),
}


SURFACES = [s for s in vars(losses).values() if isinstance(s, type) and issubclass(s, losses.Surface)]
LOSSES |= {s.__name__: lambda x, s=s: s()(x[:, :2]).sum() for s in SURFACES if s is not losses.Surface}


def _check(monkeypatch, network, x, loss):
    torch.manual_seed(0)
    model = network().double()
    with gradlab.Tape() as tape:
        value = loss(model(x))
    parameters = list(model.parameters())
    expected = torch.autograd.grad(value, parameters)
    one = torch.ones_like(value, requires_grad=False)
    with monkeypatch.context() as patch, torch.enable_grad(), Watch() as watch:
        _lock_autograd(patch)
        with pytest.raises(RuntimeError, match="locked"):
            value.backward()
        gradients = tape.backward(value, one)
    assert watch.grad_modes == {False}
    assert watch.derivatives() == []
    torch.testing.assert_close([gradients[p] for p in parameters], list(expected), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("network", NETWORKS)
def test_networks(network, monkeypatch):
    _check(monkeypatch, *NETWORKS[network], LOSSES["gradlab cross entropy"])


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss, monkeypatch):
    _check(monkeypatch, *NETWORKS["mlp"], LOSSES[loss])


@quiet
@pytest.mark.parametrize("name", differentiable())
def test_operations(name, monkeypatch):
    tape_backward = gradlab.Tape.backward

    def watched(*args, **kwargs):
        with monkeypatch.context() as patch, torch.enable_grad(), Watch() as watch:
            _lock_autograd(patch)
            gradients = tape_backward(*args, **kwargs)
        assert watch.derivatives() == []
        assert watch.grad_modes <= {False}
        return gradients

    monkeypatch.setattr(gradlab.Tape, "backward", watched)
    for function, args, kwargs in samples(name, count=1):
        Comparison(function, args, kwargs)


def test_the_watch_sees_a_backward_kernel():
    x = _numbers(3).requires_grad_()
    y = x.tanh()
    with Watch() as watch:
        torch.autograd.grad(y.sum(), x)
    assert watch.derivatives() == ["tanh_backward"]
