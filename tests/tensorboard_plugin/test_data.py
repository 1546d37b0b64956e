"""What the server packs is what the page gets: every bit of every number, and the header."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradlab.tensorboard_plugin.data import packed, unpacked

HEADERS = st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers() | st.booleans(), max_size=4)
ARRAYS = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: st.lists(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)), max_size=4
    ).map(lambda arrays: (np.dtype(dtype).name, arrays))
)


@given(HEADERS, ARRAYS)
def test_it_comes_back(header, numbers):
    dtype, arrays = numbers
    header = {**header, "dtype": dtype}
    content = packed(header, arrays)
    found, flat = unpacked(content)
    assert found == header
    expected = np.concatenate([a.reshape(-1) for a in arrays] or [np.empty(0, dtype)])
    assert flat.dtype == dtype
    assert flat.tobytes() == expected.tobytes()  # NaN and all: bit for bit


@given(HEADERS)
def test_the_numbers_begin_at_a_multiple_of_eight_bytes(header):
    """A typed array of JavaScript can begin nowhere else."""
    content = packed({**header, "dtype": "float64"}, [np.array([1.5])])
    assert np.frombuffer(content[-8:], "<f8") == 1.5
    assert len(content) % 8 == 0


def test_the_order_of_bytes_is_the_pages():
    content = packed({"dtype": "float64"}, [np.array([1.5, np.nan], ">f8")])
    assert np.frombuffer(content[-16:], "<f8").tolist()[0] == 1.5


def test_a_transposed_array_is_written_row_by_row():
    content = packed({"dtype": "float64"}, [np.arange(4.0).reshape(2, 2).T])
    assert unpacked(content)[1].tolist() == [0, 2, 1, 3]
