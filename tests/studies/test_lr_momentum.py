"""Steps over learning rate and momentum: when each has arrived, the optimum of theory, and that a gap is noticed."""

import math

import numpy as np
import pytest
import torch
from bowls import Setting, arrival_of
from hypothesis import given
from hypothesis import strategies as st

from gradlab.errors import BadInput
from gradlab.losses import Booth, Quadratic
from gradlab.studies.heavy_ball import HeavyBall, arrivals
from gradlab.studies.lr_momentum import LrMomentum

BOWL = Quadratic(dimension=2, condition=16.0)
SHRINK = 1e-3


@pytest.fixture(scope="module")
def found():
    return LrMomentum(count=20, shrink=SHRINK)(Setting(BOWL, steps=150))


@given(st.lists(st.floats(0, 10) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=12))
def test_arrived_is_near_from_then_on(distances):
    values = np.array([4.0, *distances])
    expected = arrival_of(values.tolist(), 1.0)
    assert arrivals(values[:, None], 0.25).tolist() == [math.inf if expected < 0 else expected]


def test_the_settings_of_theory_have_its_factor():
    ball = HeavyBall(np.array([1.0, 16.0]), (1.0, 1.0), SHRINK)
    assert ball.optimum == pytest.approx((0.16, 0.36))  # 4 / (√16 + √1)², ((√16 − 1) / (√16 + 1))²
    assert ball.factors(*ball.optimum) == pytest.approx(0.6, rel=1e-6)
    assert ball.roughly(*ball.optimum) == pytest.approx(math.log(1e-3) / math.log(0.6), rel=1e-5)
    assert ball.roughly(1.0, 0.0) == math.inf


def steps_of_torch(*settings, steps=80):
    """Of torch's own optimizer for pairs of a learning rate and a momentum, each in a group of parameters."""
    thetas = [torch.nn.Parameter(torch.tensor(BOWL.start, dtype=torch.float64)) for _ in settings]
    groups = [{"params": [p], "lr": lr, "momentum": m} for p, (lr, m) in zip(thetas, settings, strict=True)]
    optimizer, distances = torch.optim.SGD(groups, foreach=True), []
    for _ in range(steps):
        points = torch.stack(thetas)
        distances.append(points.detach().norm(dim=-1).tolist())
        optimizer.zero_grad()
        BOWL(points).sum().backward()
        optimizer.step()
    return [arrival_of(own, SHRINK * own[0]) for own in zip(*distances, strict=True)]


def test_the_steps_are_those_of_torchs_own_optimizer(found):
    numbers = found.numbers
    assert [numbers["steps, theory's optimum"]] == steps_of_torch((0.16, 0.36))
    without = steps_of_torch(*((0.25 * i / 20, 0.0) for i in range(1, 21)))  # up to 4/λmax
    assert numbers["steps, best without momentum"] == min(steps for steps in without if steps > 0)
    left, *_ = found.figures["lr_momentum"].axes
    cells = left.lines[1].get_xydata().tolist()
    assert len(cells) == numbers["best cells"]
    assert steps_of_torch(*cells) == [numbers["steps, best cells"]] * len(cells)
    assert np.mean(cells, axis=0) == pytest.approx([numbers["lr, best cells"], numbers["momentum, best cells"]])
    assert numbers["steps, best cells"] <= numbers["steps, theory's optimum"]


def test_nothing_arrives_beyond_the_edge(found):
    assert found.numbers["cells"] == 400
    assert found.numbers["cells that arrive beyond the edge"] == 0
    assert 100 < found.numbers["cells that arrive"] < 400


def test_the_witnesses_agree_in_every_cell(found):
    assert len(found.errors) == 2
    assert max(found.errors.values()) == 0


def test_descents_with_other_learning_rates_than_said_are_noticed():
    wrong = LrMomentum(count=20, shrink=SHRINK)(Setting(BOWL, steps=150, slip=2e-3))
    assert min(wrong.errors.values()) > wrong.tolerance


def test_the_picture_marks_the_edge_and_both_optima(found):
    left, right, _ = found.figures["lr_momentum"].axes
    edge, _, best = left.lines
    np.testing.assert_allclose(edge.get_xdata(), 2 * (1 + edge.get_ydata()) / 16)
    assert best.get_xydata().tolist() == [pytest.approx([0.16, 0.36])]
    assert len(right.lines) == 3


@pytest.mark.parametrize(
    ("surface", "steps", "records", "said"),
    [
        (Booth(), 150, ("population/arrival",), "choose loss=quadratic"),
        (Quadratic(condition=1.0), 150, ("population/arrival",), r"loss\.condition above 1"),
        (BOWL, 150, (), "use the probe arrivals"),
        (BOWL, 3, ("population/arrival",), r"raise trainer\.max_steps"),
    ],
)
def test_what_cannot_be_mapped_is_refused(surface, steps, records, said):
    with pytest.raises(BadInput, match=said):
        LrMomentum(count=20)(Setting(surface, steps, records=records))


@pytest.mark.parametrize("arguments", [{"count": 1}, {"count": 2.5}, {"shrink": 1.0}])
def test_arguments_that_cannot_be_are_refused(arguments):
    with pytest.raises(BadInput, match="a count of 2 or more"):
        LrMomentum(**arguments)
