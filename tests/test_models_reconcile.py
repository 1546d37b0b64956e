"""Networks over texts, trained with the lab watching: at every step every parameter's gradient is computed twice."""

from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from trainers import quiet_trainer

from gradlab.callbacks import GradientLabCallback
from gradlab.data import Characters
from gradlab.descent import DescentModule
from gradlab.losses import CrossEntropy
from gradlab.models import Recurrent, Transformer
from gradlab.probes import AgreementProbe
from gradlab.sinks import MemorySink

pytestmark = pytest.mark.usefixtures("quiet_lightning")

STEPS = 12
CONTEXT = 16

MODELS = {
    "transformer": partial(Transformer, context=CONTEXT, hidden=[32, 24], width=16, heads=2),
    "transformer with dropout": partial(Transformer, context=CONTEXT, hidden=[32], width=16, dropout=0.2),
    "rnn": partial(Recurrent, hidden=[24], cell="rnn", width=16),
    "gru": partial(Recurrent, hidden=[24], cell="gru", width=16),
    "lstm": partial(Recurrent, hidden=[24], cell="lstm", width=16),
    "two layers of lstm": partial(Recurrent, hidden=[12, 20], cell="lstm", width=16),
}
every_model = pytest.mark.parametrize("name", MODELS)


def trained(name, tmp_path, callbacks=(), dtype=torch.float32):
    """The network after some steps, from the same start and with the same batches each time."""
    pl.seed_everything(0, verbose=False)
    data = Characters(batch_size=8, context=CONTEXT)
    network = MODELS[name](vocabulary=data.vocabulary).to(dtype)
    module = DescentModule(network, CrossEntropy(), partial(torch.optim.Adam, lr=0.01))
    trainer = quiet_trainer(tmp_path, STEPS, callbacks)
    trainer.fit(module, datamodule=data)
    return network


def watched(name, tmp_path, **settings):
    memory = MemorySink()
    lab = GradientLabCallback({"agreement": AgreementProbe()}, root="model", sinks=[memory])
    return trained(name, tmp_path, [lab], **settings), lab.lab.tally, memory


@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_all_parameters_agree_at_every_step(name, dtype, tmp_path):
    network, tally, memory = watched(name, tmp_path, dtype=dtype)
    assert tally.disagreements == 0, tally.first
    assert (tally.steps, tally.backwards) == (STEPS, STEPS)
    # A parameter that neither backward pass reaches would count no partials.
    assert tally.partials == STEPS * sum(p.numel() for p in network.parameters())
    found = memory.scalars("agreement/")
    assert set(found) == {f"agreement/{parameter}/log10_error" for parameter, _ in network.named_parameters()}
    assert all(len(steps) == STEPS for steps, _ in found.values())


@every_model
def test_the_loss_falls_and_watching_changes_no_number(name, tmp_path):
    network, _, memory = watched(name, tmp_path)
    alone = trained(name, tmp_path)
    _, losses = memory.scalars("loss/")["loss/train"]
    assert losses[-3:].mean() < losses[:3].mean()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), alone.parameters(), strict=True))
