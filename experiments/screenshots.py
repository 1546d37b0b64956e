"""Makes the screenshots that the README shows: a run in TensorBoard, opened in a headless browser.

    pip install playwright && python experiments/screenshots.py RUN [--tabs NAME ...] [--out FOLDER] [--browser PATH]

It starts TensorBoard on a free port, opens tabs that a run of gradlab fills, and writes one PNG for each. The figures
that the README shows are copied from the run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from gradlab.links import deep_link
from gradlab.loading import load

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
TABS = ("gradlab", "custom_scalars", "histograms", "distributions", "text", "images", "hparams", "time_series")
PANELS = {"graph": 720, "flow": 480}  # of the Gradlab tab, with the heights of their pictures
FIGURES = ("overview.png", "gradient_flow.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("experiments/backprop"))
    parser.add_argument("--tabs", nargs="+", choices=TABS, default=["gradlab", "custom_scalars"])
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--dark", action="store_true", help="TensorBoard's dark mode")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        shutil.copy(chosen.run / name, chosen.out / name)
    tags = list(dict.fromkeys(load(chosen.run).scalars()["tag"]))
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(chosen.run), "--port", str(port)],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://localhost:{port}/data/runs")
        photograph(chosen, port, tags)
    finally:
        server.terminate()
        server.wait()


def photograph(chosen: argparse.Namespace, port: int, tags: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    address = urlparse(deep_link(tags))
    dark = "&darkMode=true" if chosen.dark else ""
    pages = {name: f"http://localhost:{port}/?{dark}#{name}" for name in chosen.tabs}
    if "time_series" in pages:
        pages["time_series"] = f"http://localhost:{port}/?{address.query}{dark}#timeseries"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chosen.browser, args=FLAGS)
        for name, url in pages.items():
            page = browser.new_page(viewport={"width": 1500, "height": 1000})
            page.goto(url)
            page.wait_for_timeout(6000)
            for panel in PANELS if name == "gradlab" else [""]:
                ending = _show(page, panel) + ("_dark" if chosen.dark else "")
                path = chosen.out / f"tensorboard_{name}{ending}.png"
                page.screenshot(path=str(path))
                print(path)
            page.close()
        browser.close()


def _show(page: Any, panel: str) -> str:
    """Opens a panel of the Gradlab tab, in the graph an operation's numbers beside it; how its file's name ends."""
    if not panel:
        return ""
    page.set_viewport_size({"width": 1280, "height": PANELS[panel]})
    frame = page.frame_locator("iframe")
    frame.get_by_role("tab", name=panel.capitalize()).click()
    frame.locator(f"section.panel.{panel}").wait_for()
    if panel == "graph":
        frame.get_by_role("button", name="unfold all modules").click()
        frame.locator("#graph-picture [data-operation^=tanh]").first.click()
    page.wait_for_timeout(1000)
    return f"_{panel}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, seconds: float = 60) -> None:
    """Until TensorBoard has found the run."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url) as answer:
                if json.load(answer):
                    return
        except OSError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"TensorBoard did not answer at {url} within {seconds:.0f} seconds")


if __name__ == "__main__":
    main()
