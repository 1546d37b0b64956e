"""Data sets: what is in them, how they are split and scaled, and that chance is the seed's alone."""

import math
from itertools import chain

import numpy as np
import pytest
import sklearn.datasets
import torch

from gradlab.data import Circles, Diabetes, Digits, Iris, Moons, Sine, Spiral, TableData

# Rows, features, outputs and classes; the real ones as scikit-learn's documentation states them.
FACTS = {
    Digits: (1797, 64, 10, 10),
    Iris: (150, 4, 3, 3),
    Diabetes: (442, 10, 1, None),
    Moons: (500, 2, 2, 2),
    Circles: (500, 2, 2, 2),
    Spiral: (500, 2, 2, 2),
    Sine: (500, 1, 1, None),
}
every_set = pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.__name__)
made_up = pytest.mark.parametrize("kind", [Moons, Circles, Spiral, Sine], ids=lambda kind: kind.__name__)


def ready(kind, **arguments):
    data = kind(**arguments)
    data.setup()
    return data


class Numbered(TableData):
    """Row i is the number i, so that a batch shows which rows it holds."""

    option = "numbered"
    features = outputs = 1
    rows = 10

    def table(self):
        column = torch.arange(self.rows, dtype=torch.float64).unsqueeze(1)
        return column, column

    def scale(self, x, train):
        return x


def epoch(loader):
    return [x.flatten().tolist() for x, _ in loader]


@every_set
def test_shapes_and_types(kind):
    rows, features, outputs, classes = FACTS[kind]
    data = ready(kind, batch_size=7)
    train = int(0.8 * rows)
    assert (data.features, data.outputs, data.classes) == (features, outputs, classes)
    for x, y, count in [(data.x_train, data.y_train, train), (data.x_test, data.y_test, rows - train)]:
        assert (x.dtype, x.shape) == (torch.float32, (count, features))
        target = (torch.float32, (count, 1)) if classes is None else (torch.int64, (count,))
        assert (y.dtype, y.shape) == target
        assert x.isfinite().all()
    if classes is not None:
        assert data.y_train.unique().tolist() == list(range(classes))


@every_set
def test_split_is_disjoint_and_complete(kind):
    data = ready(kind)
    rows = torch.cat([data.train_rows, data.test_rows])
    assert rows.sort().values.equal(torch.arange(FACTS[kind][0]))
    assert not data.train_rows.equal(torch.arange(len(data.train_rows))), "the split is not at random"


@pytest.mark.parametrize(("kind", "load"), [(Digits, "load_digits"), (Iris, "load_iris"), (Diabetes, "load_diabetes")])
def test_real_rows_are_scikit_learns(kind, load):
    data = ready(kind)
    x, y = getattr(sklearn.datasets, load)(return_X_y=True)
    train, test = data.train_rows.numpy(), data.test_rows.numpy()
    mean, std = (0, 16) if kind is Digits else (x[train].mean(axis=0), x[train].std(axis=0))
    # float32 keeps 24 bits
    np.testing.assert_allclose(data.x_train.numpy(), (x[train] - mean) / std, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(data.x_test.numpy(), (x[test] - mean) / std, rtol=1e-5, atol=1e-6)
    if kind is Diabetes:
        y = (y - y[train].mean()) / y[train].std()
        np.testing.assert_allclose(data.y_test.numpy()[:, 0], y[test], rtol=1e-5, atol=1e-6)
    else:
        assert data.y_test.tolist() == y[test].tolist()


@pytest.mark.parametrize("kind", [Iris, Diabetes, Moons, Circles, Spiral], ids=lambda kind: kind.__name__)
def test_features_are_standardized_by_the_train_split(kind):
    data = ready(kind)
    torch.testing.assert_close(data.x_train.mean(dim=0), torch.zeros(data.features), rtol=0, atol=1e-5)
    torch.testing.assert_close(data.x_train.std(dim=0, correction=0), torch.ones(data.features))


def test_a_constant_column_stays_at_zero():
    class Constant(Numbered):
        features = 2
        rows = 997

        def table(self):
            x = torch.full((self.rows, 2), 0.1, dtype=torch.float64)  # no binary fraction: a mean may be rounded
            x[:, 1] = torch.arange(self.rows)
            return x, x[:, 1:]

        scale = TableData.scale

    data = ready(Constant, batch_size=2)
    assert data.x_train[:, 0].tolist() == [0.0] * len(data.x_train)
    assert data.x_train[:, 1].abs().max() > 1


def test_moons_and_circles_are_scikit_learns():
    for kind, make, extra in [
        (Moons, sklearn.datasets.make_moons, {}),
        (Circles, sklearn.datasets.make_circles, {"factor": 0.5}),
    ]:
        x, y = kind(samples=40, noise=0.2, seed=5).table()
        expected, classes = make(40, noise=0.2, random_state=5, **extra)
        np.testing.assert_array_equal(x.numpy(), expected)
        np.testing.assert_array_equal(y.numpy(), classes)


def test_spirals_are_each_other_turned_by_half_a_circle():
    x, y = Spiral(samples=200, noise=0.0).table()
    radius = x.norm(dim=1)
    angle = torch.atan2(x[:, 1], x[:, 0])
    # The radius t fixes the angle: 3π t, and π more for class 1.
    away = (angle - 3 * math.pi * radius - math.pi * y) / (2 * math.pi)
    torch.testing.assert_close(away, away.round(), rtol=0, atol=1e-9)
    assert y.bincount().tolist() == [100, 100]
    assert 0.9 < radius.max() <= 1


def test_sine_is_a_sine_with_the_noise_asked_for():
    data = ready(Sine, samples=4000, noise=0.3)
    assert data.x_train.abs().max() <= math.pi
    rest = data.y_train - data.x_train.sin()
    # The standard error of a standard deviation of 3,200 draws is 0.3 / √6400 = 0.004.
    assert rest.std().item() == pytest.approx(0.3, abs=0.02)
    assert rest.mean().item() == pytest.approx(0.0, abs=0.03)


@every_set
def test_chance_is_the_seeds_alone(kind):
    torch.manual_seed(1)
    np.random.seed(1)
    first = ready(kind, seed=3)
    epochs = [epoch(loader) for loader in [first.train_dataloader()] for _ in range(2)]
    torch.manual_seed(2)
    np.random.seed(2)
    second, other = ready(kind, seed=3), ready(kind, seed=4)
    assert first.x_train.equal(second.x_train)
    assert first.y_test.equal(second.y_test)
    assert epochs == [epoch(loader) for loader in [second.train_dataloader()] for _ in range(2)]
    assert not first.x_train.equal(other.x_train)


@every_set
def test_global_random_states_are_left_alone(kind):
    before, numpys = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    data = ready(kind)
    for loader in (data.train_dataloader(), data.test_dataloader()):
        for _ in loader:
            pass
    assert torch.random.get_rng_state().equal(before)
    assert np.array_equal(np.random.get_state()[1], numpys)


def test_every_epoch_has_every_row_in_a_new_order():
    data = ready(Numbered, batch_size=3)
    loader = data.train_dataloader()
    first, second = epoch(loader), epoch(loader)
    assert len(loader) == 3
    assert [len(batch) for batch in first] == [3, 3, 2]
    assert sorted(chain(*first)) == sorted(chain(*second)) == sorted(data.train_rows.tolist())
    assert first != second
    assert all(x.equal(y) for x, y in loader), "features and targets are out of step"


def test_the_test_split_is_one_batch():
    data = ready(Numbered, batch_size=3)
    ((x, y),) = data.test_dataloader()
    assert x.equal(data.x_test)
    assert y.equal(data.y_test)
    assert len(data.test_dataloader()) == 1


def test_setup_happens_once():
    data = ready(Numbered, batch_size=3)
    x = data.x_train
    data.setup("test")
    assert data.x_train is x


@pytest.mark.parametrize("batch_size", [0, -5, 2.0, True, None, "8"])
def test_a_batch_has_a_whole_number_of_rows(batch_size):
    with pytest.raises(ValueError, match=r"data.batch_size must be a whole number from 1 on, got"):
        Iris(batch_size=batch_size)


def test_a_batch_is_no_larger_than_the_train_split():
    assert len(ready(Numbered, batch_size=8).train_dataloader()) == 1
    with pytest.raises(ValueError, match=r"whole number from 1 to 8, the rows of the train split, got 9"):
        ready(Numbered, batch_size=9)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2³² − 1, got"):
        Iris(seed=seed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"features": 63}, r"data=digits has data.features=64, not 63"),
        ({"outputs": 2}, r"data=digits has data.outputs=10, not 2"),
        ({"image": [3, 8, 8]}, r"data=digits has data.image=\(1, 8, 8\), not \(3, 8, 8\)"),
    ],
)
def test_the_configured_shape_is_the_real_one(arguments, said):
    with pytest.raises(ValueError, match=said + r": leave the key as it is"):
        Digits(**arguments)


def test_a_class_that_misstates_its_table_is_noticed():
    class Misstated(Numbered):
        features = 3

    with pytest.raises(ValueError, match=r"data=numbered has data.features=1, not 3"):
        ready(Misstated, batch_size=1)


@made_up
@pytest.mark.parametrize("samples", [4, 0, -1, 10.0, None, True])
def test_samples_are_a_whole_number(kind, samples):
    with pytest.raises(ValueError, match=r"data.samples must be a whole number from 5 on, got"):
        kind(samples=samples)


@made_up
@pytest.mark.parametrize("noise", [-0.1, math.inf, math.nan, None, "much"])
def test_noise_is_a_finite_number(kind, noise):
    with pytest.raises(ValueError, match=r"data.noise is a standard deviation, a finite number from 0 on, got"):
        kind(noise=noise)


def test_a_data_set_without_a_table_says_so():
    class Empty(TableData):
        option = "empty"
        features = outputs = 1

    with pytest.raises(NotImplementedError, match=r"Empty is a data set without a table\(\): write one"):
        Empty().setup()
