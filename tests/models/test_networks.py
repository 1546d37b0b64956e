"""Networks: names, shapes, values by hand, and errors."""

import math

import pytest
import torch
import torch.nn.functional as F

from gradlab.models import ACTIVATIONS, ConvNet, Linear, Logistic, Mlp
from gradlab.models.initialization import bias_deviation, weight_deviation

BY_FORMULA = {
    "tanh": torch.tanh,
    "relu": lambda z: z.clamp(min=0),
    "gelu": lambda z: z * (1 + torch.erf(z / math.sqrt(2))) / 2,
    "sigmoid": lambda z: 1 / (1 + (-z).exp()),
    "silu": lambda z: z / (1 + (-z).exp()),
    "elu": lambda z: torch.where(z > 0, z, z.exp() - 1),
    "leaky_relu": lambda z: torch.where(z > 0, z, 0.01 * z),
    "softplus": lambda z: (1 + z.exp()).log(),
    "identity": lambda z: z,
}
NETWORKS = [Linear(4, 3), Logistic(4), Mlp(4, [5], 3), ConvNet([1, 2, 2], [5], 3)]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)


def names(network):
    return {name: tuple(value.shape) for name, value in network.named_parameters()}


def test_names_and_shapes_of_parameters():
    assert names(Linear(10, 2)) == {"0.weight": (2, 10), "0.bias": (2,)}
    assert names(Logistic(10)) == {"0.weight": (1, 10), "0.bias": (1,)}
    assert names(Mlp(64, [32, 16], 10)) == {
        "0.weight": (32, 64),
        "0.bias": (32,),
        "2.weight": (16, 32),
        "2.bias": (16,),
        "4.weight": (10, 16),
        "4.bias": (10,),
    }
    assert names(Mlp(4, [], 3)) == names(Linear(4, 3))
    assert names(ConvNet([1, 8, 8], [8, 16], 10)) == {
        "0.weight": (8, 1, 3, 3),
        "0.bias": (8,),
        "3.weight": (16, 8, 3, 3),
        "3.bias": (16,),
        "7.weight": (10, 64),  # 16 channels of 2 × 2
        "7.bias": (10,),
    }


@every_network
def test_prediction_has_a_row_for_every_row_of_the_batch(network):
    prediction = network(torch.zeros(7, 4))
    assert prediction.shape == (7, 1 if isinstance(network, Logistic) else 3)
    assert prediction.dtype == torch.float32


def test_values_by_hand():
    network = Mlp(2, [2], 1, activation="relu")
    with torch.no_grad():
        for name, values in {
            "0.weight": [[1.0, 2.0], [3.0, -4.0]],
            "0.bias": [0.5, -0.5],
            "2.weight": [[2.0, 10.0]],
            "2.bias": [1.0],
        }.items():
            network.get_parameter(name).copy_(torch.tensor(values))
    # x = (1, 1): 1 + 2 + 0.5 = 3.5 and 3 − 4 − 0.5 = −1.5, which relu makes 0; 2 · 3.5 + 10 · 0 + 1 = 8
    assert network(torch.ones(1, 2)).item() == 8.0


def test_logistic_returns_logits():
    network = Logistic(1)
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(3.0)
        network.get_parameter("0.bias").fill_(-1.0)
    assert network(torch.tensor([[2.0]])).item() == 5.0


def test_convnet_takes_rows_and_images_alike():
    network = ConvNet([2, 4, 6], [3], 5, activation="tanh")
    images = torch.randn(4, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    weights = network.state_dict()
    blocks = F.max_pool2d(torch.tanh(F.conv2d(images, weights["0.weight"], weights["0.bias"], padding=1)), 2)
    expected = F.linear(blocks.flatten(1), weights["4.weight"], weights["4.bias"])
    torch.testing.assert_close(network(images), expected)
    assert network(images.flatten(1)).equal(network(images))


def test_activations_are_their_formulas():
    z = torch.linspace(-3, 3, 25, dtype=torch.float64)
    assert BY_FORMULA.keys() == ACTIVATIONS.keys()
    for name, formula in BY_FORMULA.items():
        network = Mlp(1, [1], 1, activation=name)
        torch.testing.assert_close(network[1](z), formula(z))


@pytest.mark.parametrize("build", [lambda a: Mlp(2, [2], 1, a), lambda a: ConvNet([1, 2, 2], [2], 1, a)])
def test_an_unknown_activation_lists_those_there_are(build):
    message = r"no activation 'tahn' \(model.activation\): choose tanh, relu, gelu, sigmoid, silu, elu, leaky_relu"
    with pytest.raises(ValueError, match=message):
        build("tahn")


@pytest.mark.parametrize("hidden", [32, "32", None, [0], [-4], [8, 2.5], [True], ["8"]])
def test_hidden_must_be_positive_whole_numbers(hidden):
    message = r"model=mlp needs a list of whole numbers above 0 as model.hidden, got .*model.hidden=\[32,16\]"
    with pytest.raises(ValueError, match=message):
        Mlp(4, hidden, 2)
    with pytest.raises(ValueError, match=message.replace("mlp", "convnet")):
        ConvNet([1, 8, 8], hidden, 2)


@pytest.mark.parametrize("size", [0, -1, 2.0, None, "4", True])
def test_columns_must_be_positive_whole_numbers(size):
    for name, build in {"linear": Linear, "logistic": Logistic, "mlp": lambda i, o: Mlp(i, [], o)}.items():
        with pytest.raises(ValueError, match=rf"model={name} needs a whole number above 0 as model.in_features"):
            build(size, 1)
        with pytest.raises(ValueError, match=rf"model={name} needs a whole number above 0 as model.out_features"):
            build(1, size)
    with pytest.raises(ValueError, match=r"model=convnet needs a whole number above 0 as model.out_features"):
        ConvNet([1, 8, 8], [], size)


@every_network
def test_no_batch_is_refused(network):
    name = type(network).__name__.lower()
    with pytest.raises(ValueError, match=rf"model={name} needs a batch .*data=none gives none: choose data=digits"):
        network(None)


@every_network
def test_a_batch_of_another_width_is_refused(network):
    with pytest.raises(ValueError, match=r"model=\w+ takes .*4 .*got a batch of shape \[7, 5\]: leave model\."):
        network(torch.zeros(7, 5))


@pytest.mark.parametrize("shape", [(64,), (2, 8, 8), (2, 3, 8, 8), (2, 1, 8, 4)])
def test_images_of_another_shape_are_refused(shape):
    message = r"takes images \[1, 8, 8\] or rows of 64 numbers, got .*leave model.image at \$\{data.image\}"
    with pytest.raises(ValueError, match=message):
        ConvNet([1, 8, 8], [2], 2)(torch.zeros(shape))


@pytest.mark.parametrize("image", [None, [8, 8], [1, 8, 0], [1, 8, 8.0], "188", 64])
def test_convnet_needs_images(image):
    with pytest.raises(
        ValueError, match=r"model=convnet needs images, .*choose data=digits, or a network for features"
    ):
        ConvNet(image, [2], 2)


@pytest.mark.parametrize(("image", "most"), [([1, 8, 8], 3), ([1, 28, 28], 4), ([3, 7, 32], 2), ([1, 1, 1], 0)])
def test_an_image_can_be_halved_so_often(image, most):
    assert ConvNet(image, [2] * most, 2)(torch.zeros(1, *image)).shape == (1, 2)
    message = rf"can be halved {most} times, not {most + 1}: give at most {most} numbers"
    with pytest.raises(ValueError, match=message):
        ConvNet(image, [2] * (most + 1), 2)


@pytest.mark.parametrize(("init", "deviation"), [("xavier", 0.05), ("he", 1 / 16), ("default", 0.0361), (0.3, 0.3)])
def test_weights_are_drawn_with_the_deviation_that_is_asked_for(init, deviation):
    """512 inputs and 288 outputs: xavier has √(2/800), he √(2/512), PyTorch's own is uniform in ±1/√512, over √3."""
    inputs, outputs = (512, 288) if init != "default" else (256, 288)
    torch.manual_seed(0)
    weight = Mlp(inputs, [outputs], 10, init=init).get_parameter("0.weight")
    assert weight_deviation(init, inputs, outputs) == pytest.approx(deviation, rel=1e-3)
    assert float(weight.detach().std()) == pytest.approx(deviation, rel=0.01)


def test_biases_begin_at_zero_but_with_the_default():
    assert all(Mlp(4, [5], 3, init=init).get_parameter("0.bias").count_nonzero() == 0 for init in ("xavier", "he", 1))
    network = Mlp(4, [300], 3)
    assert float(network.get_parameter("0.bias").detach().std()) == pytest.approx(bias_deviation("default", 4), rel=0.1)


def test_the_default_draws_what_pytorch_draws():
    torch.manual_seed(0)
    first, second = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)
    expected = [*first.parameters(), *second.parameters()]
    torch.manual_seed(0)
    network = Mlp(4, [5], 3)
    assert all(ours.equal(theirs) for ours, theirs in zip(network.parameters(), expected, strict=True))


@pytest.mark.parametrize("init", ["hee", 0, -1.0, math.inf, math.nan, None, True])
def test_an_unknown_initialization_is_refused(init):
    with pytest.raises(ValueError, match=r"no initialization .* \(model.init\): choose default, xavier, he, or a num"):
        Mlp(4, [5], 3, init=init)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_residual_and_norm_are_their_formulas(residual, norm):
    network = Mlp(4, [5, 5, 3], 2, residual=residual, norm=norm)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    h, weights = x, network.state_dict()
    for place, width in ((0, 5), (2, 5), (4, 3)):
        z = h @ weights[f"{place}.weight"].T + weights[f"{place}.bias"]
        if norm:
            z = (z - z.mean(1, keepdim=True)) / (z.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        h = torch.tanh(z) + (h if residual and h.shape[1] == width else 0)
    torch.testing.assert_close(network(x), h @ weights["6.weight"].T + weights["6.bias"])
    assert [name for name in weights if "norm" not in name] == list(Mlp(4, [5, 5, 3], 2).state_dict())
