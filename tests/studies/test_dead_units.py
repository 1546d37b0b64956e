"""Dead units: the probe by hand, the count in the forward pass, and a loss for which the two must differ."""

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.errors import BadInput
from gradlab.figures import dead_units as picture
from gradlab.models import Linear, Mlp
from gradlab.probes import DeadUnitsProbe
from gradlab.probes.dead_units import dead_units
from gradlab.records import Scalar
from gradlab.schedules import every
from gradlab.sinks import MemorySink
from gradlab.studies.base import Finished
from gradlab.studies.dead_units import DeadUnits, Units, disagreement, units_of

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
Y = torch.arange(50) % 3


def network(activation="relu", hidden=(8, 6)):
    """Of each hidden layer, the first three units have a bias so low that no sample reaches them."""
    torch.manual_seed(0)
    made = Mlp(4, list(hidden), 3, activation=activation)
    with torch.no_grad():
        for layer in [layer for layer in made if isinstance(layer, nn.Linear)][:-1]:
            layer.bias[:3] = -100.0
            layer.bias[3:] = 1.0
    return made


def finished(model, loss=None, memory=None, folder=None):
    return Finished("one", "agree", {}, memory or MemorySink(), model, loss or nn.CrossEntropyLoss(), folder)


def gradients(model):
    nn.CrossEntropyLoss()(model(X), Y).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_the_dead_are_those_that_were_killed():
    found = dead_units(gradients(network()))
    assert {name: int(dead.sum()) for name, dead in found.items()} == {"0": 3, "2": 3, "4": 0}
    assert found["0"][:3].all()


def test_a_unit_above_which_all_are_dead_is_dead():
    model = network(hidden=(8, 3))
    assert dead_units(gradients(model))["0"].all()
    assert disagreement(finished(model), X, Y) == 0


def test_leaky_relu_has_no_dead_units():
    model = network("leaky_relu")
    assert not any(dead.any() for dead in dead_units(gradients(model)).values())
    assert disagreement(finished(model), X, Y) == 0


def test_kernels_count_by_channel_and_embeddings_of_one_dimension_not_at_all():
    kernel = torch.zeros(2, 3, 2, 2)
    kernel[1, 0, 0, 0] = 1.0
    found = dead_units(
        {"conv.weight": kernel, "norm.weight": torch.zeros(4), "rnn.weight_hh_l0": torch.eye(2), "a": None}
    )
    assert {name: dead.tolist() for name, dead in found.items()} == {
        "conv": [True, False],
        "rnn.weight_hh_l0": [False, False],
    }


def test_the_probe_records_shares(tmp_path):
    import gradlab

    model, memory = network(), MemorySink()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probes = {"dead": DeadUnitsProbe(every(2))}
    with gradlab.watch(model, optimizer, tmp_path, probes=probes, sinks=[memory]) as lab:
        for _ in range(3):
            with lab.step():
                optimizer.zero_grad()
                nn.CrossEntropyLoss()(model(X), Y).backward()
                optimizer.step()
    steps, shares = memory.scalars("dead/0/")["dead/0/fraction"]
    assert (steps.tolist(), shares.tolist()) == ([0, 2], [3 / 8, 3 / 8])


def test_forward_and_backward_name_the_same_units():
    assert disagreement(finished(network()), X, Y) == 0


def test_a_loss_that_hears_one_sample_only_is_noticed():
    """Units that answer to other samples are alive in the forward pass, and get no gradient."""
    deaf = finished(Mlp(4, [32], 3, activation="relu"), loss=lambda z, y: nn.functional.cross_entropy(z[:1], y[:1]))
    assert disagreement(deaf, X, Y) > 0.1


def test_elu_has_no_exact_zero_on_paper():
    assert disagreement(finished(network("elu")), X, Y) == -1


def test_units_are_read_from_records():
    memory = MemorySink()
    memory.write(Scalar("dead/0/fraction", step, step / 8) for step in range(3))
    memory.write(Scalar("dead/2/fraction", step, 0.5) for step in range(3))
    units = units_of(finished(network(), memory=memory), X)
    assert units.shares == pytest.approx([(8 * step / 8 + 3) / 14 for step in range(3)])
    assert (np.diff(units.highest) >= 0).all()
    assert int((units.highest < 0).sum()) == 6
    assert units.revived == 0


def test_what_came_back_is_counted():
    shares = np.array([0.5, 0.7, 0.4, 0.6, 0.5])
    assert Units(np.arange(5), shares, np.zeros(1)).revived == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Linear(4, 3), "choose model=mlp"),
        (Mlp(4, [], 3), "no hidden unit"),
        (Mlp(4, [5], 3), r"choose 'probes=\[dead_units\]'"),
    ],
)
def test_what_cannot_be_counted_is_said(model, message):
    with pytest.raises(BadInput, match=message):
        units_of(finished(model), X)


def test_no_variants_are_refused():
    with pytest.raises(BadInput, match=r"study.variants is empty"):
        DeadUnits({})


def test_the_picture_shows_every_unit():
    units = Units(np.arange(3), np.array([0.0, 0.5, 0.75]), np.array([-20.0, -1.0, 3.0, 4.0]))
    left, right = picture.figure({"a": units}).axes
    assert left.lines[0].get_ydata().tolist() == [0, 50, 75]
    assert right.lines[0].get_ydata().tolist() == [-20, -1, 3, 4]
