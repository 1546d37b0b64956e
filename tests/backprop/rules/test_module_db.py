"""Every module against autograd: its parameters and its inputs, in training and in evaluation."""

import conformance
import pytest
import torch
from opinfo import Comparison, module_samples, modules, quiet


@quiet
@pytest.mark.parametrize("name", modules())
def test_agrees_with_autograd(name):
    finding = conformance.module(name)
    conformance.demand_agreement(finding)
    assert finding.gradients > 0


@quiet
@pytest.mark.parametrize("name", ["nn.Linear", "nn.Conv2d", "nn.LSTM", "nn.TransformerEncoderLayer"])
def test_single_precision(name):
    """Some modules run other operations in single precision than in double.

    A rounding is wrong by half of ε = 1.2e-7. On its way through the deepest of these, an encoder's layer, a gradient
    passes some 20 operations, forth and back, with sums of at most 16 terms. Were all roundings in the same direction,
    they would add up to 20·16·ε/2 = 2e-5 of the terms, which may cancel: so of the largest entry.
    """
    for call in module_samples(name, torch.float32):
        comparison = Comparison(*call)
        for manual, autograd in zip(comparison.manual, comparison.autograd, strict=True):
            largest = autograd.abs().max().item() if autograd.numel() else 0.0
            torch.testing.assert_close(manual, autograd, rtol=0, atol=2e-5 * largest)
