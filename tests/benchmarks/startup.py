"""How long a short experiment takes beside merely importing what it stands on.

    python tests/benchmarks/startup.py

Prints the medians of interleaved rounds and the bound that `experiment=himmelblau` is held to: twice the
imports plus 3 s.
"""

import statistics
import subprocess
import sys
import tempfile
import time

IMPORTS = "import torch, lightning.pytorch, hydra, torch.utils.tensorboard, matplotlib.pyplot"
ROUNDS = 5


def seconds(command: list[str], folder: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            imports = seconds([sys.executable, "-c", IMPORTS], folder)
            descent = seconds([sys.executable, "-m", "gradlab", "experiment=himmelblau"], folder)
            rounds.append((imports, descent))
    imports, descent = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"imports {imports:.2f} s, experiment=himmelblau {descent:.2f} s, ratio {descent / imports:.2f}")
    print(f"bound: 2 × {imports:.2f} + 3 = {2 * imports + 3:.2f} s")


if __name__ == "__main__":
    main()
