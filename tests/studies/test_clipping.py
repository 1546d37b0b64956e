"""What clipping does to a gradient: against torch's own functions, and with a step that did not follow the gradient."""

import math

import numpy as np
import pytest
import torch

from gradlab.errors import BadInput
from gradlab.figures import clipping as picture
from gradlab.losses import Booth, Cliff
from gradlab.records import Array, Scalar
from gradlab.sinks import MemorySink
from gradlab.studies.base import Finished
from gradlab.studies.clipping import Clipping, Steps, angles, steps_of
from gradlab.surfaces import surface_records

START, LR = (1.3, 1.2), 0.02


def descent(surface, clip=lambda theta: None, steps=30, wrong=0.0):
    """A plain loop, whose records are those of gradlab's probes; the recorded norm may be wrong by a share."""
    theta = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer, memory = torch.optim.SGD([theta], lr=LR), MemorySink()
    memory.write([Array("path/point", 0, theta.detach().numpy().copy())])
    for step in range(steps):
        optimizer.zero_grad()
        surface(theta).backward()
        before = float(theta.grad.norm())
        clip(theta)
        after = float(theta.grad.norm())
        optimizer.step()
        memory.write([Scalar("total/norm_before_clipping", step, before * (1 + wrong))])
        memory.write([Scalar("total/norm_after_clipping", step, after)])
        memory.write([Array("path/point", step + 1, theta.detach().numpy().copy())])
    memory.write(surface_records(surface, memory))
    return Finished("one", "agree", {"steps": steps}, memory, torch.nn.Identity(), surface, None)


def by_norm(theta):
    torch.nn.utils.clip_grad_norm_([theta], 1.0)


def by_value(theta):
    torch.nn.utils.clip_grad_value_([theta], 1.0)


def test_by_norm_keeps_the_direction():
    steps = steps_of(descent(Cliff(), by_norm), Cliff())
    assert steps.clipped[:10].all()
    assert steps.after[:10] == pytest.approx(1, abs=1e-6)
    assert steps.turned.max() < 1e-9
    assert steps.error < 1e-13


def test_by_value_turns_towards_the_diagonal():
    steps = steps_of(descent(Cliff(), by_value), Cliff())
    x, y = START
    state = x**9 * y
    slope = (y - 1 + (state - 1) * x**9) / ((state - 1) * 9 * state / x)
    assert steps.turned[0] == pytest.approx(45 - math.degrees(math.atan(slope)))
    assert steps.after[0] == pytest.approx(math.sqrt(2))


def test_without_clipping_nothing_is_turned():
    steps = steps_of(descent(Booth()), Booth())
    assert not steps.clipped.any()
    assert steps.turned[:10].max() < 1e-9


def test_a_run_that_diverges_is_read_as_far_as_it_goes():
    steps = steps_of(descent(Cliff(), steps=6), Cliff())
    assert 1 <= len(steps.before) < 6
    assert np.isfinite(steps.before).all()
    assert steps.error < 1e-13


def test_a_wrong_norm_is_noticed():
    assert steps_of(descent(Cliff(), by_norm, wrong=1e-4), Cliff()).error == pytest.approx(1e-4, rel=1e-3)


def test_a_step_that_leaves_the_gradient_is_noticed():
    def turn(theta):
        theta.grad.copy_(torch.stack([-theta.grad[1], theta.grad[0]]))

    assert steps_of(descent(Booth(), turn, steps=3), Booth()).turned == pytest.approx([90] * 3)


def test_angles_are_precise_where_they_are_small():
    turned = angles(np.array([[1.0, 0.0]]), np.array([[1.0, 1e-12]]))
    assert turned.tolist() == pytest.approx([math.degrees(1e-12)], rel=1e-9)


def test_missing_records_are_said():
    run = Finished("one", "agree", {}, MemorySink(), torch.nn.Identity(), Cliff(), None)
    with pytest.raises(BadInput, match=r"choose 'probes=\[path,gradients\]' and optimizer=sgd"):
        steps_of(run, Cliff())


def test_no_variants_are_refused():
    with pytest.raises(BadInput, match=r"study.variants is empty"):
        Clipping({})


def test_the_picture_ends_some_time_after_the_last_clipped_step():
    before, after = np.array([8.0, 4.0, 2.0, 0.5] + [0.1] * 20), np.array([1.0, 1.0, 1.0, 0.5] + [0.1] * 20)
    left, right = picture.figure({"a": Steps(before, after, np.zeros(24), 0.0)}).axes
    assert left.get_xlim()[1] == right.get_xlim()[1] == 4
    assert left.lines[0].get_ydata().tolist() == before.tolist()
    assert left.lines[1].get_ydata().tolist() == after.tolist()


def test_the_map_shows_a_path_until_it_leaves():
    runs = {"clipped": descent(Cliff(), by_norm).memory, "unclipped": descent(Cliff(), steps=6).memory}
    (axes,) = picture.map_of(runs).axes
    paths = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert len(paths["clipped"]) == 31
    assert len(paths["unclipped"]) == 2
