"""One value against the slopes: each status from hand-made looks, and who stands alone."""

import math

import numpy as np
import pytest

from gradlab.checking.coverage import Budget, telling_order
from gradlab.checking.judge import judge
from gradlab.checking.testimony import who_stands_alone
from gradlab.witnesses.numeric import CloseLook, Slope

NOTHING = Slope(math.nan, math.inf)


def look(central, left, right, rising=False, is_finite=True):
    growing = 10.0 ** np.arange(8) if rising else np.full(8, 0.0 if is_finite else math.nan)
    slopes = [Slope(s, 1e-10) if isinstance(s, (int, float)) else s for s in (central, left, right)]
    return CloseLook(*slopes, np.zeros(8), growing, growing, growing)


@pytest.mark.parametrize(
    ("value", "found", "status"),
    [
        (2.0, look(2.0, 2.0, 2.0), "agree"),
        (2.0 + 5e-9, look(2.0, 2.0, 2.0), "agree"),
        (2.1, look(2.0, 2.0, 2.0), "wrong"),
        (0.0, look(0.5, 0.0, 1.0), "kink"),
        (0.7, look(0.5, 0.0, 1.0), "kink"),
        (-0.1, look(0.5, 0.0, 1.0), "wrong"),
        (1.2, look(0.5, 0.0, 1.0), "wrong"),
        (3.0, look(NOTHING, NOTHING, 3.0), "kink"),
        (3.1, look(NOTHING, NOTHING, 3.0), "wrong"),
        (3.0, look(Slope(2.0, 5.0), NOTHING, NOTHING), "unclear"),
        (math.inf, look(NOTHING, NOTHING, NOTHING, rising=True), "kink"),
        (math.inf, look(2.0, 2.0, 2.0), "wrong"),
        (math.nan, look(2.0, 2.0, 2.0), "wrong"),
        (math.nan, look(NOTHING, NOTHING, NOTHING), "wrong"),  # no stable slope, and finite values all around
        (math.nan, look(NOTHING, NOTHING, NOTHING, is_finite=False), "unclear"),
    ],
)
def test_statuses(value, found, status):
    assert judge(value, found, 1e-8).status == status


def test_who_stands_alone():
    assert who_stands_alone({"autograd": 1.0, "manual": 2.0, "numeric": 2.0}, {}, 1e-6) == "autograd"
    assert who_stands_alone({"autograd": 1.0, "manual": 1.0, "numeric": 2.0}, {"numeric": 0.1}, 1e-6) == "numeric"
    assert who_stands_alone({"autograd": 1.0, "manual": 1.0, "numeric": 2.0}, {"numeric": 2.0}, 1e-6) == ""
    assert who_stands_alone({"autograd": 1.0, "manual": 2.0, "numeric": 3.0}, {}, 1e-6) == ""
    assert who_stands_alone({"autograd": None, "manual": 2.0, "numeric": 2.0}, {}, 1e-6) == "autograd"


def test_a_budget_looks_at_everything_or_at_the_largest_first():
    import torch

    gradient = torch.arange(1000.0)
    order = telling_order(gradient)
    assert sorted(order.tolist()) == list(range(1000))
    assert {999, 998, 997} <= set(order[:8].tolist())
    now = [0.0]
    seen = []

    def compare(places):
        seen.extend(places.tolist())
        now[0] += 0.01 * len(places)

    assert Budget(1e9, 1000, lambda: now[0]).look(order, compare) == 1000
    assert sorted(seen) == list(range(1000))
    seen.clear()
    now[0] = 0.0
    looked = Budget(2.0, 1000, lambda: now[0]).look(order, compare)
    assert looked == len(seen)
    assert 50 <= looked <= 250
    assert now[0] <= 2.5
