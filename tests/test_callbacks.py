"""The lab inside Lightning trainers that gradlab did not set up. Expected gradients come from plain autograd."""

from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from trainers import quiet_trainer

import gradlab
from gradlab.callbacks import StopAtNonFinite
from gradlab.data import Batches
from gradlab.lab import GradientLab
from gradlab.nonfinite import NonFiniteError
from gradlab.probes import AgreementProbe, ChainRuleProbe, GradientProbe, PartialsProbe
from gradlab.records import Breakdown
from gradlab.schedules import every
from gradlab.sinks import MemorySink

pytestmark = pytest.mark.usefixtures("quiet_lightning")

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(24, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Net(pl.LightningModule):
    """A LightningModule as a user would write it."""

    def __init__(self, make=lambda p: torch.optim.SGD(p, lr=0.1)):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        for p in self.net.parameters():
            p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        self.make = make

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        return self.make(self.parameters())

    def train_dataloader(self):
        return Batches(X, Y, batch_size=6)


class Manual(Net):
    """Two optimizer steps in one batch, by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        optimizer = self.optimizers()
        for _ in range(2):
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, index))
            optimizer.step()


def probes():
    return {
        "gradients": GradientProbe(),
        "partials": PartialsProbe(),
        "chain": ChainRuleProbe(schedule=every(1), tables=every(2)),
        "agreement": AgreementProbe(),
    }


def fit(module, tmp_path, steps=4, callback=True, strict=True, **settings):
    memory = MemorySink()
    lab = gradlab.GradientLabCallback(probes(), sinks=[memory], strict=strict)
    trainer = quiet_trainer(tmp_path, steps, [lab] if callback else [], **settings)
    trainer.fit(module)
    return lab, memory


def test_records_are_the_gradients_that_the_optimizer_uses(tmp_path):
    _, memory = fit(Net(), tmp_path, steps=1)
    reference = Net()
    loss = reference.training_step((X[:6], Y[:6]), 0)
    loss.backward()
    found = {tag: values[0] for tag, (_, values) in memory.scalars().items()}
    assert found["loss/train"] == pytest.approx(loss.item(), rel=1e-12)
    assert found["learning_rate/group0"] == 0.1
    for name, p in reference.named_parameters():
        assert found[f"gradient/{name}/l2"] == pytest.approx(p.grad.norm().item(), rel=1e-12)
        assert found[f"gradient/{name}/linf"] == pytest.approx(p.grad.abs().max().item(), rel=1e-12)
        assert found[f"gradient/{name}/rms"] == pytest.approx(p.grad.square().mean().sqrt().item(), rel=1e-12)
    assert found["partial/net.0.weight[2,3]"] == reference.net[0].weight.grad[2, 3].item()
    assert found["partial/net.2.bias[1]"] == reference.net[2].bias.grad[1].item()


def test_chain_rule_of_a_layer_is_upstream_and_downstream_of_autograd(tmp_path):
    _, memory = fit(Net(), tmp_path, steps=1)
    reference = Net()
    hidden = reference.net[0](X[:6]).detach().requires_grad_()
    active = reference.net[1](hidden)
    nn.functional.mse_loss(reference.net[2](active), Y[:6]).backward(inputs=[hidden, active])
    found = {tag: values[0] for tag, (_, values) in memory.scalars("chain/").items()}
    assert found["chain/net.1/upstream"] == pytest.approx(active.grad.norm().item(), rel=1e-12)
    assert found["chain/net.1/downstream"] == pytest.approx(hidden.grad.norm().item(), rel=1e-12)
    assert found["chain/net.1/gain"] == pytest.approx((hidden.grad.norm() / active.grad.norm()).item(), rel=1e-12)
    assert found["chain/net.2/downstream"] == found["chain/net.1/upstream"]
    assert "chain/net.0/downstream" not in found  # the input needs no gradient
    (table,) = memory.records(Breakdown, "chain/table")
    assert [t.operation for t in table.terms if t.module == "net.1"] == ["tanh"]


def test_accumulation_shows_the_sum_and_one_record_a_step(tmp_path):
    lab, memory = fit(Net(), tmp_path, steps=2, accumulate_grad_batches=2)
    reference = Net()
    for k in (0, 6):
        (reference.training_step((X[k : k + 6], Y[k : k + 6]), 0) / 2).backward()
    steps, values = memory.scalars()["gradient/net.2.weight/l2"]
    assert steps.tolist() == [0, 1]
    assert values[0] == pytest.approx(reference.net[2].weight.grad.norm().item(), rel=1e-12)
    assert (lab.lab.tally.steps, lab.lab.tally.backwards, lab.lab.tally.disagreements) == (2, 4, 0)


def test_clipping_comes_after_what_is_shown(tmp_path):
    _, memory = fit(Net(), tmp_path, steps=1, gradient_clip_val=1e-3)
    reference = Net()
    reference.training_step((X[:6], Y[:6]), 0).backward()
    shown = memory.scalars()["gradient/net.0.weight/l2"][1][0]
    assert shown == pytest.approx(reference.net[0].weight.grad.norm().item(), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "backwards"),
    [(Net, 4), (lambda: Net(lambda p: torch.optim.LBFGS(p, max_iter=4)), 5), (Manual, 4)],
    ids=["automatic", "lbfgs", "manual"],
)
def test_every_backward_pass_is_compared_and_training_is_unchanged(tmp_path, make, backwards):
    watched, alone = make(), make()
    lab, _ = fit(watched, tmp_path)
    fit(alone, tmp_path, callback=False)
    assert lab.lab.tally.backwards >= backwards
    assert lab.lab.tally.disagreements == 0
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), alone.parameters(), strict=True))


def test_hooks_and_modes_are_gone_after_an_exception(tmp_path):
    class Fails(Net):
        def training_step(self, batch, index):
            super().training_step(batch, index)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fit(Fails(), tmp_path)
    assert torch.utils._python_dispatch._len_torch_dispatch_stack() == 0
    assert not nn.modules.module._global_forward_pre_hooks


def test_by_default_it_writes_beside_the_trainer_and_draws_when_asked(tmp_path):
    trainer = quiet_trainer(tmp_path, 3, [gradlab.GradientLabCallback(figures=True)])
    trainer.fit(Net())
    assert len(list((tmp_path / "gradlab").glob("events.out.tfevents.*"))) == 1
    assert (tmp_path / "gradlab" / "gradient_flow.png").read_bytes().startswith(b"\x89PNG")


def test_it_writes_beside_the_trainers_own_logger(tmp_path):
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path)
    quiet_trainer(tmp_path, 3, [gradlab.GradientLabCallback()], logger=logger).fit(Net())
    files = [path.name for path in Path(logger.log_dir).glob("events.out.tfevents.*")]
    assert [name.endswith(".gradlab") for name in sorted(files)] == [False, True]


def test_a_gradient_that_the_scaler_skips_is_counted_and_no_error():
    stop, module = StopAtNonFinite(), Net()
    module.net[0].weight.grad = torch.full_like(module.net[0].weight, float("inf"))
    stop.on_train_batch_start(None, module, (X[:6], Y[:6]), 0)

    def trainer(scaler):
        return SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler), global_step=7)

    stop.on_before_optimizer_step(trainer(scaler=object()), module, None)
    assert stop.skipped_steps == 1
    with pytest.raises(NonFiniteError, match=r"net\.0\.weight is non-finite at step 7"):
        stop.on_before_optimizer_step(trainer(scaler=None), module, None)


def test_a_compiled_model_is_refused_by_name_before_the_first_step(tmp_path):
    module = Net()
    module.net[0].compile(backend="eager")
    with pytest.raises(gradlab.TapeError, match=r"the module net\.0 is compiled"):
        fit(module, tmp_path)


def test_a_compiled_model_may_be_watched_without_recording(tmp_path):
    module, memory = Net(), MemorySink()
    module.net[0].compile(backend="eager")
    lab = GradientLab(module, {"gradients": GradientProbe()}, [memory])
    lab.begin_step(0)
    loss = module.training_step((X, Y), 0)
    lab.before_backward(loss)
    loss.backward()
    lab.after_backward(loss)
    lab.before_update([0.1])
    lab.end_step()
    lab.close()
    assert "gradient/net.0.weight/l2" in memory.scalars()


def test_mixed_precision_is_no_disagreement(tmp_path):
    """A bias before BatchNorm has a true gradient of zero: what is left is the rounding of bfloat16."""

    class Convolution(Net):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Conv1d(1, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))

        def training_step(self, batch, index):
            x, y = (t.float() for t in batch)
            return nn.functional.mse_loss(self.net(x.unsqueeze(1)), y)

    lab, _ = fit(Convolution(), tmp_path, precision="bf16-mixed")
    assert lab.lab.tally.backwards == 4
    assert lab.lab.tally.disagreements == 0


def test_a_wrong_function_is_named_in_mixed_precision_too(tmp_path):
    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g

    class Wrong(Net):
        def training_step(self, batch, index):
            x, y = (t.float() for t in batch)
            return nn.functional.mse_loss(Half.apply(self.net.float()(x)), y)

    lab, _ = fit(Wrong(), tmp_path, precision="bf16-mixed")
    first = lab.lab.tally.first
    assert first is not None
    assert first.reconciliation.culprit.function == "Half"
