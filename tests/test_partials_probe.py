"""Partials as curves and pictures, with the weights beside them: against autograd and a loop in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gradlab
from gradlab.figures import partial_matrices
from gradlab.probes import PartialsProbe
from gradlab.probes.partials import cells, picture
from gradlab.records import Array
from gradlab.schedules import at, every
from gradlab.sinks import MemorySink


def trained(model, folder, steps=4, **settings):
    """The records of a few steps, and the weights and gradients before each update by plain autograd."""
    memory = MemorySink()
    x = torch.linspace(-1.0, 1.0, 5 * model[0].in_features).reshape(5, -1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    lab = gradlab.watch(model, optimizer, folder, sinks=[memory], probes={"partials": PartialsProbe(**settings)})
    for _ in range(steps):
        with lab.step():
            optimizer.zero_grad()
            model(x).square().mean().backward()
            named = dict(model.named_parameters())
            expected.append({n: (p.detach().numpy().copy(), p.grad.numpy().copy()) for n, p in named.items()})
            optimizer.step()
    lab.close()
    return memory, expected


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    return trained(nn.Sequential(nn.Linear(100, 3), nn.Linear(3, 2)), folder, matrices=at([0, 2]))


def test_weights_and_gradients_before_the_same_update_lie_beside_each_other(run):
    memory, expected = run
    for which, prefix in enumerate(["weight", "partial"]):
        steps, values = memory.arrays(f"{prefix}/1.weight")
        assert steps.tolist() == [0, 2]
        assert np.array_equal(values, [expected[step]["1.weight"][which] for step in steps])


def test_each_cell_of_a_large_matrix_says_which_entry_it_shows(run):
    memory, expected = run
    steps, entries = memory.arrays("entry/0.weight")
    assert steps.tolist() == [0, 2]
    for step, (rows, columns), gradients, weights in zip(
        steps, entries, memory.arrays("partial/0.weight")[1], memory.arrays("weight/0.weight")[1], strict=True
    ):
        weight, gradient = expected[step]["0.weight"]
        assert rows.shape == (3, 64)
        assert np.array_equal(gradients, gradient[rows, columns])
        assert np.array_equal(weights, weight[rows, columns])


def test_only_matrices_have_pictures_and_only_pooled_ones_entries(run):
    memory, _ = run
    arrays = {record.tag for record in memory.records(Array)}
    small = {f"{prefix}/{n}" for prefix in ("partial", "weight") for n in ("0.weight", "1.weight")}
    assert arrays == {*small, "entry/0.weight"}


def test_the_figure_of_matrices_leaves_out_what_has_a_curve_for_each_entry(run, tmp_path):
    memory, _ = run
    titles = [axes.get_title(loc="left") for axes in partial_matrices.figure(memory).axes]
    assert [title for title in titles if title] == ["0.weight: step 0", "step 2"]
    small, _ = trained(nn.Sequential(nn.Linear(3, 2)), tmp_path)
    assert small.tags("partial/0.weight[")
    assert not partial_matrices.ready(small)


def test_the_pictures_keep_to_their_own_schedule(tmp_path):
    memory, _ = trained(nn.Sequential(nn.Linear(2, 2)), tmp_path, schedule=every(2), matrices=at([1, 3]))
    assert memory.arrays("weight/0.weight")[0].tolist() == [1, 3]
    assert memory.scalars("partial/")["partial/0.weight[0,1]"][0].tolist() == [0, 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 2**31))
def test_a_cell_shows_the_largest_entry_of_its_own_part_of_the_matrix(rows, columns, seed):
    matrix = np.random.default_rng(seed).normal(size=(rows, columns))
    shown = picture(torch.from_numpy(matrix)).numpy()
    height, width = min(rows, 64), min(columns, 64)
    assert shown.shape == (height, width)
    for i in range(height):
        for j in range(width):
            # Each side is cut at ⌊i n / 64⌋ and ⌈(i + 1) n / 64⌉, as PyTorch documents its adaptive pooling.
            above, below = i * rows // height, -(-(i + 1) * rows // height)
            left, right = j * columns // width, -(-(j + 1) * columns // width)
            assert abs(shown[i, j]) == np.abs(matrix[above:below, left:right]).max()


def test_a_kernel_becomes_rows_and_all_that_follows_columns():
    kernel = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert np.array_equal(picture(kernel).numpy(), np.arange(24.0).reshape(2, 12))


def test_each_entry_has_a_cell_of_its_own_up_to_64():
    assert cells(torch.zeros(64, 64)) is None
    assert cells(torch.zeros(65, 1)).shape == (64, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_every_type_of_number_is_shown_by_numbers_that_numpy_has(dtype):
    assert picture(torch.tensor([[1.5, -2.0]], dtype=dtype)).tolist() == [[1.5, -2.0]]
