"""How fast the Gradlab tab opens and slides on a large run: 500 operations, 1,000 recorded steps.

    python tests/benchmarks/tab.py [--browser PATH] [--steps 1000] [--blocks 100]

The structure is that of a residual network's backward pass; the numbers of its first step, varied, are written for all
steps by the sink. Prints the seconds from the click on a panel until it shows, and the frames a second while the slider
goes through 100 steps; a browser draws at most 60. "script" is the time that the page's own code takes for a step.
"""

from __future__ import annotations

import argparse
import io
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import nn

import gradlab
from gradlab.probes import GraphProbe
from gradlab.records import Array, Graph, Record
from gradlab.schedules import every
from gradlab.sinks import MemorySink
from gradlab.sinks.tensorboard import TensorBoardSink

WIDTH = 16  # no parameter is small enough to come with its single numbers, as in a residual network

SLIDE = """async () => {
  const slider = document.getElementById("step");
  const places = Number(slider.max) + 1;
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  let script = 0;
  const begin = performance.now();
  for (let i = 0; i < 100; i++) {
    slider.value = String(Math.floor((i * places) / 100));
    const before = performance.now();
    slider.dispatchEvent(new Event("input"));
    script += performance.now() - before;
    await frame();
  }
  return { frames: 100000 / (performance.now() - begin), script: script / 100 };
}"""


class Block(nn.Module):
    """Five operations: two layers, their nonlinearities, and the sum with what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Kept(MemorySink):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []

    def write(self, records) -> None:
        self.records += records


def records(blocks: int, steps: int) -> Iterator[Record]:
    torch.manual_seed(0)
    model = nn.Sequential(*[Block(WIDTH) for _ in range(blocks)], nn.Linear(WIDTH, 1))
    optimizer, kept = torch.optim.SGD(model.parameters(), lr=0.0), Kept()
    with (
        redirect_stdout(io.StringIO()),
        tempfile.TemporaryDirectory() as folder,
        gradlab.watch(model, optimizer, folder, probes={"graph": GraphProbe(every(1))}, sinks=[kept]) as lab,
        lab.step(),
    ):
        model(torch.randn(4, WIDTH)).square().mean().backward()
        optimizer.step()
    (graph,) = [r for r in kept.records if isinstance(r, Graph)]
    (first,) = [r for r in kept.records if isinstance(r, Array)]
    yield graph
    varied = np.random.default_rng(0).lognormal(sigma=0.5, size=steps)
    for step in range(steps):
        yield Array(first.tag, step, (first.values * varied[step]).astype(first.values.dtype))


def write(folder: Path, blocks: int, steps: int) -> None:
    sink = TensorBoardSink(folder)
    sink.write(records(blocks, steps))
    sink.close()


def measure(url: str, browser: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        print(f"{'panel':<22}{'opens in s':>12}{'frames a s':>12}{'script ms':>12}")
        for panel, unfolded in (("Graph", False), ("Graph", True), ("Agreement", False), ("Flow", False)):
            page = chromium.new_page(viewport={"width": 1280, "height": 800})
            page.goto(url)
            page.evaluate(f"localStorage.setItem('gradlab', JSON.stringify({{panel: '{panel.lower()}'}}))")
            begin = time.perf_counter()
            page.reload()
            page.locator(f"section.panel.{panel.lower()}").wait_for()
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            seconds = time.perf_counter() - begin
            if unfolded:
                begin = time.perf_counter()
                page.get_by_role("button", name="unfold all modules").click()
                page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
                seconds = time.perf_counter() - begin
            found = page.evaluate(SLIDE)
            name = f"{panel}, unfolded" if unfolded else panel
            print(f"{name:<22}{seconds:>12.2f}{found['frames']:>12.1f}{found['script']:>12.2f}")
            page.close()
        chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=100)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "run", chosen.blocks, chosen.steps)
        size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
        print(f"{5 * chosen.blocks + 3} operations, {chosen.steps} steps, {size / 1e6:.1f} MB")
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        words = ["-m", "tensorboard.main", "--logdir", name, "--port", str(port)]
        server = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for(f"http://localhost:{port}/data/plugin/gradlab/runs", chosen.steps - 1)
            measure(f"http://localhost:{port}/data/plugin_entry.html?name=gradlab", chosen.browser)
        finally:
            server.terminate()
            server.wait()


def wait_for(url: str, step: int, seconds: float = 60) -> None:
    """Until TensorBoard has read the run to its end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url) as answer:
                if f'"step": {step}' in answer.read().decode():
                    return
        except OSError:
            pass
        time.sleep(0.3)
    raise TimeoutError(f"TensorBoard has not read the run within {seconds:.0f} seconds")


if __name__ == "__main__":
    main()
