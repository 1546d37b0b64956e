"""How long `gradlab.load` takes to read a run of 1,500 steps beside TensorBoard's own reader.

    python tests/benchmarks/load.py

The run is what `gradlab.watch` writes by default about a small network. Prints the medians of interleaved rounds.
TensorBoard's reader finds the points that its tabs get; `load` finds every step of the blocks besides.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import gradlab

STEPS, ROUNDS = 1_500, 7
KINDS = ("scalars", "tensors", "images", "audio", "histograms", "compressedHistograms")


def write(folder: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = torch.randn(64, 2), torch.randn(64, 1)
    with gradlab.watch(model, optimizer, folder) as lab:
        for _ in range(STEPS):
            with lab.step():
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()


def seconds_of_tensorboard(folder: Path) -> float:
    begin = time.perf_counter()
    EventAccumulator(str(folder), size_guidance=dict.fromkeys(KINDS, 0)).Reload()
    return time.perf_counter() - begin


def seconds_of_load(folder: Path) -> float:
    begin = time.perf_counter()
    gradlab.load(folder)
    return time.perf_counter() - begin


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        write(folder)
        megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        rounds = [(seconds_of_tensorboard(folder), seconds_of_load(folder)) for _ in range(ROUNDS)]
        records = gradlab.load(folder)
    theirs, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    points, bars = len(records.scalars()["step"]), len(records.histograms()["step"])
    print(f"{STEPS} steps, {megabytes:.1f} MB, {points:,} scalars, {bars:,} bars of histograms")
    print(f"EventAccumulator {theirs:.3f} s, gradlab.load {ours:.3f} s, ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
