"""Published architectures, in training mode and with dropout on: every parameter's gradient is computed twice."""

from itertools import chain

import pytest
import torch
from architectures import decisions, generative, graphs, mechanisms, sequences, vision

from gradlab.agreement import compare
from gradlab.backprop import Tape
from gradlab.graph import GraphWatch
from gradlab.reconcile import reconcile

KINDS = [vision, sequences, generative, graphs, decisions, mechanisms]
CASES = dict(chain.from_iterable(kind.CASES.items() for kind in KINDS))


def every_architecture(names):
    return pytest.mark.parametrize("name", list(names))


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def built(name):
    """The model and what computes its loss, the same each time; the random numbers of the forward pass are too."""
    torch.manual_seed(0)
    model, loss_of = CASES[name]()
    torch.manual_seed(1)
    return model.train(), loss_of


def alone(name):
    """The same without a tape: the model, with its gradients, and the loss."""
    model, loss_of = built(name)
    loss = loss_of()
    loss.backward()
    return model, loss


def _any(gradients):
    return any(g is not None and g.any() for g in gradients)


@every_architecture(CASES)
@pytest.mark.filterwarnings("ignore:index_reduce.. is in beta:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # by torch.func.jvp itself
def test_every_parameter_agrees_and_observing_changes_nothing(name):
    model, loss_of = built(name)
    with Tape() as tape:
        loss = loss_of()
    watch, terms = GraphWatch(loss, model.parameters()), []
    loss.backward()
    watch.close()
    gradients = tape.backward(loss, terms=terms)
    result = reconcile(watch, gradients, terms, dict(model.named_parameters()))
    assert result.ok, result.culprit or result.note
    assert result.worst.error < 1e-9
    # The second derivative of a ReLU and its like is 0: autograd passes zeros where the tape passes nothing.
    assert set(result.unmatched) <= {n.name() for n, out in watch.downstream.items() if not _any(out)}
    reached = {n for n, g in gradients.named(model).items() if g is not None}
    assert reached == {n for n, p in model.named_parameters() if p.grad is not None} != set()

    unobserved, loss_unobserved = alone(name)
    assert torch.equal(loss, loss_unobserved)
    for (n, a), (_, b) in zip(model.named_parameters(), unobserved.named_parameters(), strict=True):
        assert a.grad is b.grad or torch.equal(a.grad.to_dense(), b.grad.to_dense()), n
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), unobserved.buffers(), strict=True))


# Without autograd everything is differentiated, also within a no_grad of the model's own, and there is nothing to
# take a gradient of within the loss.
OWN_NO_GRAD = {
    "gan_judge_with_spectral_norm",
    "latent_consistency_with_a_moving_average",
    "byol",
    "moco_with_a_queue",
    "swav_by_sinkhorn",
    "dueling_network_with_quantiles",
    "deep_equilibrium_model",
}
OWN_GRADIENTS = {
    "wgan_with_gradient_penalty",
    "stylegan_with_path_length_penalty",
    "r1_regularized_judge",
    "continuous_flow_with_a_trace_estimate",
    "sliced_score_matching",
    "energy_model_with_langevin_samples",
    "signed_distance_field_of_sines",
    "schnet_with_forces",
    "physics_informed_network",
    "hamiltonian_network",
    "jacobian_regularization",
    "contractive_and_denoising_autoencoder",
    "adversarial_training_by_projected_ascent",
    "maml",
    "maml_of_first_order",
    "learned_optimizer",
    "learned_learning_rates_and_data_weights",
    "higher_derivatives_of_a_loss",
}
NO_RULE = {  # samples of a beta distribution; zeros that forward-mode differentiation makes
    "multi_label_network_with_mixup",
    "lagrangian_network",
}


@pytest.mark.parametrize("name", [n for n in CASES if n not in OWN_NO_GRAD | OWN_GRADIENTS | NO_RULE])
@pytest.mark.filterwarnings("ignore:index_reduce.. is in beta:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")  # by the checkpoint
def test_the_sweep_without_autograd_agrees_too(name):
    model, loss_of = built(name)
    with torch.no_grad(), Tape() as tape:
        loss = loss_of()
    gradients = tape.backward(loss)
    expected, loss_by_autograd = alone(name)
    assert torch.equal(loss, loss_by_autograd)
    trained = [(n, p, q) for (n, p), q in zip(model.named_parameters(), expected.parameters(), strict=True)]
    pairs = {n: (gradients.get(p), q.grad) for n, p, q in trained if q.requires_grad}
    assert max(a.error for a in compare(pairs).values()) < 1e-9
