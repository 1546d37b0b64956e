"""The transformer against torch's own encoder layers, and its errors."""

import pytest
import torch
from torch import nn

from gradlab.models import Transformer
from gradlab.models.transformer import Block


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def characters(*shape, vocabulary=7):
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(2))


def encoder_layer(block, width, heads, hidden):
    """torch's encoder layer with the weights of a block."""
    layer = nn.TransformerEncoderLayer(
        width, heads, hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    theirs = {"qkv": "self_attn.in_proj", "project": "self_attn.out_proj"}
    theirs = {f"attention.{own}": other for own, other in theirs.items()}
    theirs |= {"mlp.0": "linear1", "mlp.2": "linear2", "norm1": "norm1", "norm2": "norm2"}
    state = {}
    for name, value in block.state_dict().items():
        module, kind = name.rsplit(".", 1)
        joint = "_" if module == "attention.qkv" else "."  # in_proj_weight, but out_proj.weight
        state[theirs[module] + joint + kind] = value
    layer.load_state_dict(state)
    return layer


def test_names_and_shapes_of_parameters():
    network = Transformer(vocabulary=7, context=5, hidden=[6], width=4, heads=2)
    assert {name: tuple(value.shape) for name, value in network.named_parameters()} == {
        "token.weight": (7, 4),
        "position.weight": (5, 4),
        "blocks.0.norm1.weight": (4,),
        "blocks.0.norm1.bias": (4,),
        "blocks.0.attention.qkv.weight": (12, 4),
        "blocks.0.attention.qkv.bias": (12,),
        "blocks.0.attention.project.weight": (4, 4),
        "blocks.0.attention.project.bias": (4,),
        "blocks.0.norm2.weight": (4,),
        "blocks.0.norm2.bias": (4,),
        "blocks.0.mlp.0.weight": (6, 4),
        "blocks.0.mlp.0.bias": (6,),
        "blocks.0.mlp.2.weight": (4, 6),
        "blocks.0.mlp.2.bias": (4,),
        "norm.weight": (4,),
        "norm.bias": (4,),
        "head.weight": (7, 4),
        "head.bias": (7,),
    }


@pytest.mark.parametrize(("width", "heads", "hidden"), [(8, 2, 16), (6, 1, 5), (6, 6, 6)])
def test_a_block_is_torchs_encoder_layer(width, heads, hidden):
    block = Block(width, heads, hidden).double()
    layer = encoder_layer(block, width, heads, hidden)
    mask = nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
    h = random(3, 4, width)
    torch.testing.assert_close(block(h), layer(h, src_mask=mask, is_causal=True))


def test_the_whole_is_torchs_encoder_between_embeddings_and_head():
    network = Transformer(vocabulary=7, context=5, hidden=[16, 12], width=8, heads=2).double()
    x, weights = characters(3, 5), network.state_dict()
    h = weights["token.weight"][x] + weights["position.weight"]
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    for block, hidden in zip(network.blocks, [16, 12], strict=True):
        h = encoder_layer(block, 8, 2, hidden)(h, src_mask=mask, is_causal=True)
    h = nn.functional.layer_norm(h, (8,), weights["norm.weight"], weights["norm.bias"])
    torch.testing.assert_close(network(x), h @ weights["head.weight"].T + weights["head.bias"])


def test_without_blocks_a_prediction_knows_its_own_character_and_place_alone():
    network = Transformer(vocabulary=7, context=4, hidden=[], width=8, heads=2)
    logits = network(torch.tensor([[3, 1, 3, 1], [0, 1, 2, 1]]))
    assert logits[0, 1].equal(logits[1, 1])
    assert not logits[0, 1].equal(logits[0, 3])


@pytest.mark.parametrize("changed", range(6))
def test_a_later_character_changes_no_earlier_prediction(changed):
    network = Transformer(vocabulary=7, context=6, hidden=[16, 16], width=8).double()
    x = characters(2, 6)
    other = x.clone()
    other[:, changed] = (x[:, changed] + 1) % 7
    before, after = network(x), network(other)
    assert after[:, :changed].equal(before[:, :changed])
    assert (after != before).any(dim=-1)[:, changed:].all(), "a place does not see what came before it"


def test_a_shorter_window_is_the_start_of_a_longer_one():
    network = Transformer(vocabulary=7, context=6, hidden=[16], width=8).double()
    x = characters(2, 6)
    assert network(x).shape == (2, 6, 7)
    torch.testing.assert_close(network(x[:, :2]), network(x)[:, :2])


def test_dropout_is_for_training_alone():
    network = Transformer(vocabulary=7, context=6, hidden=[16], width=8, dropout=0.5)
    without = Transformer(vocabulary=7, context=6, hidden=[16], width=8)
    without.load_state_dict(network.state_dict())
    x = characters(2, 6)
    assert not network(x).equal(network(x))
    assert network.eval()(x).equal(without(x))


SIZES = {"vocabulary": 7, "context": 6, "hidden": [16], "width": 8, "heads": 2}


@pytest.mark.parametrize("size", [0, -1, 2.0, None, "4", True])
@pytest.mark.parametrize("key", ["vocabulary", "context", "width", "heads"])
def test_sizes_must_be_positive_whole_numbers(key, size):
    message = rf"model=transformer needs a whole number above 0 as model.{key}, got "
    stated = r".*: leave it at what the data set says \(data=characters\)" if key in ("vocabulary", "context") else ""
    with pytest.raises(ValueError, match=message + stated):
        Transformer(**{**SIZES, key: size})


@pytest.mark.parametrize("hidden", [64, [0], ["8"], None])
def test_hidden_must_be_a_list_of_sizes(hidden):
    with pytest.raises(ValueError, match=r"model=transformer needs a list of whole numbers above 0 as model.hidden"):
        Transformer(**{**SIZES, "hidden": hidden})


def test_heads_divide_the_width():
    message = r"divides model.width among model.heads, and 8 is no multiple of 3: set model.width=9"
    with pytest.raises(ValueError, match=message):
        Transformer(**{**SIZES, "heads": 3})


@pytest.mark.parametrize("dropout", [-0.1, 1, 1.5, float("nan"), None, "some", True])
def test_dropout_is_a_share(dropout):
    with pytest.raises(ValueError, match=r"model=transformer needs a number from 0 to below 1 as model.dropout, got"):
        Transformer(**SIZES, dropout=dropout)


def test_a_window_beyond_the_context_is_refused():
    message = r"has 6 places, got windows of 7 characters: leave model.context at \$\{data.context\}"
    with pytest.raises(ValueError, match=message):
        Transformer(**SIZES)(characters(2, 7))
