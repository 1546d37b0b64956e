"""The numbers of a gradient against NumPy in double precision, also where they are hard to get."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from oracles import statistics_of

from gradlab.probes.pieces import PIECE, in_pieces
from gradlab.probes.series import SMALL, Series
from gradlab.probes.statistics import FIELDS, cosine, histogram, ratio, statistics, wide

sizes = st.one_of(st.just(0.0), st.floats(1e-30, 1e30))  # beyond them NumPy's squares vanish
entries = st.builds(lambda size, sign: size * sign, sizes, st.sampled_from([-1.0, 1.0]))
rows = arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=entries)


def check(found, g, rel):
    for name, value in statistics_of(g).items():
        scale = np.abs(g[np.isfinite(g)]).max(initial=0)
        got = float(found[FIELDS.index(name)])
        assert got == pytest.approx(value, rel=rel, abs=rel * scale, nan_ok=True), name


@given(rows)
@settings(max_examples=60, deadline=None)
def test_statistics_of_any_rows(values):
    for found, g in zip(statistics(torch.from_numpy(values)), values, strict=True):
        check(found, g, 1e-12)


@given(rows, st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_a_histogram_counts_every_entry_between_its_edges(values, bars):
    for found, g in zip(histogram(torch.from_numpy(values), bars).numpy(), values, strict=True):
        low, high, counts = found[0], found[1], found[2:]
        assert low <= g.min() <= g.max() <= high
        assert counts.sum() == g.size
        # Cumulated, rounding at an edge can move an entry by one bar only.
        edges = np.linspace(low, high, bars + 1)
        width = (high - low) * 1e-9
        for bar in range(1, bars):
            below = counts[:bar].sum()
            assert np.sum(g < edges[bar] - width) <= below <= np.sum(g <= edges[bar] + width)


def test_a_histogram_leaves_out_what_is_not_finite():
    g = torch.tensor([[0.0, float("inf"), 2.0, float("nan"), 1.0], [float("nan")] * 5, [3.0] * 5]).double()
    found = histogram(g, 2).tolist()
    assert found[0] == [0.0, 2.0, 1.0, 2.0]
    assert np.isnan(found[1][:2]).all()
    assert found[1][2:] == [0, 0]
    assert found[2][0] < 3 < found[2][1]
    assert sum(found[2][2:]) == 5


def test_cosine_and_ratio_against_angles_and_lengths():
    angles = np.array([0.0, 1.0, 2.0, 3.0])
    a = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], 1)) * 7
    b = torch.tensor([[2.0, 0.0]]).double().expand(4, 2)
    assert cosine(a, b).numpy() == pytest.approx(np.cos(angles), abs=1e-15)
    assert cosine(a, torch.zeros(4, 2)).isnan().all()
    assert ratio(b, b * 1.001).numpy() == pytest.approx([0.001] * 4, rel=1e-12)


HARD = {
    "plain": lambda n, r: r.standard_normal(n),
    "half zeros": lambda n, r: r.standard_normal(n) * (r.random(n) < 0.5),
    "a spread far below the mean": lambda n, r: 1.0 + 1e-5 * r.standard_normal(n),
    "squares that vanish": lambda n, r: 1e-25 * r.standard_normal(n),
    "squares that overflow": lambda n, r: 1e25 * r.standard_normal(n),
    "all zero": lambda n, r: np.zeros(n),
    "one NaN": lambda n, r: np.where(np.arange(n) == 5, np.nan, r.standard_normal(n)),
    "one infinity": lambda n, r: np.where(np.arange(n) == 5, np.inf, r.standard_normal(n)),
}


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("count", [SMALL + 1, PIECE + 17])
def test_a_large_gradient_in_pieces(kind, count):
    random = np.random.default_rng(0)
    first, second = (torch.from_numpy(HARD[kind](count, random)).float() for _ in range(2))
    previous = first.clone()
    found, inner = in_pieces(second, previous, precise=kind.startswith("squares"))
    check(found, second.double().numpy(), 1e-5)
    assert torch.equal(previous, second) or kind == "one NaN"
    exact = float(first.double() @ second.double())
    # The error of a sum of float32 products grows with their sizes, not with the sum.
    size = float(first.double().abs() @ second.double().abs())
    if np.isfinite(size) and size > 0:  # else there is no angle
        assert inner == pytest.approx(exact, abs=1e-5 * size)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.complex64])
@pytest.mark.parametrize("count", [50, SMALL + 50])
def test_every_dtype(dtype, count):
    torch.manual_seed(0)
    weight = torch.randn(count, dtype=dtype)
    series = Series({"w": weight}, bars=5)
    gradients = [torch.randn(count, dtype=dtype) for _ in range(3)]
    before = []
    for step, g in enumerate(gradients):
        before.append(weight.clone())
        series.add(step, [g])
        weight -= 0.1 * g
    steps, numbers = series.drain()
    assert steps.tolist() == [0, 1, 2]
    flat = [wide(g.unsqueeze(0))[0].numpy() for g in gradients]
    for row, g in zip(numbers[:, 0], flat, strict=True):
        check(row, g, 1e-5)
        assert row[len(FIELDS) + 4 :].sum() == g.size
    for place in (1, 2):
        a, b = flat[place], flat[place - 1]
        value = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert numbers[place, 0, len(FIELDS)] == pytest.approx(value, abs=1e-5)
    after = [*before[1:], weight]
    moved = [
        float(wide((b - a).unsqueeze(0)).norm() / wide(a.unsqueeze(0)).norm())
        for a, b in zip(before, after, strict=True)
    ]
    rounding = torch.finfo(dtype).eps
    assert numbers[:, 0, len(FIELDS) + 1] == pytest.approx(moved, rel=10 * rounding)


def test_a_gradient_so_small_that_squares_vanish_still_has_an_angle():
    torch.manual_seed(0)
    count = SMALL + 1
    series = Series({"w": torch.ones(count)}, bars=3)
    gradients = [1e-25 * torch.randn(count) for _ in range(4)]
    for step, g in enumerate(gradients):
        series.add(step, [g])
    _, numbers = series.drain()
    found = numbers[:, 0, len(FIELDS)]
    a, b = (g.double() for g in gradients[2:])
    assert found[3] == pytest.approx(float(a @ b / a.norm() / b.norm()), rel=1e-5)
