"""What the handwritten backward pass costs beside autograd's, in ratios measured in one run on one thread.

    python tests/benchmarks/backprop.py             # all networks, then Lightning
    python tests/benchmarks/backprop.py mlp gru     # some of the networks only

*record + sweep* is a forward pass under a tape (entered under no_grad, or in grad mode) and its sweep; it stands over
autograd's forward and backward pass. Each number is the median of interleaved rounds. Memory is the largest sum of
tensor memory alive at once, from PyTorch's profiler. HIPS/autograd and micrograd run the small network where they are
installed: the first on NumPy arrays, the second number by number.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

import gradlab

ROUNDS = 7

# What was asked for: record + sweep over autograd, under no_grad.
BOUNDS = {"mlp": 1.5, "wide": 1.15, "gpt": 1.4, "conv": 2.0, "gru": 4.0}
ITERATIONS = {"mlp": 200, "wide": 1, "gpt": 5, "conv": 10, "gru": 10}

Case = tuple[nn.Module, Callable[[], Tensor]]


# --- the networks -------------------------------------------------------------------------------------------


def _mlp(width: int, batch: int, inputs: int, outputs: int) -> Case:
    model = nn.Sequential(
        nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
    )
    x, y = torch.randn(batch, inputs), torch.randn(batch, outputs)
    return model, lambda: F.mse_loss(model(x), y)


class Block(nn.Module):
    """A GPT block: causal attention with four heads, then an MLP of four times the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (4, -1)).transpose(1, 2) for t in self.qkv(self.first(x)).chunk(3, -1))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        return x + self.mlp(self.second(x))


def _gpt() -> Case:
    model = nn.Sequential(nn.Embedding(64, 128), Block(128), nn.LayerNorm(128), nn.Linear(128, 64))
    x, y = torch.randint(64, (8, 64)), torch.randint(64, (8 * 64,))
    return model, lambda: F.cross_entropy(model(x).flatten(0, 1), y)


def _conv() -> Case:
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 10)),
    )
    x, y = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    return model, lambda: F.cross_entropy(model(x), y)


def _gru() -> Case:
    cells, head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 1)
    x, y = torch.randn(16, 20, 8), torch.randn(16, 1)
    return nn.ModuleList([cells, head]), lambda: F.mse_loss(head(cells(x)[0][:, -1]), y)


CASES: dict[str, Callable[[], Case]] = {
    "mlp": lambda: _mlp(16, 64, 2, 1),
    "wide": lambda: _mlp(1024, 1024, 1024, 1024),
    "gpt": _gpt,
    "conv": _conv,
    "gru": _gru,
}


# --- the ways -----------------------------------------------------------------------------------------------


def ways(name: str) -> dict[str, Callable[[], None]]:
    """The same network differentiated by autograd, and by a tape with gradients disabled and enabled."""
    torch.manual_seed(0)
    model, loss = CASES[name]()
    parameters = list(model.parameters())

    def by_autograd() -> None:
        torch.autograd.grad(loss(), parameters)

    def by_tape() -> None:
        with gradlab.Tape() as tape:
            value = loss()
        gradients = tape.backward(value)
        for p in parameters:  # asked for, as autograd hands them over
            gradients[p]

    @torch.no_grad()
    def by_tape_alone() -> None:
        by_tape()

    return {"autograd": by_autograd, "no_grad": by_tape_alone, "grad mode": by_tape}


def seconds(run: Callable[[], None], iterations: int) -> float:
    begin = time.perf_counter()
    for _ in range(iterations):
        run()
    return (time.perf_counter() - begin) / iterations


def speed(name: str) -> None:
    runs, iterations = ways(name), ITERATIONS[name]
    for run in runs.values():
        seconds(run, iterations)  # warm up
    rounds = [{way: seconds(run, iterations) for way, run in runs.items()} for _ in range(ROUNDS)]
    base = statistics.median(r["autograd"] for r in rounds)
    ratios = {way: statistics.median(r[way] / r["autograd"] for r in rounds) for way in ("no_grad", "grad mode")}
    memory = {way: peak_of(name, way) for way in runs}
    print(
        f"{name:5} autograd {1e6 * base:9.0f} µs   no_grad {ratios['no_grad']:.2f} (asked: {BOUNDS[name]})   "
        f"grad mode {ratios['grad mode']:.2f}   peak memory {memory['no_grad'] / memory['autograd']:.2f} "
        f"and {memory['grad mode'] / memory['autograd']:.2f} (asked: 2)",
        flush=True,
    )


def peak_of(name: str, way: str) -> int:
    """Bytes of tensors alive at once, measured in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, way]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak(name: str, way: str) -> int:
    run = ways(name)[way]
    run()
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


# --- the small network by other means -----------------------------------------------------------------------


def others() -> None:
    base = seconds(ways("mlp")["autograd"], 200)
    for package, run in (("autograd", _by_hips), ("micrograd", _by_micrograd)):
        if find_spec(package) is None:
            print(f"{package}: not installed")
        else:
            step, iterations = run()
            print(f"{package}: {seconds(step, iterations) / base:.1f} × PyTorch's autograd on the small network")


def _by_hips() -> tuple[Callable[[], None], int]:
    import autograd.numpy as anp
    from autograd import grad

    model, _ = CASES["mlp"]()
    weights = [p.detach().numpy() for p in model.parameters()]
    x, y = torch.randn(64, 2).numpy(), torch.randn(64, 1).numpy()

    def loss(w: list) -> float:
        hidden = anp.tanh(anp.tanh(x @ w[0].T + w[1]) @ w[2].T + w[3])
        return anp.mean((hidden @ w[4].T + w[5] - y) ** 2)

    return lambda: grad(loss)(weights), 100


def _by_micrograd() -> tuple[Callable[[], None], int]:
    from micrograd.nn import MLP

    model = MLP(2, [16, 16, 1])
    x, y = torch.randn(64, 2).tolist(), torch.randn(64).tolist()

    def step() -> None:
        model.zero_grad()
        sum((model(a) - b) ** 2 for a, b in zip(x, y, strict=True)).backward()

    return step, 1


# --- within Lightning ---------------------------------------------------------------------------------------


def lightning(name: str, steps: int, bound: float) -> None:
    """A whole `fit`, plain, with every step reconciled, and with every tenth."""
    import lightning.pytorch as pl

    from gradlab.probes import AgreementProbe
    from gradlab.schedules import every
    from gradlab.sinks import MemorySink

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net, self.loss = CASES[name]()

        def training_step(self, batch: Tensor, index: int) -> Tensor:
            return self.loss()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

        def train_dataloader(self) -> DataLoader:
            return DataLoader([torch.zeros(1)] * steps, batch_size=None)  # a bare list would count as many loaders

    def fit(*callbacks: pl.Callback) -> float:
        trainer = pl.Trainer(
            max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", callbacks=list(callbacks),
        )  # fmt: skip
        module = Module()
        begin = time.perf_counter()
        trainer.fit(module)
        return time.perf_counter() - begin

    def watched(n: int) -> float:
        return fit(gradlab.GradientLabCallback({"agreement": AgreementProbe(every(n))}, sinks=[MemorySink(limit=100)]))

    fit(), watched(1)
    rounds = [(fit(), watched(1), watched(10)) for _ in range(5)]
    ratios = [statistics.median(r[i] / r[0] for r in rounds) for i in (1, 2)]
    print(
        f"{name:5} in Lightning: plain {1e6 * statistics.median(r[0] for r in rounds) / steps:.0f} µs a step   "
        f"every step reconciled {ratios[0]:.2f} (asked: {bound})   every tenth {ratios[1]:.2f} (asked: 1.25)",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--peak"]:
        print(peak(*sys.argv[2:]))
        return
    print(f"torch {torch.__version__}, one thread, medians of {ROUNDS} interleaved rounds")
    for name in sys.argv[1:] or CASES:
        speed(name)
    if not sys.argv[1:]:
        others()
        lightning("mlp", steps=1500, bound=2.5)
        lightning("gpt", steps=30, bound=2.8)


if __name__ == "__main__":
    main()
