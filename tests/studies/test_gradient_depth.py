"""The gradient over depth of a run: its records against autograd's, and what cannot be measured."""

import numpy as np
import pytest
import torch

from gradlab.errors import BadInput
from gradlab.figures import gradient_depth as picture
from gradlab.models import Linear, Mlp
from gradlab.records import Scalar
from gradlab.sinks import MemorySink
from gradlab.studies.base import Finished
from gradlab.studies.gradient_depth import Depth, GradientDepth, depth_of


def finished(model, records, tmp_path):
    memory = MemorySink()
    memory.write(Scalar(tag, step, value) for step in (0, 1) for tag, value in records.items())
    return Finished("one", "agree", {"accuracy": 0.5}, memory, model, torch.nn.MSELoss(), tmp_path)


def test_a_run_is_read_layer_by_layer(tmp_path):
    names = ("0", "2", "4")
    records = {f"chain/{name}/upstream": 2.0**k for k, name in enumerate(names)}
    records |= {f"gradient/{name}.weight/rms": 10.0 + k for k, name in enumerate(names)}
    depth = depth_of(finished(Mlp(4, [5, 5, 5], 2, norm=True), records, tmp_path), 1.0)
    assert depth.measured.tolist() == [1, 2, 4]
    assert depth.weights.tolist() == [10, 11, 12]
    assert (depth.gain, depth.whole) == (0.5, 0.25)
    assert depth.predicted.shape == (3,)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Linear(4, 2), "choose model=mlp"),
        (Mlp(4, [5], 2), "no depth to compare over"),
        (Mlp(4, [5, 5], 2), r"no record chain/0/upstream: choose 'probes=\[gradients,chain\]'"),
    ],
)
def test_what_cannot_be_measured_is_said(model, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        depth_of(finished(model, {}, tmp_path), 1.0)


def test_no_variants_are_refused():
    with pytest.raises(BadInput, match=r"study.variants is empty"):
        GradientDepth({})


def test_the_picture_shows_what_was_measured():
    depth = Depth(np.array([1.0, 2.0, 4.0]), np.array([0.3, 0.5, 1.0]), np.array([7.0, 8.0, 9.0]))
    left, right = picture.figure({"a": depth, "b": depth}).axes
    assert left.get_yscale() == right.get_yscale() == "log"
    assert left.lines[0].get_ydata().tolist() == [0.3, 0.5, 1.0]
    assert left.lines[1].get_ydata().tolist() == [0.25, 0.5, 1.0]
    assert right.lines[0].get_ydata().tolist() == [7.0, 8.0, 9.0]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["a", "b"]


def test_the_picture_of_records_leaves_biases_and_norms_out():
    memory = MemorySink()
    tags = ["gradient/0.weight/rms", "gradient/0.bias/rms", "gradient/norm0.weight/rms", "gradient/2.weight/rms"]
    memory.write(Scalar(tag, step, 1.0 + k) for step in (0, 1) for k, tag in enumerate(tags))
    (axes,) = picture.weights({"run": memory}).axes
    assert axes.lines[0].get_ydata().tolist() == [1.0, 4.0]
