"""What is recorded of every step, in trainers as people set them up. Expected numbers come from NumPy, by a spy."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from oracles import statistics_of
from torch import nn
from trainers import quiet_trainer

import gradlab
from gradlab.data import Batches
from gradlab.defaults import default_probes
from gradlab.probes import GradientProbe
from gradlab.records import Histogram, Text
from gradlab.schedules import every
from gradlab.sinks import MemorySink

pytestmark = pytest.mark.usefixtures("quiet_lightning")

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randn(24, 2, generator=torch.Generator().manual_seed(1))


class Net(pl.LightningModule):
    """A LightningModule as a user would write it; ``wide`` makes one parameter too large to be copied aside."""

    def __init__(self, make=lambda p: torch.optim.Adam(p, lr=0.05), wide=4, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Sequential(nn.Linear(5, wide), nn.Tanh(), nn.Linear(wide, 2)).to(dtype)
        self.make = make

    def loss(self, batch):
        x, y = (t.to(self.net[0].weight.dtype) for t in batch)
        return nn.functional.mse_loss(self.net(x), y)

    def training_step(self, batch, index):
        return self.loss(batch)

    def configure_optimizers(self):
        return self.make([p for p in self.parameters() if p.requires_grad])

    def train_dataloader(self):
        return Batches(X, Y, batch_size=6)


class Spy(pl.Callback):
    """Copies what the optimizer is about to use and what it makes of it, by other means than the lab."""

    def __init__(self, fused=False):
        self.fused = fused
        self.gradients, self.before, self.after = {}, {}, {}

    def on_before_optimizer_step(self, trainer, module, optimizer):
        step = trainer.global_step
        if step in self.gradients:
            return
        scale = trainer.precision_plugin.scaler.get_scale() if self.fused else 1.0
        self.gradients[step] = {n: numbers(p.grad) / scale for n, p in module.named_parameters() if p.grad is not None}
        self.before[step] = {n: numbers(p) for n, p in module.named_parameters()}

    def on_train_batch_end(self, trainer, module, *rest):
        if self.before:
            self.after[max(self.before)] = {n: numbers(p) for n, p in module.named_parameters()}


def numbers(tensor):
    tensor = tensor.detach()
    return (tensor.to_dense() if tensor.is_sparse else tensor).double().numpy().copy()


def fit(module, tmp_path, steps=4, spy=None, lab=True, probes=None, ckpt=None, **settings):
    memory = MemorySink()
    probes = {"gradients": GradientProbe()} if probes is None else probes
    callback = gradlab.GradientLabCallback(probes, sinks=[memory], strict=True)
    callbacks = [*([spy] if spy else []), *([callback] if lab else [])]
    trainer = quiet_trainer(tmp_path, steps, callbacks, **settings)
    trainer.fit(module, ckpt_path=ckpt)
    return memory, trainer


def expected(g, previous=None):
    """The fields of one parameter at one step."""
    found = statistics_of(g)
    if previous is not None:
        found["cosine"] = np.sum(g * previous) / np.linalg.norm(g) / np.linalg.norm(previous)
    return found


def assert_follows(memory, spy, rel=1e-6, steps=None):
    """Every number of every step is the spy's."""
    recorded = {tag: dict(zip(*curve, strict=True)) for tag, curve in memory.scalars().items()}
    histograms = {(h.tag, h.step): h for h in memory.records(Histogram)}
    order = sorted(spy.gradients)
    assert order == (order if steps is None else steps)
    for place, step in enumerate(order):
        for name, g in spy.gradients[step].items():
            last = spy.gradients[order[place - 1]].get(name) if place else None
            for field, value in expected(g, last).items():
                got = recorded[f"gradient/{name}/{field}"][step]
                assert got == pytest.approx(value, rel=rel, abs=rel * np.abs(g).max()), (name, field, step)
            if step in spy.after:
                moved = spy.after[step][name] - spy.before[step][name]
                value = np.linalg.norm(moved) / np.linalg.norm(spy.before[step][name])
                got = recorded[f"update/{name}/ratio"][step]
                assert got == pytest.approx(value, rel=1e-5, abs=1e-12), (name, step)
            histogram = histograms[f"gradient/{name}/histogram", step]
            counts, _ = np.histogram(g, histogram.edges)
            assert histogram.counts.sum() == g.size
            # An entry on an edge may fall to either side, by rounding.
            assert np.abs(counts - histogram.counts).sum() <= max(2, 1e-3 * g.size)
        norm = np.sqrt(sum(np.sum(g**2) for g in spy.gradients[step].values()))
        assert recorded["total/norm_before_clipping"][step] == pytest.approx(norm, rel=rel)


@pytest.mark.parametrize("wide", [4, 2000], ids=["copied aside", "summed at once"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_number_of_every_step(tmp_path, wide, dtype):
    spy = Spy()
    memory, _ = fit(Net(wide=wide, dtype=dtype), tmp_path, spy=spy)
    assert_follows(memory, spy, rel=1e-5 if dtype == torch.float32 else 1e-12, steps=[0, 1, 2, 3])
    assert memory.scalars()["total/clip_coefficient"][1].tolist() == [1.0] * 4
    assert "gradient/net.0.bias/cosine" in memory.tags()
    assert memory.scalars()["gradient/net.0.bias/cosine"][0].tolist() == [1, 2, 3]  # the first step has none before


def test_accumulation_and_clipping(tmp_path):
    spy = Spy()
    memory, _ = fit(Net(), tmp_path, steps=2, spy=spy, accumulate_grad_batches=2, gradient_clip_val=0.01)
    assert_follows(memory, spy, steps=[0, 1])
    curves = memory.scalars("total/")
    assert curves["total/norm_after_clipping"][1] == pytest.approx([0.01, 0.01], rel=1e-4)
    before = curves["total/norm_before_clipping"][1]
    assert curves["total/clip_coefficient"][1] == pytest.approx(0.01 / before, rel=1e-4)
    reference = Net()
    losses = [reference.loss((X[k : k + 6], Y[k : k + 6])).item() for k in (0, 6)]
    assert memory.scalars()["loss/train"][1][0] == pytest.approx(np.mean(losses), rel=1e-6)


def scaled(**settings):
    return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", **settings))]}


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_a_scaler_leaves_no_trace_in_the_numbers(tmp_path, fused):
    spy = Spy(fused)
    module = Net(lambda p: torch.optim.Adam(p, lr=0.05, fused=fused))
    memory, _ = fit(module, tmp_path, spy=spy, **scaled(init_scale=1024.0))
    assert_follows(memory, spy, rel=1e-3, steps=[0, 1, 2, 3])  # half precision in the forward pass
    losses = memory.scalars()["loss/train"][1]
    assert losses[0] == pytest.approx(Net().loss((X[:6], Y[:6])).item(), rel=1e-2)
    assert memory.scalars()["total/clip_coefficient"][1] == pytest.approx([1.0] * 4)


def test_a_step_that_the_scaler_skips_is_recorded_as_it_is(tmp_path):
    memory, _ = fit(Net(), tmp_path, spy=Spy(), steps=2, **scaled(init_scale=2.0**40))
    first = {tag: values[0] for tag, (_, values) in memory.scalars().items()}
    assert first["gradient/net.0.weight/nonfinite"] > 0
    assert first["update/net.0.weight/ratio"] == 0
    assert not np.isfinite(first["gradient/net.0.weight/l2"])


class Adversaries(Net):
    """Two optimizers by hand, one of them clipped by hand, and a loss that reaches both nets."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(2, 2)
        self.automatic_optimization = False
        self.seen = {}

    def configure_optimizers(self):
        return torch.optim.SGD(self.net.parameters(), lr=0.1), torch.optim.SGD(self.other.parameters(), lr=0.2)

    def training_step(self, batch, index):
        first, second = self.optimizers()
        for optimizer, net in ((first, self.net), (second, self.other)):
            self.zero_grad()
            loss = nn.functional.mse_loss(self.other(self.net(batch[0])), batch[1])
            self.manual_backward(loss)
            self.seen[len(self.seen)] = {n: numbers(p.grad) for n, p in self.named_parameters()}
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()


def test_several_optimizers_clipped_by_hand(tmp_path):
    module = Adversaries()
    memory, _ = fit(module, tmp_path, steps=6)
    curves = memory.scalars()
    for label, net, own in (("optimizer0", "net.0.weight", "net."), ("optimizer1", "other.weight", "other.")):
        steps = [0, 2, 4] if label == "optimizer0" else [1, 3, 5]
        found, l2 = curves[f"gradient/{net}/l2"]
        assert found.tolist() == steps
        assert l2 == pytest.approx([np.linalg.norm(module.seen[s][net]) for s in steps], rel=1e-6)
        norms = [np.sqrt(sum(np.sum(g**2) for n, g in module.seen[s].items() if n.startswith(own))) for s in steps]
        assert curves[f"total/{label}/norm_before_clipping"][1] == pytest.approx(norms, rel=1e-6)
        after = curves[f"total/{label}/norm_after_clipping"][1]
        assert after == pytest.approx(np.minimum(norms, 0.1), rel=1e-4)
        assert curves[f"learning_rate/{label}/group0"][1][0] == pytest.approx(0.1 if label == "optimizer0" else 0.2)
        previous = [module.seen[s][net] for s in steps]
        cosines = [np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(previous, previous[1:])]  # noqa: B905
        assert curves[f"gradient/{net}/cosine"][1] == pytest.approx(cosines, rel=1e-5)


def test_lbfgs_shows_its_first_closure_and_its_whole_update(tmp_path):
    spy = Spy()
    memory, _ = fit(Net(lambda p: torch.optim.LBFGS(p, max_iter=4), dtype=torch.float64), tmp_path, spy=spy, steps=3)
    assert_follows(memory, spy, rel=1e-12, steps=[0, 1, 2])


class Odd(Net):
    """A frozen layer, a tied weight, a sparse gradient, and a layer that the loss does not reach."""

    def __init__(self):
        super().__init__(lambda p: torch.optim.SGD(p, lr=0.1))
        self.embed = nn.Embedding(30, 5, sparse=True)
        self.net[0].bias.requires_grad_(False)
        self.unused = nn.Linear(3, 3)
        self.square, self.tied = nn.Linear(5, 5), nn.Linear(5, 5)
        self.tied.weight = self.square.weight

    def training_step(self, batch, index):
        rows = self.embed(torch.tensor([1, 2, 2, 7, 0, 1]))
        return self.loss((self.tied(self.square(batch[0] + rows)), batch[1]))


def test_frozen_tied_sparse_and_missing(tmp_path):
    spy = Spy()
    memory, _ = fit(Odd(), tmp_path, spy=spy)
    assert_follows(memory, spy, rel=1e-5)
    (line,) = memory.records(Text, "coverage/")
    assert line.markdown == (
        "7 of 9 parameters have a gradient; None: unused.weight, unused.bias; frozen: net.0.bias"
    ), line.markdown
    assert not [tag for tag in memory.tags() if "unused" in tag or "tied.weight" in tag or "net.0.bias" in tag]
    zeros = memory.scalars()["gradient/embed.weight/zeros"][1][0]
    assert zeros == pytest.approx(1 - 4 / 30)


class Conditional(Net):
    """Every other batch reaches the bias of the last layer."""

    def loss(self, batch):  # the others' turn is the even steps
        out = self.net[1](self.net[0](batch[0])) @ self.net[2].weight.T
        return nn.functional.mse_loss(out + self.net[2].bias if self.global_step % 2 else out, batch[1])


def test_parameters_that_take_turns(tmp_path):
    spy = Spy()
    memory, _ = fit(Conditional(lambda p: torch.optim.SGD(p, lr=0.1)), tmp_path, spy=spy, steps=5)
    curves = memory.scalars()
    assert curves["gradient/net.2.bias/l2"][0].tolist() == [1, 3]
    assert curves["gradient/net.0.weight/l2"][0].tolist() == [0, 1, 2, 3, 4]
    for step in range(5):
        g, moved = (
            spy.gradients[step]["net.0.weight"],
            spy.after[step]["net.0.weight"] - spy.before[step]["net.0.weight"],
        )
        assert curves["gradient/net.0.weight/l2"][1][step] == pytest.approx(np.linalg.norm(g), rel=1e-6)
        ratio = np.linalg.norm(moved) / np.linalg.norm(spy.before[step]["net.0.weight"])
        assert curves["update/net.0.weight/ratio"][1][step] == pytest.approx(ratio, rel=1e-5)
    assert [t.markdown for t in memory.records(Text, "coverage/")][:2] == [
        "3 of 4 parameters have a gradient; None: net.2.bias",
        "4 of 4 parameters have a gradient",
    ]


def test_a_schedule_with_gaps(tmp_path):
    spy = Spy()
    memory, _ = fit(Net(), tmp_path, spy=spy, steps=7, probes={"gradients": GradientProbe(every(3))})
    curves = memory.scalars()
    assert curves["gradient/net.0.weight/l2"][0].tolist() == [0, 3, 6]
    for place, step in enumerate((0, 3, 6)):
        moved = spy.after[step]["net.0.weight"] - spy.before[step]["net.0.weight"]
        ratio = np.linalg.norm(moved) / np.linalg.norm(spy.before[step]["net.0.weight"])
        assert curves["update/net.0.weight/ratio"][1][place] == pytest.approx(ratio, rel=1e-5)
    assert "gradient/net.0.weight/cosine" not in curves
    assert curves["loss/train"][0].tolist() == list(range(7))


def test_after_resuming_the_steps_go_on(tmp_path):
    _, trainer = fit(Net(), tmp_path, steps=3)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    spy = Spy()
    memory, _ = fit(Net(), tmp_path, steps=6, spy=spy, ckpt=tmp_path / "half.ckpt")
    assert_follows(memory, spy, rel=1e-5, steps=[3, 4, 5])


def test_an_exception_loses_nothing(tmp_path):
    class Fails(Net):
        def training_step(self, batch, index):
            if self.global_step == 3:
                raise RuntimeError("on purpose")
            return super().training_step(batch, index)

    memory, spy = MemorySink(), Spy()
    callback = gradlab.GradientLabCallback({"gradients": GradientProbe()}, sinks=[memory])
    trainer = quiet_trainer(tmp_path, 9, [spy, callback])
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit(Fails())
    assert_follows(memory, spy, rel=1e-5, steps=[0, 1, 2])


def test_ctrl_c_loses_nothing(tmp_path):
    class Stops(Net):
        def training_step(self, batch, index):
            if self.global_step == 3:
                raise KeyboardInterrupt
            return super().training_step(batch, index)

    memory, spy = MemorySink(), Spy()
    callback = gradlab.GradientLabCallback({"gradients": GradientProbe()}, sinks=[memory])
    trainer = quiet_trainer(tmp_path, 9, [spy, callback])
    with pytest.raises(SystemExit):
        trainer.fit(Stops())
    assert_follows(memory, spy, rel=1e-5, steps=[0, 1, 2])


def test_scaler_accumulation_and_clipping_together(tmp_path):
    spy = Spy()
    settings = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.05, **scaled(init_scale=256.0)}
    memory, _ = fit(Net(), tmp_path, steps=3, spy=spy, **settings)
    assert_follows(memory, spy, rel=1e-5, steps=[0, 1, 2])
    curves = memory.scalars("total/")
    before = curves["total/norm_before_clipping"][1]
    assert curves["total/norm_after_clipping"][1] == pytest.approx(np.minimum(before, 0.05), rel=1e-3)
    assert curves["total/clip_coefficient"][1] == pytest.approx(np.minimum(1, 0.05 / before), rel=1e-3)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (Net, {"gradient_clip_val": 0.1, "accumulate_grad_batches": 2}),
        (lambda: Net(wide=2000), {}),
        (Net, {"scaled": True}),
        (Net, {"precision": "bf16-mixed"}),
        (Adversaries, {}),
        (Odd, {}),
    ],
    ids=["clipped", "large", "scaler", "bf16", "adversaries", "odd"],
)
def test_training_is_the_same_to_the_last_bit(tmp_path, make, settings):
    def these():  # a scaler belongs to one trainer
        return scaled(init_scale=1024.0) if "scaled" in settings else settings

    watched, alone = make(), make()
    fit(watched, tmp_path, probes=default_probes(), **these())
    state = torch.get_rng_state()
    fit(alone, tmp_path, lab=False, **these())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), alone.parameters(), strict=True))
