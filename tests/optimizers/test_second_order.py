"""Newton and Gauss-Newton against closed forms, NumPy, SciPy, and autograd's second derivatives."""

import json
import math

import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F

import gradlab
from gradlab.cli import main
from gradlab.data import Diabetes
from gradlab.losses import Booth, Himmelblau, Quadratic, Rosenbrock, Saddle
from gradlab.optimizers import GaussNewton, Newton, hessian, jacobian


def numbers(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def path(optimizer_class, surface, start, steps, **settings):
    """The points of a descent, [steps + 1, n]."""
    theta = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = optimizer_class([theta], **settings)
    optimizer.descends(lambda: theta, surface)
    points = [theta.detach().clone().numpy()]
    for _ in range(steps):
        optimizer.zero_grad()
        surface(theta).backward()
        optimizer.step()
        points.append(theta.detach().clone().numpy())
    return np.array(points), optimizer


def by_numpy(surface, start, steps, damping=0.0):
    """The same points by the closed-form gradient and Hessian."""
    points = [np.array(start)]
    for _ in range(steps):
        g, h = surface.gradient_at(points[-1]), surface.hessian_at(points[-1])
        points.append(points[-1] - np.linalg.solve(h + damping * np.eye(len(g)), g))
    return np.array(points)


# --- derivatives --------------------------------------------------------------------------------------------


def test_the_hessian_of_a_network_is_autograds():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    x, classes = numbers(5, 3), torch.tensor([0, 1, 1, 0, 1])
    shapes = [p.shape for p in model.parameters()]
    names = [name for name, _ in model.named_parameters()]

    def loss_at(flat):
        pieces = flat.split([math.prod(shape) for shape in shapes])
        values = {n: piece.view(shape) for n, piece, shape in zip(names, pieces, shapes, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, values, (x,)), classes)

    at = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    expected = torch.autograd.functional.hessian(loss_at, at)
    found = hessian(lambda: F.cross_entropy(model(x), classes), list(model.parameters()))
    assert float(expected.abs().max()) > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_the_jacobian_of_a_network_is_autograds():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sigmoid(), torch.nn.Linear(4, 2)).double()
    x = numbers(5, 3)
    expected = torch.autograd.functional.jacobian(
        lambda w: torch.func.functional_call(model, {"0.weight": w}, (x,)), model[0].weight.detach()
    )
    found = jacobian(lambda: model(x), [model[0].weight])
    torch.testing.assert_close(found, expected.reshape(10, 12), rtol=1e-12, atol=1e-14)


def test_what_the_loss_does_not_reach_has_zeros():
    x, y = numbers(2), numbers(3)
    assert torch.equal(hessian(lambda: 3 * x.sum(), [x, y]), torch.zeros(5, 5, dtype=torch.float64))
    expected = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.equal(jacobian(lambda: x.sum(), [x, y]), expected)


def test_the_hessian_of_mse_by_the_prediction_is_two_over_n():
    prediction, target = numbers(3, 2), numbers(3, 2, seed=1)
    found = hessian(lambda: F.mse_loss(prediction, target), [prediction])
    torch.testing.assert_close(found, torch.eye(6, dtype=torch.float64) * 2 / 6)


# --- Newton -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", [Quadratic(), Quadratic(dimension=5, condition=1000.0), Booth()])
def test_newton_solves_a_quadratic_in_one_step(surface):
    """Off by rounding: the solve is good to a few u times the condition number, at most 1000 here."""
    points, optimizer = path(Newton, surface, surface.start, 1)
    assert np.abs(points[1] - np.array(surface.minimizers[0])).max() < 1000 * 8 * 2.0**-53
    assert optimizer.curvature.least == pytest.approx(np.linalg.eigvalsh(surface.hessian_at(points[0]))[0])


def test_a_wrong_hessian_would_not_solve_it():
    class Diagonal(Newton):
        def matrix(self, predict, loss):
            return super().matrix(predict, loss).diag().diag()

    points, _ = path(Diagonal, Booth(), Booth().start, 1)
    assert np.abs(points[1] - np.array([1.0, 3.0])).max() > 1


def test_newton_on_rosenbrock_goes_where_the_closed_form_says():
    """A step from far off lands where rounding has grown by the condition number, 2500, which the next ones damp."""
    surface = Rosenbrock()
    points, _ = path(Newton, surface, [-1.2, 1.0], 8)
    assert np.abs(points - by_numpy(surface, [-1.2, 1.0], 8)).max() < 1e-8
    assert np.abs(points[-1] - 1).max() < 1e-10


def test_newton_agrees_with_scipy_about_the_root_of_the_gradient():
    surface = Himmelblau()
    points, _ = path(Newton, surface, [3.3, 2.4], 8)
    root = scipy.optimize.root(surface.gradient_at, [3.3, 2.4], jac=surface.hessian_at, tol=1e-12)
    assert root.success
    assert np.abs(points[-1] - root.x).max() < 1e-10


def test_newtons_error_is_squared_at_each_step():
    """f = eˣ − x is least at 0, with f″ = f‴ = 1 there: eₖ₊₁ / eₖ² comes to f‴ / 2f″ = 1/2."""
    points, _ = path(Newton, lambda p: (p.exp() - p).sum(), [0.5], 4)
    errors = np.abs(points[:, 0])
    ratios = errors[1:] / errors[:-1] ** 2
    assert np.all(np.diff(np.abs(ratios - 0.5)[:3]) < 0)
    assert ratios[2] == pytest.approx(0.5, abs=0.01)


def test_near_rosenbrocks_minimizer_the_right_digits_double():
    points, _ = path(Newton, Rosenbrock(), [1.2, 1.4], 6)
    errors = np.linalg.norm(points - 1, axis=1)
    assert errors[5] < 1e-5
    assert errors[6] < errors[5] ** 2


def test_damping_makes_the_step_shorter_as_levenberg_says():
    surface = Rosenbrock()
    points, optimizer = path(Newton, surface, [1.2, 1.4], 3, damping=30.0)
    assert np.abs(points - by_numpy(surface, [1.2, 1.4], 3, damping=30.0)).max() < 1e-12
    assert optimizer.curvature.damping == 30.0


def test_a_saddle_is_left_downhill_and_that_is_said():
    """f = x² − y² has the eigenvalues 2 and −2: the damping becomes 4, the curvatures 6 and 2."""
    with pytest.warns(UserWarning, match=r"damping is raised from 0 to 4") as said:
        points, optimizer = path(Newton, Saddle(), [1.5, 0.01], 3)
    assert len(said) == 1
    assert points[1] == pytest.approx([1.5 - 2 * 1.5 / 6, 0.01 + 2 * 0.01 / 2])
    assert (optimizer.curvature.least, optimizer.curvature.damping) == pytest.approx((-2.0, 4.0))
    values = [Saddle()(torch.tensor(p)).item() for p in points]
    assert values == sorted(values, reverse=True)


def test_without_the_raised_damping_newton_would_run_into_the_saddle():
    assert by_numpy(Saddle(), [1.5, 0.01], 1)[1] == pytest.approx([0.0, 0.0])


def test_enough_damping_is_not_raised():
    points, optimizer = path(Newton, Saddle(), [1.5, 0.01], 1, damping=10.0)
    assert points[1] == pytest.approx([1.5 - 3 / 12, 0.01 + 0.02 / 8])
    assert optimizer.curvature.damping == 10.0


def test_no_step_along_a_direction_without_curvature():
    theta = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = Newton([theta])
    optimizer.descends(lambda: theta, lambda p: p[0] ** 2 + p[1])
    theta.grad = torch.tensor([6.0, 1.0], dtype=torch.float64)
    optimizer.step()
    assert theta.tolist() == [0.0, 4.0]
    assert optimizer.curvature.flat == 1


# --- Gauss-Newton -------------------------------------------------------------------------------------------


def test_gauss_newton_solves_linear_regression_in_one_step():
    """NumPy's own least squares; the normal equations square the condition number, about 10, of this matrix."""
    x, y = numbers(40, 3), numbers(40, 1, seed=1)
    model = torch.nn.Linear(3, 1).double()
    optimizer = GaussNewton(model.parameters())
    optimizer.descends(lambda: model(x), lambda prediction: F.mse_loss(prediction, y))
    F.mse_loss(model(x), y).backward()
    optimizer.step()
    expected = np.linalg.lstsq(np.hstack([x.numpy(), np.ones((40, 1))]), y.numpy(), rcond=None)[0].ravel()
    found = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).numpy()
    assert np.abs(found - expected).max() < 1e-13


def test_where_it_is_underdetermined_it_takes_the_shortest_step():
    x, y = numbers(3, 6), numbers(3, seed=1)
    theta = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
    optimizer = GaussNewton([theta])
    optimizer.descends(lambda: x @ theta, lambda prediction: F.mse_loss(prediction, y))
    F.mse_loss(x @ theta, y).backward()
    optimizer.step()
    expected = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0]
    assert np.abs(theta.detach().numpy() - expected).max() < 1e-12
    assert optimizer.curvature.flat == 3


def test_gauss_newton_fits_a_curve_as_scipys_least_squares_does():
    """y = a·exp(b·t), the textbook's example; SciPy's trust-region method of Levenberg and Marquardt as the witness."""
    t = torch.linspace(0, 2, 20, dtype=torch.float64)
    y = 2.5 * torch.exp(-1.3 * t) + 0.05 * numbers(20, seed=3)
    theta = torch.nn.Parameter(torch.tensor([1.0, -0.5], dtype=torch.float64))
    optimizer = GaussNewton([theta], damping=0.01)
    optimizer.descends(lambda: theta[0] * torch.exp(theta[1] * t), lambda prediction: F.mse_loss(prediction, y))
    for _ in range(30):
        optimizer.zero_grad()
        F.mse_loss(theta[0] * torch.exp(theta[1] * t), y).backward()
        optimizer.step()
    expected = scipy.optimize.least_squares(
        lambda p: p[0] * np.exp(p[1] * t.numpy()) - y.numpy(), [1.0, -0.5], xtol=1e-14, ftol=1e-14, gtol=1e-14
    ).x
    assert np.abs(theta.detach().numpy() - expected).max() < 1e-8


def test_the_matrix_is_two_over_n_times_jacobians():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    x, y = numbers(7, 2), numbers(7, 1, seed=1)
    optimizer = GaussNewton(model.parameters())
    found = optimizer.matrix(lambda: model(x), lambda prediction: F.mse_loss(prediction, y))
    gradients = [torch.autograd.grad(prediction, list(model.parameters())) for prediction in map(model, x)]
    rows = torch.stack([torch.cat([g.reshape(-1) for g in each]) for each in gradients])
    expected = 2 / 7 * rows.T @ rows
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_on_a_surface_the_two_are_one():
    points, _ = path(GaussNewton, Rosenbrock(), [-1.2, 1.0], 5)
    assert np.array_equal(points, path(Newton, Rosenbrock(), [-1.2, 1.0], 5)[0])


# --- what is refused ----------------------------------------------------------------------------------------


def test_too_many_parameters_are_refused():
    with pytest.raises(ValueError, match=r"2,550 × 2,550 .* at most 2,000"):
        Newton(torch.nn.Linear(50, 50).parameters())
    Newton(torch.nn.Linear(50, 50).parameters(), limit=2550)


def test_too_large_a_prediction_is_refused():
    theta = torch.nn.Parameter(torch.ones(2))
    optimizer = GaussNewton([theta], limit=10)
    optimizer.descends(lambda: theta[0].expand(11), lambda prediction: prediction.square().mean())
    theta.grad = torch.ones(2)
    with pytest.raises(ValueError, match=r"11 entries of the prediction.* data.batch_size"):
        optimizer.step()


def test_without_the_loss_it_says_what_is_missing():
    theta = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(RuntimeError, match=r"call optimizer.descends\(predict, loss\)"):
        Newton([theta]).step()


def test_several_groups_are_refused():
    with pytest.raises(ValueError, match="one group"):
        Newton([{"params": [torch.nn.Parameter(torch.ones(1))]}, {"params": [torch.nn.Parameter(torch.ones(1))]}])


def test_second_derivatives_that_are_not_finite_are_refused():
    theta = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = Newton([theta])
    optimizer.descends(lambda: theta, lambda p: (p**1.5).sum())  # its slope at 0 is 0, its second derivative infinite
    theta.grad = torch.zeros(1, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="not finite"):
        optimizer.step()


# --- in gradlab's descents ----------------------------------------------------------------------------------


def ended(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def descend(folder, *words):
    return main([*words, "trainer.enable_progress_bar=false", f"hydra.run.dir={folder}"])


def test_newton_runs_from_the_shell_with_every_step_compared(tmp_path, quiet_lightning):
    words = ["loss=rosenbrock", "model=point", "optimizer=newton", "data=none", "trainer.max_steps=8"]
    assert descend(tmp_path, *words) == 0
    summary = ended(tmp_path)
    assert (summary["status"], summary["metrics"]["steps_compared"]) == ("agree", 8)
    assert summary["metrics"]["distance"] < 1e-10


def test_gauss_newton_solves_the_diabetes_regression_from_the_shell(tmp_path, quiet_lightning):
    """353 of 442 patients are one batch: after one step the loss is that of NumPy's least squares, to float32."""
    words = ["loss=mse", "model=linear", "optimizer=gauss_newton", "data=diabetes", "data.batch_size=353"]
    assert descend(tmp_path, *words, "trainer.max_steps=2", "probes=[agreement]") == 0
    data = Diabetes(batch_size=353, seed=0)
    data.setup("fit")
    x, y = next(iter(data.train_dataloader()))
    x, y = np.hstack([x.double().numpy(), np.ones((len(x), 1))]), y.double().numpy()
    least = float(np.mean((x @ np.linalg.lstsq(x, y, rcond=None)[0] - y) ** 2))
    assert ended(tmp_path)["status"] == "agree"
    assert ended(tmp_path)["metrics"]["loss"] == pytest.approx(least, rel=1e-6)


def test_too_large_a_network_is_bad_input_from_the_shell(tmp_path, capsys, quiet_lightning):
    assert descend(tmp_path, "optimizer=newton", "trainer.max_steps=2") == 2
    error = capsys.readouterr().err
    assert "2,778 × 2,778" in error
    assert "optimizer.limit" in error


def test_it_works_in_a_watched_loop(tmp_path, capsys):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    x, y = numbers(40, 3), numbers(40, 1, seed=1)
    optimizer = GaussNewton(model.parameters())
    optimizer.descends(lambda: model(x), lambda prediction: F.mse_loss(prediction, y))

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    lab = gradlab.watch(model, optimizer, tmp_path)
    for step in range(4):
        with lab.step():
            if step % 2:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
    lab.close()
    assert lab.lab.tally.disagreements == 0
    assert lab.updates == 4
    assert float(model.weight.grad.abs().max()) < 1e-14


@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"])
def test_a_handwritten_rule_descends_as_torchs_does(rule, tmp_path, quiet_lightning):
    """On Himmelblau's surface, where the paths stay regular: the same settings, the same end."""
    words = ["loss=himmelblau", "model=point", "data=none", "trainer.max_steps=60", "probes=[agreement]"]
    for option in (rule, f"manual_{rule}"):
        assert descend(tmp_path / option, *words, f"optimizer={option}") == 0
    ends = [torch.load(tmp_path / option / "final.pt")["theta"] for option in (rule, f"manual_{rule}")]
    torch.testing.assert_close(*ends, rtol=1e-11, atol=0)
    assert ended(tmp_path / f"manual_{rule}")["metrics"]["steps_compared"] == 60
