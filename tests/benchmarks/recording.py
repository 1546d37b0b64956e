"""What recording costs beside the training that it watches, in ratios measured in one run on one thread.

    python tests/benchmarks/recording.py           # the small network, the large one, memory
    python tests/benchmarks/recording.py small     # one of them

The small network is the tanh MLP 2-16-16-1 with batch 64 over the whole ``fit`` of 1,500 steps, start and flush
included; the large one has 10 million parameters and batch 256. Ratios are medians of interleaved rounds, to the plain
Lightning loop. The naive callback writes a histogram and a norm of each parameter at each step. wandb and monitorch
run where they are installed.
"""

from __future__ import annotations

import logging
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

import gradlab
from gradlab.probes import GradientProbe

STEPS = 1500
ASKED = {"small": 1.25, "large": 1.10}


class Net(pl.LightningModule):
    def __init__(self, sizes: list[int], batch: int, batches: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), nn.Tanh())]
        self.net = nn.Sequential(*layers[:-1])
        x = torch.randn(batches, batch, sizes[0])
        self.batches = list(zip(x, torch.randn(batches, batch, sizes[-1]), strict=True))

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)

    def train_dataloader(self) -> Any:
        return DataLoader(self.batches, batch_size=None)


def small() -> Net:
    return Net([2, 16, 16, 1], 64, 50)


def large() -> Net:
    return Net([1000, 2400, 2400, 800], 256, 4)


class Naive(pl.Callback):
    """A histogram and a norm of each parameter at each step, as most people begin."""

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: Any) -> None:
        writer = trainer.logger.experiment  # type: ignore[union-attr]
        for name, p in module.named_parameters():
            writer.add_histogram(f"gradient/{name}", p.grad, trainer.global_step)
            writer.add_scalar(f"norm/{name}", p.grad.norm(), trainer.global_step)


def bare(make: Callable[[], Net], steps: int, folder: Path) -> None:
    net = make()
    optimizer = net.configure_optimizers()
    for step in range(steps):
        optimizer.zero_grad()
        net.training_step(net.batches[step % len(net.batches)], step).backward()
        optimizer.step()


def lightning(*callbacks: Callable[[], pl.Callback], logs: bool = False) -> Callable[..., None]:
    def fit(make: Callable[[], Net], steps: int, folder: Path) -> None:
        off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        pl.Trainer(
            max_steps=steps,
            accelerator="cpu",
            callbacks=[c() for c in callbacks],
            logger=TensorBoardLogger(folder) if logs else False,
            default_root_dir=folder,
            **off,
        ).fit(make())

    return fit


WAYS: dict[str, Callable[..., None]] = {
    "bare loop": bare,
    "plain Lightning": lightning(),
    "statistics at every step": lightning(lambda: gradlab.GradientLabCallback({"gradients": GradientProbe()})),
    "GradientLabCallback()": lightning(gradlab.GradientLabCallback),
}


def wandb(make: Callable[[], Net], steps: int, folder: Path) -> None:
    import wandb

    net = make()
    with wandb.init(mode="offline", dir=str(folder)) as run:
        run.watch(net, log="gradients", log_freq=1)
        optimizer = net.configure_optimizers()
        for step in range(steps):
            optimizer.zero_grad()
            net.training_step(net.batches[step % len(net.batches)], step).backward()
            optimizer.step()
            run.log({"step": step})


def seconds(way: Callable[..., None], make: Callable[[], Net], steps: int) -> tuple[float, int]:
    """How long it takes, and how many bytes it leaves."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        way(make, steps, Path(folder))
        took = time.perf_counter() - begin
        return took, sum(f.stat().st_size for f in Path(folder).rglob("*tfevents*"))


def compare(name: str, make: Callable[[], Net], steps: int, rounds: int) -> None:
    for way in WAYS.values():
        seconds(way, make, max(3, steps // 10))  # warm up
    found = [{way: seconds(run, make, steps) for way, run in WAYS.items()} for _ in range(rounds)]
    print(f"\n{name}: {steps} steps, medians of {rounds} rounds, over plain Lightning (asked: {ASKED[name]})")
    for way in WAYS:
        ratio = statistics.median(r[way][0] / r["plain Lightning"][0] for r in found)
        written = f"{found[-1][way][1] / steps:9.0f} bytes a step" if found[-1][way][1] else ""
        print(f"  {way:26} {ratio:6.3f}   {1e6 * found[-1][way][0] / steps:9.0f} µs a step {written}", flush=True)


def others() -> None:
    """The naive callback, and whatever else is installed, on the small network; once, since they are slow."""
    base = seconds(WAYS["plain Lightning"], small, STEPS)[0]
    took, written = seconds(lightning(Naive, logs=True), small, STEPS)
    ours = seconds(WAYS["GradientLabCallback()"], small, STEPS)[1]
    print(f"  {'naive callback':26} {took / base:6.2f}   {written / STEPS:9.0f} bytes a step")
    print(f"  bytes of GradientLabCallback() over the naive callback's: {ours / written:.3f} (asked: 0.2)")
    if find_spec("wandb") is not None:
        print(f"  {'wandb.watch(log_freq=1)':26} {seconds(wandb, small, STEPS)[0] / base:6.2f}")
    else:
        print("  wandb and monitorch: not installed" if find_spec("monitorch") is None else "  wandb: not installed")


def memory() -> None:
    """The process's largest size after 1,000 and after 10,000 steps: it must not grow with their number."""
    sizes = []
    for steps in (1_000, 10_000):
        seconds(WAYS["GradientLabCallback()"], small, steps)
        sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"\nmemory: {sizes[0]:.0f} MiB after 1,000 steps, {sizes[1]:.0f} MiB after 10,000 more")


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    chosen = sys.argv[1:] or ["small", "large", "memory"]
    if "small" in chosen:
        compare("small", small, STEPS, rounds=7)
        others()
    if "large" in chosen:
        compare("large", large, steps=100, rounds=5)
    if "memory" in chosen:
        memory()


if __name__ == "__main__":
    main()
