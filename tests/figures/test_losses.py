"""The losses of several runs in one picture, of which some may leave it."""

import math

import numpy as np
import pytest

from gradlab.figures import comparison
from gradlab.records import Scalar
from gradlab.sinks import MemorySink


def run(*losses):
    memory = MemorySink()
    memory.write(Scalar("loss/train", step, loss) for step, loss in enumerate(losses))
    return memory


def marks(axes):
    return [line for line in axes.lines if line.get_marker() == "^"]


def test_runs_that_diverge_leave_at_the_top_where_they_are_named():
    runs = {"good": run(4.0, 2.0, 1.0), "once": run(7e8), "later": run(3.0, 9e24), "never": run(4.0, 4.0, 4.0)}
    (axes,) = comparison.losses(runs).axes
    assert axes.get_ylim() == (0.5, 4 * comparison.ABOVE)
    assert [line.get_xdata()[0] for line in marks(axes)] == [0, 1]
    curves = {line.get_label(): line.get_color() for line in axes.lines}
    assert [line.get_color() for line in marks(axes)] == [curves["once"], curves["later"]]
    texts = [text.get_text() for text in axes.texts]
    assert {"once: 7e+08 at step 0", "later: 9e+24 at step 1"} <= set(texts)
    assert any(text.endswith(comparison.LEAVERS) for text in texts)
    (one, other) = (line.get_ydata()[0] for line in marks(axes))
    assert one - other > 0.04


def test_what_is_not_finite_is_no_last_loss():
    runs = {"good": run(4.0, 2.0, 1.0, 1.0), "broken": run(3.0, 9e24, math.inf, math.nan)}
    (axes,) = comparison.losses(runs).axes
    assert "broken: 9e+24 at step 1" in {text.get_text() for text in axes.texts}


@pytest.mark.parametrize(
    "runs",
    [
        {"good": run(4.0, 2.0, 1.0), "short": run(9.0, 8.0)},  # not far above
        {"good": run(4.0, 2.0, 1e9), "other": run(1.0, 1.0, 1.0)},  # it goes on to the end
        {"nan": run(math.nan, math.nan), "short": run(9.0)},  # none goes on to the end
        {"good": run(4.0, -2.0, 1.0), "short": run(9e20)},  # no logarithms
    ],
)
def test_otherwise_all_is_shown(runs):
    (axes,) = comparison.losses(runs).axes
    assert not marks(axes)
    assert not any(comparison.LEAVERS in text.get_text() for text in axes.texts)
    low, high = axes.get_ylim()
    known = np.concatenate([memory.scalars("loss/train")["loss/train"][1] for memory in runs.values()])
    assert low < np.nanmin(known)
    assert np.nanmax(known) < high
