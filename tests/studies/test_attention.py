"""Skip connections: what the probe records, against autograd's own Jacobian products."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gradlab.backprop import Tape
from gradlab.models import Transformer
from gradlab.probes import SkipProbe
from gradlab.sinks import MemorySink
from gradlab.studies.attention import skips_of


def recorded(model, x, scale=None):
    with Tape() as tape:
        loss = model(x).square().mean()
    terms = []
    tape.backward(loss, terms=terms)
    step = SimpleNamespace(terms=terms, scale=scale, index=7, root=model)
    memory = MemorySink()
    memory.write(SkipProbe().measure(step))
    return {skip.name: skip for skip in skips_of(memory)}


def test_a_transformers_branches_against_autograd():
    torch.manual_seed(0)
    model = Transformer(vocabulary=5, context=4, hidden=[6, 6], width=8).double()
    x = torch.randint(5, (3, 4))
    skips = recorded(model, x)
    assert list(skips) == ["blocks.1.mlp", "blocks.1.attention", "blocks.0.mlp", "blocks.0.attention"]

    h = (model.token(x) + model.position(torch.arange(4))).detach()
    for name, block in model.blocks.named_children():
        for branch, norm in (("attention", block.norm1), ("mlp", block.norm2)):
            skip = skips[f"blocks.{name}.{branch}"]
            h = h.detach().requires_grad_()
            out = getattr(block, branch)(norm(h))
            after = h + out
            upstream = after.detach().requires_grad_()
            g = upstream_gradient(model, int(name), branch, upstream)
            through = torch.autograd.grad(out, h, g)[0]
            assert skip.around == pytest.approx([float(g.norm())], rel=1e-10)
            assert skip.through == pytest.approx([float(through.norm())], rel=1e-10)
            assert skip.total == pytest.approx([float((g + through).norm())], rel=1e-10)
            assert skip.cosine == pytest.approx(
                [float(torch.cosine_similarity(g.ravel(), through.ravel(), 0))], abs=1e-8
            )
            assert skip.steps.tolist() == [7]
            h = after


def upstream_gradient(model, number, branch, h):
    """∂loss/∂h for the h that leaves that branch."""
    block = model.blocks[number]
    out = h + block.mlp(block.norm2(h)) if branch == "attention" else h
    for later in model.blocks[number + 1 :]:
        out = later(out)
    loss = model.head(model.norm(out)).square().mean()
    return torch.autograd.grad(loss, h)[0]


def test_the_scale_of_a_gradient_scaler_is_taken_out():
    torch.manual_seed(0)
    model = Transformer(vocabulary=5, context=4, hidden=[6], width=8)
    x = torch.randint(5, (3, 4))
    plain, scaled = recorded(model, x), recorded(model, x, torch.tensor(4.0))
    assert scaled["blocks.0.mlp"].around == pytest.approx(plain["blocks.0.mlp"].around / 4)


def test_a_residual_network_written_in_place():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            h = self.first(x)
            out = self.second(h.relu())
            out += h
            return out

    torch.manual_seed(0)
    model = Net()
    skips = recorded(model, torch.randn(2, 3))
    assert list(skips) == ["second"]
    h = model.first(torch.ones(1, 3))
    assert h.shape == (1, 3)
    assert 0 < skips["second"].through < skips["second"].around


def test_a_network_without_skips_has_none():
    assert recorded(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)), torch.randn(2, 3)) == {}
