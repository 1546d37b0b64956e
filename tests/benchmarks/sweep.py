"""How long TensorBoard takes to open a sweep of 500 runs, and how large a run is.

    python tests/benchmarks/sweep.py [RUNS [STEPS]]

One run is made as a sweep with ``probes=none`` makes it; the others get the same records with settings of their own.
Prints the size of an event file, and for TensorBoard's fast loader and its slow one the seconds from the start of the
process until every run's loss and settings are answered over HTTP.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from gradlab.cli import main as gradlab_command
from gradlab.loading import load
from gradlab.records import Hparams, ScalarBlock
from gradlab.sinks.tensorboard import TensorBoardSink

RUNS, STEPS = 500, 200
LIMIT = 60.0  # seconds
BOUND = 10.0  # "in seconds", of the fast loader
ALL_ROWS = {"allowedStatuses": ["STATUS_SUCCESS"], "colParams": [], "startIndex": 0, "sliceSize": 1_000_000}


def make_one(folder: Path, steps: int) -> Path:
    """A run as a job of a sweep makes it."""
    arguments = ["loss=cross_entropy", "model=mlp", "data=digits", "optimizer=adam", "probes=none"]
    options = [f"trainer.max_steps={steps}", f"hydra.run.dir={folder}", "trainer.enable_progress_bar=false"]
    with contextlib.redirect_stdout(io.StringIO()):
        code = gradlab_command([*arguments, *options])
    assert code == 0, code
    return next(folder.glob("events*"))


def make_others(folder: Path, one: Path, runs: int) -> list[Path]:
    """The same records with another learning rate and seed, in a folder for each run."""
    memory = load(one).memory(load(one).runs[0])
    assert memory.hparams is not None
    curves = {tag: curve for tag, curve in memory.scalars().items() if tag not in memory.hparams.metrics}
    blocks = [ScalarBlock((tag,), steps, values[:, None]) for tag, (steps, values) in curves.items()]
    metrics = memory.hparams.metrics
    for number in range(runs):
        settings = {**memory.hparams.settings, "optimizer.lr": 1e-4 * (1 + number // 10), "seed": number % 10}
        sink = TensorBoardSink(folder / f"{number}_optimizer.lr={settings['optimizer.lr']:.4g},seed={settings['seed']}")
        sink.write(blocks)
        sink.write([Hparams(settings, metrics)])
        sink.close()
    return sorted(folder.rglob("events*"))


def seconds_to_open(folder: Path, runs: int, fast: bool) -> float | None:
    """From the start of TensorBoard until all runs are answered; None where that takes longer than the limit."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
    begin = time.perf_counter()
    server = subprocess.Popen(
        [*command, f"--load_fast={'true' if fast else 'false'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        while time.perf_counter() - begin < LIMIT and server.poll() is None:
            if is_open(f"http://localhost:{port}/data", runs):
                return time.perf_counter() - begin
            time.sleep(0.05)
        return None
    finally:
        server.terminate()
        server.wait()


def is_open(url: str, runs: int) -> bool:
    """Whether the loss and the settings of all runs are there."""
    try:
        tags = ask(f"{url}/plugin/scalars/tags")
        if sum("loss/train" in own for own in tags.values()) < runs:
            return False
        groups = ask(f"{url}/plugin/hparams/session_groups", ALL_ROWS)["sessionGroups"]
    except (OSError, KeyError, ValueError):
        return False
    return len(groups) == runs and all(group["hparams"] and group["metricValues"] for group in groups)


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return json.load(answer)


def main() -> None:
    runs, steps = [*map(int, sys.argv[1:]), *[RUNS, STEPS][len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as name:
        one = make_one(Path(name) / "one", steps)
        files = make_others(Path(name) / "sweep", one.parent, runs)
        sizes = [path.stat().st_size for path in files]
        assert len(files) == runs
        print(f"{runs} runs of {steps} steps: one event file each, {sum(sizes) / runs:,.0f} bytes a run")
        print(f"the run that they are made from: {one.stat().st_size:,} bytes")
        for words, fast in (("fast loader", True), ("slow loader", False)):
            seconds = seconds_to_open(Path(name) / "sweep", runs, fast)
            print(f"{words}: {'over ' + format(LIMIT, '.0f') if seconds is None else format(seconds, '.1f')} s")
    print(f"bound: the fast loader within {BOUND:.0f} s")


if __name__ == "__main__":
    main()
