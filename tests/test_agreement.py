"""The comparison of two gradients: the definition is DESIGN's, the numbers are worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.agreement import compare, tolerance_for, worst_index, worst_place


def test_relative_error_is_the_largest_difference_over_the_largest_entry():
    a, b = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.5], dtype=torch.float64)
    assert compare({"w": (a, b)})["w"].error == pytest.approx(0.5 / 2.5)


def test_floor_is_a_thousandth_of_the_largest_gradient_of_the_backward_pass():
    big = torch.tensor([8.0], dtype=torch.float64)
    a, b = torch.tensor([0.0], dtype=torch.float64), torch.tensor([1e-9], dtype=torch.float64)
    agreements = compare({"big": (big, big), "true zero": (a, b)})
    assert agreements["true zero"].error == pytest.approx(1e-9 / 8e-3)
    assert not compare({"alone": (a, b)})["alone"].ok


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12])
def test_a_scaled_loss_hides_nothing(scale):
    a = scale * torch.randn(5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wrong = a.clone()
    wrong[3] *= 1.05
    agreement = compare({"w": (a, wrong)})["w"]
    assert not agreement.ok
    assert agreement.place == "w[3]"
    assert (agreement.manual, agreement.autograd) == (a[3].item(), wrong[3].item())


def test_all_zero_gradient_against_a_real_one_is_a_disagreement():
    assert not compare({"w": (torch.full((3,), 1e-7), torch.zeros(3))})["w"].ok


def test_none_agrees_with_none_and_with_zeros_only():
    zeros, ones = torch.zeros(2), torch.ones(2)
    agreements = compare({"both": (None, None), "zeros": (None, zeros), "ones": (ones, None)})
    assert agreements["both"].ok
    assert agreements["zeros"].ok
    assert not agreements["ones"].ok
    assert agreements["ones"].autograd is None


def test_nan_agrees_only_with_nan_at_the_same_place():
    nan = torch.tensor([math.nan, 1.0])
    assert compare({"w": (nan, nan.clone())})["w"].ok
    agreement = compare({"w": (nan, torch.ones(2))})["w"]
    assert not agreement.ok
    assert agreement.index == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tolerance_is_the_root_of_machine_epsilon(dtype):
    eps = 1.0
    while torch.tensor(1.0, dtype=dtype) + torch.tensor(eps / 2, dtype=dtype) != 1:
        eps /= 2
    assert tolerance_for(dtype) == pytest.approx(math.sqrt(eps))


def test_worst_index_counts_nan_as_worst():
    a = torch.zeros(2, 3)
    b = a.clone()
    b[0, 1], b[1, 2] = 5.0, math.nan
    assert worst_index(a, b) == (1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("worst", [-3.0, 5.0, math.nan, math.inf])
def test_large_tensors_alone(dtype, worst):
    """The largest entry is found by another way there; what differs must come out at its place all the same."""
    a = torch.ones(100, 100, dtype=dtype)
    b = a.clone()
    b[70, 3] = worst
    (found,) = compare({"w": (a, b)}).values()
    assert not found.ok
    assert found.place == "w[70,3]"
    assert found.error == (math.inf if not math.isfinite(worst) else pytest.approx(abs(worst - 1) / max(abs(worst), 1)))
    assert compare({"w": (a, a.clone())})["w"].error == 0


@pytest.mark.parametrize("shape", [(300, 700), (700, 300), (200_000,), (1, 200_000), (7, 100, 300)])
@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("where", [0.0, 0.6, 1.0])
def test_what_is_compared_piece_by_piece(shape, is_turned, where):
    """NumPy compares the whole at once; a gradient may be a transposed view."""
    torch.manual_seed(0)
    a = torch.randn(shape[::-1]).permute(*reversed(range(len(shape)))) if is_turned else torch.randn(shape)
    b = a.clone()
    index = tuple(int(where * (size - 1)) for size in shape)
    b[index] += 9.0
    apart = np.abs(a.numpy() - b.numpy())
    assert worst_index(a, b) == np.unravel_index(apart.argmax(), shape) == index
    assert worst_place(a, b) == apart.argmax()
    (found,) = compare({"w": (a, b)}).values()
    assert (found.index, found.error) == (index, pytest.approx(apart.max() / np.abs(b.numpy()).max(), rel=1e-6))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([(), (0,), (1,), (3,), (2, 3), (2, 0, 3)]),
            st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.complex128]),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 1000),
)
def test_small_tensors_of_all_kinds_together(kinds, seed):
    draw = torch.Generator().manual_seed(seed)
    pairs = {}
    for place, (shape, dtype, is_turned, differs) in enumerate(kinds):
        a = torch.randn(shape, generator=draw, dtype=torch.complex128 if dtype.is_complex else torch.float64).to(dtype)
        b = a + differs * torch.rand(shape, generator=draw, dtype=torch.float64).to(dtype)
        pairs[str(place)] = (a.mT, b.mT) if is_turned and a.dim() == 2 else (a, b)
    found = compare(pairs)
    wide = {name: [t.to(torch.complex128).numpy() for t in pair] for name, pair in pairs.items()}
    largest = {name: max(np.abs(t).max(initial=0) for t in pair) for name, pair in wide.items()}
    for name, (a, b) in wide.items():
        scale = max(largest[name], 1e-3 * max(largest.values()))
        expected = np.abs(a - b).max(initial=0) / scale if scale else 0
        assert found[name].error == pytest.approx(expected, rel=1e-6)
        assert found[name].partials == a.size
