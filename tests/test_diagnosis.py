"""The verdict on the gradient flow: on real networks whose fate is known, and on numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.diagnosis import depth_biases, depth_weights, diagnose_flow

WIDTH = 32


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return x + torch.relu(self.inner(self.norm(x)))


def stack(depth, activation, spread, width=WIDTH, outputs=10):
    """Layers whose weights have the standard deviation spread / √(number of inputs)."""
    sizes = [width] * depth + [outputs]
    layers = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        linear = nn.Linear(before, after)
        nn.init.normal_(linear.weight, std=spread / math.sqrt(before))
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def measured(model, scale=1.0, steps=4, classes=10, lr=0.0):
    """The RMS gradients of weights and of biases at some batches, by autograd and NumPy alone."""
    torch.manual_seed(1)
    names = list(dict(model.named_parameters()))
    weights = depth_weights(names)
    rms = {name: [] for name in names}
    for _ in range(steps):
        model.zero_grad()
        inputs = getattr(model[0], "in_features", WIDTH)
        x, y = torch.randn(64, inputs), torch.randint(classes, (64,))
        (scale * nn.functional.cross_entropy(model(x), y)).backward()
        for name in names:
            gradient = model.get_parameter(name).grad.double().numpy()
            rms[name].append(math.sqrt((gradient**2).mean()))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr / scale * parameter.grad
    values = {name: np.array(values) for name, values in rms.items()}
    biases = depth_biases(names, weights)
    return {name: values[name] for name in weights}, {name: values[bias] for name, bias in biases.items()}


def residual(depth=20):
    return nn.Sequential(*(Residual(WIDTH) for _ in range(depth)), nn.Linear(WIDTH, 10))


def dead_in_the_middle():
    model = stack(6, nn.ReLU, math.sqrt(2))
    for layer in model[::2]:
        nn.init.normal_(layer.bias, std=0.1)  # without biases nothing at all comes out behind the dead layer
    nn.init.constant_(model[4].bias, -100.0)
    return model


class Block(nn.Module):
    """Passes everything forward and a hundred-thousandth back."""

    def forward(self, x):
        return 1e-5 * x + (1 - 1e-5) * x.detach()


def blocked():
    model = stack(11, nn.ReLU, math.sqrt(2))
    model[3] = nn.Sequential(nn.ReLU(), Block())
    return model


def convolutions():
    layers = [nn.Unflatten(1, (2, 4, 4))]
    for before in (2, 8, 8, 8, 8):
        layers += [nn.Conv2d(before, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def normalized(depth):
    """Linear layers before BatchNorm, named by numbers only: the gradients of their biases are rounding noise."""
    layers = [part for _ in range(depth) for part in (nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


MODELS = {
    "small weights behind sigmoids": (lambda: stack(8, nn.Sigmoid, 1.0), "vanishing"),
    "small weights behind tanh": (lambda: stack(10, nn.Tanh, 0.3), "vanishing"),
    "large linear": (lambda: stack(12, nn.Identity, 3.0), "exploding"),
    "small linear": (lambda: stack(12, nn.Identity, 0.3), "vanishing"),
    "large weights behind hardtanh": (lambda: stack(12, nn.Hardtanh, 3.0), "exploding"),
    "He's ReLU, 20 deep": (lambda: stack(20, nn.ReLU, math.sqrt(2)), "healthy"),
    "He's ReLU, 50 deep": (lambda: stack(50, nn.ReLU, math.sqrt(2), width=64), "healthy"),
    "linear, variance kept": (lambda: stack(30, nn.Identity, 1.0), "healthy"),
    "residual": (residual, "healthy"),
    "convolutions": (convolutions, "healthy"),
    "biases before BatchNorm": (lambda: normalized(3), "healthy"),
    "one bias before BatchNorm": (lambda: normalized(1), "healthy"),
    "two layers": (lambda: stack(2, nn.Tanh, 1.0), "healthy"),
    "two layers, very wide to narrow": (lambda: stack(2, nn.ReLU, 1.0, width=1024, outputs=10), "healthy"),
    "one layer": (lambda: stack(1, nn.Tanh, 1.0), "unknown"),
    "dead ReLU": (dead_in_the_middle, "dead"),
    "one layer blocks": (blocked, "vanishing"),
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_the_verdict_on_real_networks(name, seed):
    make, verdict = MODELS[name]
    torch.manual_seed(seed)
    flow = diagnose_flow(*measured(make()))
    assert flow.verdict == verdict, flow.words
    assert flow.words.startswith(verdict)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_the_unit_of_the_loss_does_not_change_the_verdict(name, scale):
    make, _ = MODELS[name]
    torch.manual_seed(0)
    model = make().double()
    torch.set_default_dtype(torch.float64)
    try:
        plain, scaled = (diagnose_flow(*measured(model, by)) for by in (1.0, scale))
    finally:
        torch.set_default_dtype(torch.float32)
    assert scaled.words == plain.words
    assert scaled.slope == pytest.approx(plain.slope, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("make", [residual, lambda: stack(20, nn.ReLU, math.sqrt(2))])
def test_what_is_healthy_stays_healthy_in_training(make):
    torch.manual_seed(0)
    weights, biases = measured(make(), steps=60, lr=0.02)
    latest = ({name: values[-6:] for name, values in part.items()} for part in (weights, biases))
    assert diagnose_flow(*latest).verdict == "healthy"


def test_a_sigmoid_network_loses_the_factor_that_its_weights_and_a_quarter_say():
    # Linear(32, 32) with weights of variance 1/32 keeps a gradient's size; sigmoid's derivative near 0 is 1/4.
    torch.manual_seed(0)
    flow = diagnose_flow(*measured(stack(30, nn.Sigmoid, 0.5).double().float()))
    assert 10**flow.slope == pytest.approx(0.5 / 4, rel=0.1)
    assert 10**flow.arriving_slope == pytest.approx(0.5 / 4, rel=0.1)


def test_a_dead_layer_and_those_that_it_cuts_off_are_named():
    torch.manual_seed(0)
    flow = diagnose_flow(*measured(dead_in_the_middle()))
    # Unit 4's output is 0: so is everything that flows back through it, and the gradient of the weight that reads it.
    assert flow.dead == ("0.weight", "2.weight", "4.weight", "6.weight")
    assert "exactly zero: 0.weight, 2.weight, 4.weight, 6.weight" in flow.words


def test_a_network_so_deep_that_its_gradient_underflows_vanishes_and_is_not_merely_dead():
    torch.manual_seed(0)
    flow = diagnose_flow(*measured(stack(60, nn.Sigmoid, 0.5)))
    assert flow.verdict == "vanishing"
    assert flow.dead[0] == "0.weight"


def test_where_one_layer_blocks_it_is_named():
    torch.manual_seed(0)
    assert "most of it between 2.weight and 4.weight" in diagnose_flow(*measured(blocked())).words


def layers(*rms):
    return {f"{i}.weight": np.atleast_1d(np.array(value, float)) for i, value in enumerate(rms)}


def test_the_line_of_exact_powers_is_exact():
    flow = diagnose_flow(layers(1e-7, 1e-6, 1e-5, 1e-4))
    assert (flow.slope, flow.height, flow.total) == pytest.approx((-1, -7, -3))
    assert flow.levels == pytest.approx([-7, -6, -5, -4])
    assert (
        flow.words
        == "vanishing: weights' gradients × 0.1 a layer on the way back to the input, × 1.0e-03 over 4 layers"
    )


def test_the_line_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    logs = rng.normal(size=12)
    slope = stats.theilslopes(logs, np.arange(12)).slope
    flow = diagnose_flow(layers(*10**logs))
    assert flow.slope == pytest.approx(-slope)
    assert flow.height == pytest.approx(np.median(logs - slope * np.arange(12)))


@pytest.mark.parametrize(("ratio", "verdict"), [(99, "healthy"), (101, "exploding"), (1 / 99, "healthy")])
def test_a_factor_of_100_over_the_depth_is_the_border(ratio, verdict):
    assert diagnose_flow(layers(ratio, 1.0)).verdict == verdict


@pytest.mark.parametrize("outlier", [1e-9, 1e9])
@pytest.mark.parametrize("place", [1, 5, 8])
def test_one_strange_layer_does_not_turn_a_healthy_network_ill(outlier, place):
    rms = [1.0] * 10
    rms[place] = outlier
    assert diagnose_flow(layers(*rms)).verdict == "healthy"


def test_what_the_weights_hide_the_biases_tell():
    torch.manual_seed(0)
    weights, biases = measured(stack(12, nn.Identity, 3.0))
    alone, both = diagnose_flow(weights), diagnose_flow(weights, biases)
    assert alone.verdict == "healthy"  # δ hᵀ: what δ loses on the way h has gained
    assert both.verdict == "exploding"
    assert 10**both.arriving_slope == pytest.approx(3, rel=0.15)
    assert "the activations grow on the way forward" in both.words


def test_a_bias_far_below_its_weight_is_not_believed():
    weights = layers(1.0, 1.0, 1.0)
    biases = layers(1e-9, 1e-8, 1.0)
    assert diagnose_flow(weights, biases).verdict == "healthy"
    assert np.isnan(diagnose_flow(weights, biases).arriving).tolist() == [True, True, False]


def test_a_fall_that_the_line_misses_is_seen_and_placed():
    flow = diagnose_flow(layers(*[1e-5] * 2, *[1.0] * 6))
    assert flow.slope == 0
    assert flow.verdict == "vanishing"
    assert flow.words.endswith("× 1.0e-05 over 8 layers, most of it between 1.weight and 2.weight")


def test_factors_beyond_every_float_can_be_written():
    assert "× 1.0e+600 over 2 layers" in diagnose_flow(layers(1e300, 1e-300)).words


def test_the_level_is_the_median_of_the_steps_so_a_spike_changes_nothing():
    flow = diagnose_flow(layers([1, 1, 1, 1e9], [1, 1, 1, 1]))
    assert flow.levels.tolist() == [0, 0]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_non_finite_at_the_end_is_the_verdict_and_in_passing_is_named(broken):
    at_the_end = diagnose_flow(layers([1, 1, 1, broken], [1, 1, 1, 1]))
    assert at_the_end.verdict == "non-finite"
    assert at_the_end.words.endswith("; NaN or infinite: 0.weight")
    passing = diagnose_flow(layers([1, broken, 1, 1], [1, 1, 1, 1]))
    assert passing.verdict == "healthy"
    assert passing.words.endswith("; NaN or infinite at some steps: 0.weight")


def test_nothing_but_nan_nothing_but_zero_and_nothing_at_all():
    assert diagnose_flow(layers(math.nan, math.nan)).verdict == "non-finite"
    assert diagnose_flow(layers(0, 0)).words == (
        "dead: no layer has a gradient, so there is no depth to compare over; exactly zero: 0.weight, 1.weight"
    )
    assert diagnose_flow({}).verdict == "unknown"


def test_a_layer_without_records_is_named_and_the_others_are_judged():
    flow = diagnose_flow({**layers(1e-3, 1e-3), "frozen.weight": np.array([])})
    assert (flow.verdict, flow.missing) == ("healthy", ("frozen.weight",))
    assert flow.words.endswith("; no gradient in these steps: frozen.weight")


def test_long_lists_of_names_are_counted():
    assert diagnose_flow(layers(*[0.0] * 9)).words.endswith("0.weight, 1.weight, 2.weight, 3.weight and 5 more")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)), ["0.weight", "2.weight"]),
        (nn.LSTM(2, 3, bidirectional=True), ["weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse"]),
        (nn.MultiheadAttention(4, 2), ["in_proj_weight", "out_proj.weight"]),
        (nn.TransformerEncoderLayer(4, 2, 8), ["self_attn.in_proj_weight", "self_attn.out_proj.weight"]),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), ["parametrizations.weight.original1"]),
        (nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)), ["parametrizations.weight.original"]),
        (nn.ModuleDict({"embedding": nn.Embedding(2, 2), "bn2": nn.BatchNorm2d(2), "ln_f": nn.LayerNorm(2)}), []),
        (nn.ModuleDict({"tower": nn.Linear(2, 2), "lnet": nn.Linear(2, 2)}), ["tower.weight", "lnet.weight"]),
    ],
    ids=["mlp", "lstm", "attention", "encoder", "weight_norm", "spectral_norm", "other kinds", "look-alikes"],
)
def test_weights_are_told_by_their_names(model, expected):
    assert depth_weights(dict(model.named_parameters()))[: len(expected) or None] == expected


def test_each_weight_finds_its_bias():
    names = ["0.weight", "0.bias", "weight_ih_l0", "bias_ih_l0", "a.in_proj_weight", "a.in_proj_bias", "weight.b.c"]
    assert depth_biases(names, names[::2]) == dict(zip(names[:6:2], names[1:6:2], strict=True))


@pytest.mark.parametrize(
    ("gain", "vectors"), [("bn1.weight", ()), ("layers.0.norm1.bias", ()), ("1.weight", ["1.weight"])]
)
def test_behind_a_normalization_biases_are_not_asked(gain, vectors):
    assert depth_biases(["0.weight", "0.bias", gain], ["0.weight"], vectors) == {}
