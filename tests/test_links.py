"""The address that pins cards, read as TensorBoard reads it."""

import json
from urllib.parse import parse_qs, urlparse

from gradlab.links import deep_link


def test_it_pins_what_one_looks_at_first():
    names = [f"{i}.weight" for i in range(4)]
    tags = ["loss/train", "total/norm_before_clipping", *(f"gradient/{n}/rms" for n in names), "partial/a[0,1]"]
    address = urlparse(deep_link([*tags, "agreement/0.weight/log10_error"]))
    assert address.fragment == "timeseries"
    query = parse_qs(address.query)
    assert query["smoothing"] == ["0"]
    cards = json.loads(query["pinnedCards"][0])
    assert {card["plugin"] for card in cards} == {"scalars"}
    assert [card["tag"] for card in cards] == [
        "loss/train",
        "total/norm_before_clipping",
        "gradient/0.weight/rms",
        "gradient/3.weight/rms",
        "agreement/0.weight/log10_error",
    ]


def test_names_with_signs_of_their_own_survive():
    tags = ["gradient/a b&c=ü#.weight/rms"]
    query = parse_qs(urlparse(deep_link(tags)).query)
    assert [card["tag"] for card in json.loads(query["pinnedCards"][0])] == tags
