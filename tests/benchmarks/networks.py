"""What a step costs a network of a population, beside a network trained by itself.

    python tests/benchmarks/networks.py

Whole runs of gradlab under Lightning, one thread, probes off, in one process: the cost of a step is the time that
further steps take, so that starting counts for nothing. Prints, for each number N of networks, the time of a step, that
time divided by N, and how many times as long N single runs would take.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from gradlab.build import build, config_folder
from gradlab.experiment import Run
from gradlab.report import Summary

NETWORKS = {
    "tanh MLP 2-16-16-1, batch 64": ["data=moons", "loss=bce", "model.hidden=[16,16]", "model.out_features=1"],
    "tanh MLP 64-32-16-10, batch 64": ["data=digits", "loss=cross_entropy"],
}
SIZES = ("null", 1, 4, 16, 64, 256)  # null: a single network
STEPS = (50, 350)
ROUNDS = 3


def seconds(overrides: list[str], steps: int) -> float:
    settings = ["probes=none", "trainer.enable_progress_bar=false", f"trainer.max_steps={steps}", *overrides]
    cfg = compose("config", overrides=settings)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(cfg, Path(folder), build(cfg), Summary("networks", []), is_part=True, choices={})
        begin = time.perf_counter()
        run.go()
        return time.perf_counter() - begin


def step(overrides: list[str]) -> float:
    """Seconds of one step: the median over rounds."""
    few, many = STEPS
    rounds = [seconds(overrides, many) - seconds(overrides, few) for _ in range(ROUNDS)]
    return statistics.median(rounds) / (many - few)


def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        for name, overrides in NETWORKS.items():
            print(name)
            alone = None
            for size in SIZES:
                took = step([*overrides, f"model.population={size}"])
                alone = alone or took
                count = 1 if size == "null" else int(size)
                print(
                    f"  {'single' if size == 'null' else f'N = {count}':>8}: {took * 1e6:7.0f} µs a step, "
                    f"{took / count * 1e6:7.1f} µs a network, {alone * count / took:6.2f} times as fast as one by one"
                )


if __name__ == "__main__":
    main()
