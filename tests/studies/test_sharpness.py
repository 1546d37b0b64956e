"""The sharpness of a loss, against the whole Hessian; snapshots; and the precision of an evaluation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.data import Sine
from gradlab.descent import DescentModule
from gradlab.errors import BadInput
from gradlab.evaluate import evaluate
from gradlab.probes import SnapshotProbe
from gradlab.studies.edge_of_stability import EdgeOfStability, Training
from gradlab.studies.sharpness import by_double_backward, by_two_tapes, largest, unit


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, y = torch.randn(9, 2, dtype=torch.float64), torch.randn(9, 1, dtype=torch.float64)
    return model, lambda: nn.functional.mse_loss(model(x), y), x, y


def hessian(model, x, y):
    """In one matrix, by torch."""
    named = dict(model.named_parameters())
    sizes = [p.numel() for p in named.values()]

    def of(vector):
        parts = vector.split(sizes)
        shaped = {name: part.view_as(p) for (name, p), part in zip(named.items(), parts, strict=True)}
        return nn.functional.mse_loss(torch.func.functional_call(model, shaped, x), y)

    return torch.autograd.functional.hessian(of, torch.cat([p.detach().flatten() for p in named.values()]))


@pytest.mark.parametrize("witness", [by_double_backward, by_two_tapes])
def test_products_and_the_largest_eigenvalue_are_those_of_the_whole_matrix(problem, witness):
    model, loss, x, y = problem
    whole = hessian(model, x, y)
    parameters = list(model.parameters())
    vector = [torch.randn_like(p) for p in parameters]
    product = torch.cat([part.flatten() for part in witness(loss, parameters)(vector)])
    torch.testing.assert_close(product, whole @ torch.cat([v.flatten() for v in vector]))
    value, direction = largest(witness(loss, parameters), vector, most=2000, close=1e-12)
    eigenvalues = torch.linalg.eigvalsh(whole)
    assert value == pytest.approx(float(eigenvalues[eigenvalues.abs().argmax()]), rel=1e-6)
    assert float(sum((d**2).sum() for d in direction)) == pytest.approx(1)


def test_a_parameter_that_the_loss_does_not_depend_on_has_zeros():
    used, idle = torch.tensor([3.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    product = by_two_tapes(lambda: (used**3).sum(), [used, idle])(unit([torch.ones(1), torch.ones(1)]))
    assert product[1].tolist() == [0.0]
    assert float(product[0].detach()) == pytest.approx(18 / 2**0.5)


def test_the_late_sharpness_is_the_mean_over_the_last_third():
    values = np.array([1.0, 2.0, 30.0, 40.0, 8.0, 12.0])
    assert Training(0.2, np.arange(6), values, 0.0, None).late == pytest.approx(1.0)


def test_mini_batches_are_refused():
    data = Sine(samples=40, batch_size=8)
    data.setup()
    with pytest.raises(BadInput, match=r"data\.batch_size"):
        EdgeOfStability([0.1])(SimpleNamespace(parts=lambda: (None, None, data)))


def test_a_snapshot_is_a_copy_and_a_large_model_has_none():
    weight = torch.zeros(3)
    step = SimpleNamespace(index=4, parameters={"weight": weight})
    (record,) = SnapshotProbe().measure(step)
    weight += 1
    assert (record.tag, record.step, record.values.tolist()) == ("snapshot/weight", 4, [0.0, 0.0, 0.0])
    assert list(SnapshotProbe(largest=2).measure(step)) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_another_precision_is_evaluated(dtype):
    data = Sine(samples=10, batch_size=4)
    data.setup()
    module = DescentModule(nn.Linear(1, 1).to(dtype), nn.MSELoss(), None)
    said = evaluate(module, data)["test_loss"]
    with torch.no_grad():
        expected = nn.functional.mse_loss(module.model(data.x_test.to(dtype)).float(), data.y_test)
    assert said == pytest.approx(float(expected), rel=1e-2)
