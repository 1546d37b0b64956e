"""The recurrent network against cells written out by hand, and the errors that it shares with the transformer."""

import pytest
import torch

from gradlab.models import CELLS, Recurrent, Transformer

every_cell = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])


def characters(*shape, vocabulary=7):
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(2))


# One time step by the formulas of torch's documentation. From the input a = W x + b and the state u = U h + c, each
# in as many pieces as the cell has gates, and the state (h, and what an lstm keeps besides), to the new state.


def rnn(a, u, state):
    return (torch.tanh(a[0] + u[0]),)


def gru(a, u, state):
    (h,) = state
    r, z = torch.sigmoid(a[0] + u[0]), torch.sigmoid(a[1] + u[1])
    n = torch.tanh(a[2] + r * u[2])
    return ((1 - z) * n + z * h,)


def lstm(a, u, state):
    _, c = state
    i, f, o = (torch.sigmoid(a[k] + u[k]) for k in (0, 1, 3))
    c = f * c + i * torch.tanh(a[2] + u[2])
    return o * torch.tanh(c), c


BY_FORMULA = {"rnn": (rnn, 1, 1), "gru": (gru, 3, 1), "lstm": (lstm, 4, 2)}  # with its gates, and parts of the state


def unrolled(weights, layer, x, cell):
    """The states [B, T, H] of a layer for inputs [B, T, I], step by step."""
    step, gates, parts = BY_FORMULA[cell]
    w, u, b, c = (weights[f"layers.{layer}.{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state = tuple(x.new_zeros(len(x), u.shape[1]) for _ in range(parts))
    states = []
    for t in range(x.shape[1]):
        state = step((x[:, t] @ w.T + b).chunk(gates, dim=1), (state[0] @ u.T + c).chunk(gates, dim=1), state)
        states.append(state[0])
    return torch.stack(states, dim=1)


def test_there_is_a_formula_for_every_cell():
    assert BY_FORMULA.keys() == CELLS.keys()


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_names_and_shapes_of_parameters(cell, gates):
    network = Recurrent(vocabulary=7, hidden=[5, 4], cell=cell, width=3)
    assert {name: tuple(value.shape) for name, value in network.named_parameters()} == {
        "token.weight": (7, 3),
        "layers.0.weight_ih_l0": (gates * 5, 3),
        "layers.0.weight_hh_l0": (gates * 5, 5),
        "layers.0.bias_ih_l0": (gates * 5,),
        "layers.0.bias_hh_l0": (gates * 5,),
        "layers.1.weight_ih_l0": (gates * 4, 5),
        "layers.1.weight_hh_l0": (gates * 4, 4),
        "layers.1.bias_ih_l0": (gates * 4,),
        "layers.1.bias_hh_l0": (gates * 4,),
        "head.weight": (7, 4),
        "head.bias": (7,),
    }


@every_cell
@pytest.mark.parametrize("hidden", [[], [6], [5, 4]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_its_cell_unrolled(cell, hidden, dtype):
    network = Recurrent(vocabulary=7, hidden=hidden, cell=cell, width=3).to(dtype)
    x, weights = characters(2, 9), network.state_dict()
    h = weights["token.weight"][x]
    for layer in range(len(hidden)):
        h = unrolled(weights, layer, h, cell)
    logits = network(x)
    torch.testing.assert_close(logits, h @ weights["head.weight"].T + weights["head.bias"])
    assert (logits.shape, logits.dtype) == ((2, 9, 7), dtype)


@every_cell
@pytest.mark.parametrize("changed", [0, 3, 5])
def test_a_later_character_changes_no_earlier_prediction(cell, changed):
    network = Recurrent(vocabulary=7, hidden=[8], cell=cell).double()
    x = characters(2, 6)
    other = x.clone()
    other[:, changed] = (x[:, changed] + 1) % 7
    before, after = network(x), network(other)
    assert after[:, :changed].equal(before[:, :changed])
    assert (after != before).any(dim=-1)[:, changed:].all(), "a step does not remember what came before it"


SIZES = {"vocabulary": 7, "hidden": [8]}


@pytest.mark.parametrize("size", [0, -1, 2.0, None, "4", True])
def test_sizes_must_be_positive_whole_numbers(size):
    message = r"model=recurrent needs a whole number above 0 as model.{}, got "
    with pytest.raises(ValueError, match=message.format("vocabulary") + r".*what the data set says \(data=characters"):
        Recurrent(**{**SIZES, "vocabulary": size})
    with pytest.raises(ValueError, match=message.format("width")):
        Recurrent(**SIZES, width=size)


@pytest.mark.parametrize("hidden", [64, [0], ["8"], None])
def test_hidden_must_be_a_list_of_sizes(hidden):
    with pytest.raises(ValueError, match=r"model=recurrent needs a list of whole numbers above 0 as model.hidden"):
        Recurrent(vocabulary=7, hidden=hidden)


def test_an_unknown_cell_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no cell 'elman' \(model.cell\): choose rnn, gru, lstm"):
        Recurrent(**SIZES, cell="elman")


TEXT_NETWORKS = [Recurrent(**SIZES), Transformer(**SIZES, context=6)]
every_network = pytest.mark.parametrize("network", TEXT_NETWORKS, ids=lambda n: type(n).__name__)


@every_network
def test_no_batch_is_refused(network):
    name = type(network).__name__.lower()
    message = rf"model={name} needs a batch of characters, and data=none gives none: choose data=characters"
    with pytest.raises(ValueError, match=message):
        network(None)


@every_network
@pytest.mark.parametrize(
    "x", [torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.int64)]
)
def test_what_is_no_window_of_characters_is_refused(network, x):
    with pytest.raises(ValueError, match=r"takes windows of characters, whole numbers \[B, T\], got torch\.\w+ of "):
        network(x)


@every_network
@pytest.mark.parametrize(("number", "found"), [(7, "0 to 7"), (-1, "-1 to 0")])
def test_unknown_characters_are_refused(network, number, found):
    message = rf"knows the characters 0 to 6, got {found}: leave model.vocabulary at \$\{{data.vocabulary\}}"
    with pytest.raises(ValueError, match=message):
        network(torch.tensor([[0, number]]))


@pytest.mark.parametrize("build", [lambda: Recurrent(**SIZES, cell="rnn"), lambda: Transformer(**SIZES, context=6)])
def test_a_device_is_not_waited_for(build):
    # On the meta device any reading of a value raises.
    network = build().to("meta")
    assert network(torch.zeros(2, 6, dtype=torch.int64, device="meta")).shape == (2, 6, 7)
