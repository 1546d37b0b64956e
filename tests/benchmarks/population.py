"""What a step of one trajectory costs in a population, beside a step of a single run.

    python tests/benchmarks/population.py            # 65,536 points with every optimizer, then 1,048,576
    python tests/benchmarks/population.py quick      # 65,536 points with torch's Adam only

Both are whole ``fit``s of gradlab's own runs without probes, start and event file included: Rosenbrock in float64, on
the GPU where there is one, else on one thread. There it is the time of this process that counts, not what else the
machine does. Each number is the best of several rounds that take turns.
"""

from __future__ import annotations

import logging
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from gradlab.callbacks import GradientLabCallback, StopAtNonFinite, StopWhenAllDiverged
from gradlab.data import NoData
from gradlab.descent import DescentModule
from gradlab.losses import Rosenbrock
from gradlab.models import Point
from gradlab.optimizers import Adam
from gradlab.sinks import MemorySink
from gradlab.sinks.tensorboard import TensorBoardSink

ASKED = 15_000  # times cheaper, at 65,536 points with torch's Adam
SINGLE_STEPS, ROUNDS = 1000, 3
MANY, MORE = 65_536, 1_048_576
STEPS = {MANY: 500, MORE: 20}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "torch.optim.Adam": partial(torch.optim.Adam, lr=0.01),
    "adam by hand": partial(Adam, lr=0.01),
    "torch.optim.SGD": partial(torch.optim.SGD, lr=1e-4),
}


def seconds_a_step(
    population: int | None, make: Callable[..., torch.optim.Optimizer], steps: int, device: str
) -> float:
    """Of the whole fit of a run, as ``python -m gradlab loss=rosenbrock model=point data=none probes=none`` has it."""
    surface = Rosenbrock()
    module = DescentModule(Point(surface.start, population=population, window=surface.box), surface, make)
    stopping: pl.Callback = StopAtNonFinite() if population is None else StopWhenAllDiverged()
    off: dict[str, Any] = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    clock = time.perf_counter if device == "gpu" else time.process_time
    with tempfile.TemporaryDirectory() as folder, closing(TensorBoardSink(Path(folder))) as sink:
        watching = GradientLabCallback({}, root="model", sinks=[sink, MemorySink(limit=2000)], strict=True)
        trainer = pl.Trainer(
            accelerator=device,
            devices=1,
            max_steps=steps,
            max_epochs=-1,
            logger=False,
            callbacks=[watching, stopping],
            default_root_dir=folder,
            **off,
        )
        begin = clock()
        trainer.fit(module, datamodule=NoData())
        if device == "gpu":
            torch.cuda.synchronize()
        return (clock() - begin) / steps


def compare(name: str, population: int, device: str) -> None:
    make, steps = OPTIMIZERS[name], STEPS[population]
    seconds_a_step(None, make, 100, device)  # warm up
    rounds = [
        (seconds_a_step(None, make, SINGLE_STEPS, device), seconds_a_step(population, make, steps, device))
        for _ in range(ROUNDS)
    ]
    single, together = (min(column) for column in zip(*rounds, strict=True))
    costs = f"{1e6 * single:9.0f} µs {1e3 * together:9.2f} ms {1e9 * together / population:9.1f} ns"
    asked = f" (asked: {ASKED:,})" if population == MANY and name == "torch.optim.Adam" else ""
    print(f"{name:18} {population:>9,} {costs} {population * single / together:11,.0f} ×{asked}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    device = "gpu" if torch.cuda.is_available() else "cpu"
    print(torch.cuda.get_device_name() if device == "gpu" else f"one thread of {platform.processor() or 'a CPU'}")
    print(f"{'optimizer':18} {'points':>9} {'single step':>12} {'their step':>12} {'per point':>12} {'ratio':>13}")
    quick = "quick" in sys.argv[1:]
    for population in [MANY] if quick else STEPS:
        for name in list(OPTIMIZERS)[: 1 if quick else None]:
            compare(name, population, device)


if __name__ == "__main__":
    main()
