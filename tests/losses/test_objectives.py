"""Objectives against torch.nn.functional, numbers worked out by hand, and their own error messages."""

import math

import pytest
import torch
import torch.nn.functional as F

from gradlab.losses import L1, Bce, CrossEntropy, Huber, Mse

REGRESSIONS = [(Mse(), F.mse_loss), (L1(), F.l1_loss), (Huber(), F.huber_loss)]
NUMBERS = [*REGRESSIONS, (Bce(), F.binary_cross_entropy_with_logits)]
names = {"ids": lambda v: type(v).__name__}
every_numbers = pytest.mark.parametrize(("loss", "function"), NUMBERS, **names)
every_objective = pytest.mark.parametrize("loss", [Mse(), L1(), Huber(), Bce(), CrossEntropy()], **names)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@every_numbers
def test_float_targets_are_torchs(loss, function):
    prediction, target = random(6, 3), random(6, 3).sigmoid().flip(0)
    assert loss(prediction, target).equal(function(prediction, target))


@every_numbers
def test_class_numbers_become_one_hot_rows(loss, function):
    prediction, classes = random(4, 3), torch.tensor([2, 0, 1, 2])
    rows = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert loss(prediction, classes).equal(function(prediction, rows))


@every_numbers
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_class_numbers_become_a_column(loss, function, dtype):
    prediction, classes = random(4, 1), torch.tensor([1, 0, 0, 1]).to(dtype)
    column = torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    assert loss(prediction, classes).equal(function(prediction, column))


@every_numbers
def test_whole_numbers_of_the_predictions_shape_are_numbers(loss, function):
    prediction, target = random(2, 2), torch.tensor([[0, 1], [1, 1]])
    assert loss(prediction, target).equal(function(prediction, target.float()))


def test_regressions_take_class_numbers_beyond_one_as_numbers():
    # (0 − 3)² = 9 and (0 − 7)² = 49
    assert Mse()(torch.zeros(2, 1), torch.tensor([3, 7])).item() == 29.0


def test_cross_entropy_is_torchs():
    prediction, classes = random(5, 4), torch.tensor([0, 3, 1, 2, 2])
    assert CrossEntropy()(prediction, classes).equal(F.cross_entropy(prediction, classes))
    assert CrossEntropy()(prediction, classes.int()).equal(F.cross_entropy(prediction, classes))
    smooth = CrossEntropy(label_smoothing=0.1)(prediction, classes)
    assert smooth.equal(F.cross_entropy(prediction, classes, label_smoothing=0.1))


def test_cross_entropy_over_images_single_rows_and_ignored_rows():
    pixels, classes = (
        random(2, 3, 4, 4),
        torch.randint(3, (2, 4, 4), generator=torch.Generator().manual_seed(0)),
    )
    assert CrossEntropy()(pixels, classes).equal(F.cross_entropy(pixels, classes))
    row = random(3)
    assert CrossEntropy()(row, torch.tensor(2)).equal(F.cross_entropy(row, torch.tensor(2)))
    some = torch.tensor([1, -100, 0])
    assert CrossEntropy()(random(3, 2), some).equal(F.cross_entropy(random(3, 2), some))


SETTINGS = [
    {},
    {"label_smoothing": 0.1},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"weight": torch.tensor([1.0, 2.0, 0.5])},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: next(iter(s), "plain"))
@pytest.mark.parametrize("shape", [(2, 5), (4, 3, 2)])
def test_classes_may_stand_last(settings, shape):
    logits = random(*shape, 3)
    classes = torch.randint(3, shape, generator=torch.Generator().manual_seed(0))
    classes[0, 0] = -100
    loss = CrossEntropy(**settings)(logits, classes)
    torch.testing.assert_close(loss, F.cross_entropy(logits.movedim(-1, 1), classes, **settings))


def test_where_classes_stand_is_asked_when_both_axes_fit():
    logits, classes = random(2, 3, 3), torch.tensor([[0, 2, 1], [1, 1, 0]])
    message = r"whether the classes of logits .* second or last.*set loss.class_axis=1 or loss.class_axis=-1"
    with pytest.raises(ValueError, match=message):
        CrossEntropy()(logits, classes)
    second, last = (CrossEntropy(class_axis=axis)(logits, classes) for axis in (1, -1))
    assert second.equal(F.cross_entropy(logits, classes))
    torch.testing.assert_close(last, F.cross_entropy(logits.mT, classes))
    assert second != last


def test_classes_stand_where_the_axis_says():
    with pytest.raises(ValueError, match=r"takes logits \[N, C\] and class numbers \[N\], got logits .*\[2, 5, 3\]"):
        CrossEntropy(class_axis=1)(random(2, 5, 3), torch.zeros(2, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"finds the classes in axis 1 or −1 \(loss.class_axis\), got 2"):
        CrossEntropy(class_axis=2)


def test_values_and_gradients_by_hand():
    prediction = torch.tensor([[0.5], [4.0]], dtype=torch.float64)
    target = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    expected = {
        Mse: (2.125, [0.5, 2.0]),  # (0.25 + 4) / 2, and 2 d / 2
        L1: (1.25, [0.5, 0.5]),  # (0.5 + 2) / 2, and sign(d) / 2
        Huber: (0.8125, [0.25, 0.5]),  # (0.125 + 1 · (2 − 0.5)) / 2, and clamp(d, −1, 1) / 2
    }
    for objective, (value, slope) in expected.items():
        theta = prediction.clone().requires_grad_()
        loss = objective()(theta, target)
        loss.backward()
        assert loss.item() == value
        assert theta.grad is not None
        assert theta.grad.flatten().tolist() == slope
    assert Huber(delta=0.5)(prediction, target).item() == 0.5  # (0.125 + 0.5 · (2 − 0.25)) / 2


def test_logits_by_hand():
    # Softmax of (log 1, log 3) is (1/4, 3/4); the sigmoid of log 3 is 3/4.
    logits = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64, requires_grad=True)
    loss = CrossEntropy()(logits, torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(4 / 3))
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope.flatten().tolist() == pytest.approx([0.25, -0.25])
    assert Bce()(logits[:, 1:], torch.tensor([0])).item() == pytest.approx(math.log(4))


@every_objective
def test_no_target(loss):
    name = {"CrossEntropy": "cross_entropy"}.get(type(loss).__name__, type(loss).__name__.lower())
    message = rf"loss={name} compares .*data=none gives none.*data=digits, .*characters; .*loss=quadratic, rosenbrock"
    with pytest.raises(ValueError, match=message):
        loss(random(2, 2), None)


@every_numbers
@pytest.mark.parametrize("target", [torch.zeros(4), torch.zeros(4, 2), torch.zeros(1, 1), torch.zeros(4, 1, 1)])
def test_shapes_that_would_broadcast_are_refused(loss, function, target):
    with pytest.raises(ValueError, match=r"entry by entry, got a prediction float32 of shape \[4, 1\] .*one shape"):
        loss(torch.zeros(4, 1), target)


@every_numbers
def test_as_many_class_numbers_as_rows(loss, function):
    with pytest.raises(ValueError, match=r"entry by entry, .* target int64 of shape \[3\]"):
        loss(torch.zeros(4, 2), torch.tensor([0, 1, 0]))


@every_objective
@pytest.mark.parametrize(("number", "found"), [(3, "0 to 3"), (-1, "-1 to 0")])
def test_class_numbers_without_a_column_are_refused(loss, number, found):
    message = rf"got class numbers from {found}, and the prediction has columns for 0 to 2: set model.out_features"
    with pytest.raises(ValueError, match=message):
        loss(random(2, 3), torch.tensor([0, number]))


def test_cross_entropy_refuses_float_targets():
    message = (
        r"cross_entropy takes class numbers \(int64\), got float32 of shape \[2, 1\]: choose loss=mse, "
        r"huber or l1, or data with classes: data=digits, iris, moons, circles, spiral, characters"
    )
    with pytest.raises(ValueError, match=message):
        CrossEntropy()(random(2, 3), torch.zeros(2, 1))


def test_cross_entropy_refuses_a_single_column():
    with pytest.raises(ValueError, match=r"set model.out_features to the number of classes, or use loss=bce"):
        CrossEntropy()(random(2, 1), torch.tensor([0, 0]))


@pytest.mark.parametrize("target", [torch.tensor([0]), torch.tensor([[0], [1]]), torch.tensor(0)])
def test_cross_entropy_refuses_other_shapes(target):
    with pytest.raises(ValueError, match=r"takes logits \[N, C\] and class numbers \[N\].*one class number for every"):
        CrossEntropy()(random(2, 3), target)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (torch.tensor([0, 9]), "0 to 9"),
        (torch.tensor([[0.5], [-0.25]]), "-0.25 to 0.5"),
        (torch.tensor([[0.5], [1.5]]), "0.5 to 1.5"),
        (torch.tensor([[0.5], [math.nan]]), "nan to nan"),
    ],
)
def test_bce_refuses_targets_that_are_no_probabilities(target, found):
    with pytest.raises(ValueError, match=rf"bce takes the classes 0 and 1.*from {found}: .*loss=cross_entropy"):
        Bce()(random(2, 1), target)


@pytest.mark.parametrize("delta", [0.0, -1.0, math.inf, math.nan])
def test_huber_refuses_a_delta_that_is_not_above_zero(delta):
    with pytest.raises(ValueError, match=r"huber needs a finite delta above 0 \(loss.delta\)"):
        Huber(delta=delta)


def test_a_device_is_not_waited_for():
    # On the meta device any reading of a value raises.
    prediction = torch.zeros(4, 3, device="meta")
    for loss in (Mse(), L1(), Huber(), Bce(), CrossEntropy()):
        assert loss(prediction, torch.zeros(4, dtype=torch.int64, device="meta")).shape == ()
