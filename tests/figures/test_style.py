"""Long names beside a picture: short enough, and still told from each other."""

from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradlab.figures import style

parts = st.from_regex(r"[a-z][a-z_]{0,14}[0-9]{0,2}|[0-9]{1,2}", fullmatch=True)
names = st.lists(parts, min_size=1, max_size=8).map(".".join)


@given(name=names, length=st.integers(8, 60))
def test_a_short_name_fits_and_ends_as_the_name_does(name, length):
    short = style.shorten(name, length)
    assert len(short) <= length
    assert short == name if len(name) <= length else short[-1] == name[-1]


def test_parameters_of_a_transformer_stay_different():
    """The middle of such a name, cut out, would leave many alike."""
    model = nn.ModuleDict({"net": nn.Transformer(8, 2, 2, 2, 8, batch_first=True)})
    found = [name for name, _ in model.named_parameters()]
    assert len(set(style.shorten_all(found))) == len(found)


@given(name=names, width=st.integers(10, 30))
def test_two_lines_at_most_and_neither_too_wide(name, width):
    lines = style.in_lines(name, width).splitlines()
    assert len(lines) <= 2
    assert all(len(line) <= width for line in lines)
