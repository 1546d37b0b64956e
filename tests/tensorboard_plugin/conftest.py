"""One TensorBoard and one browser for all tests of the page; what the page complains of fails the test."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from functools import partial
from pathlib import Path

import pytest
import tab_runs
from filelock import FileLock
from torch.optim import SGD

from gradlab.losses import Himmelblau, Rosenbrock

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run"]
SLOW = 15_000  # milliseconds that a busy machine may take for anything
PICTURES = Path(__file__).parents[2] / ".ci" / "artefacts"
RUNS = {
    "backprop": tab_runs.backprop,
    "chain_rule": tab_runs.chain_rule,
    "himmelblau/momentum": lambda folder: tab_runs.descent(folder, Himmelblau(), partial(SGD, lr=0.01, momentum=0.5)),
    "himmelblau/adam": lambda folder: tab_runs.descent(folder, Himmelblau()),
    "rosenbrock": lambda folder: tab_runs.descent(folder, Rosenbrock(2), steps=5),
    "population": tab_runs.population,
    "masked": tab_runs.masked,
    "masked_by_nan": lambda folder: tab_runs.masked(folder, bad=math.nan),
    "path_alone": tab_runs.path_alone,
    "five": lambda folder: tab_runs.path_alone(folder, 5),
    "wrong": lambda folder: tab_runs.Growing(folder).step(5).lab.close(),
    f"hostile {tab_runs.EVIL}": tab_runs.hostile,
    "older": tab_runs.older,
    "damaged_structure": tab_runs.damaged_structure,
    "damaged_file": tab_runs.damaged_file,
    "dangling": tab_runs.dangling,
    "wrong_module": tab_runs.wrong_module,
    "wrong_places": tab_runs.wrong_places,
}


@pytest.fixture(scope="session")
def logs(tmp_path_factory, request):
    """A folder with one run of every kind, made once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "gradlab_tab"
    with FileLock(f"{folder}.lock"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        if not folder.exists():
            for name, make in RUNS.items():
                make(folder.with_name("being_made") / name)
            folder.with_name("being_made").rename(folder)
    return folder


class Server:
    """A TensorBoard over a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            self.port = probe.getsockname()[1]
        words = ["--logdir", str(folder), "--port", str(self.port), "--reload_interval", "1"]
        log = subprocess.DEVNULL
        self._process = subprocess.Popen([sys.executable, "-m", "tensorboard.main", *words], stdout=log, stderr=log)

    def url(self, path: str = "/data/plugin_entry.html?name=gradlab") -> str:
        """The frame of the tab alone; `path` may ask for something else."""
        return f"http://localhost:{self.port}{path}"

    def wait_for(self, run: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(self.url("/data/plugin/gradlab/runs")) as answer:
                    if run.encode() in answer.read():
                        return
            except OSError:
                pass
            time.sleep(0.2)
        raise TimeoutError(f"TensorBoard has not found {run!r} within {seconds} seconds")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture(scope="session")
def server(logs):
    made = Server(logs)
    made.wait_for("wrong_places")
    yield made
    made.close()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=SLOW)

    with sync_playwright() as playwright:
        path = str(CHROMIUM) if CHROMIUM.exists() else shutil.which("chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Tab:
    """The tab in a page of its own, as a test drives it.

    Args:
        page: Playwright's.
        name: of the test, for the screenshots.
    """

    def __init__(self, page, name: str) -> None:
        self.page, self.name = page, name
        self.complaints: list[str] = []
        self.allowed = re.compile("favicon.ico")
        page.set_default_timeout(SLOW)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not self.allowed.search(text):
            self.complaints.append(text)

    def open(self, url: str, run: str = "", panel: str = "") -> Tab:
        self.page.goto(url)
        self.page.locator("#run").wait_for()
        return self.look_at(run, panel)

    def look_at(self, run: str = "", panel: str = "") -> Tab:
        if run:
            self.page.get_by_label("run", exact=True).select_option(run)
        if panel:
            self.page.get_by_role("tab", name=panel).click()
            self.page.locator(f"section.panel.{panel.lower()}, .notice:not(:text('Reading …'))").first.wait_for()
        return self

    @property
    def step(self) -> int:
        return int(re.match(r"step (\d+)", self.page.locator("#step-label").inner_text())[1])

    @property
    def panel(self):
        return self.page.locator("section.panel")

    def picture(self, name: str = "") -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(PICTURES / f"{self.name}{name}.png"))


@pytest.fixture
def new_tab(browser, request):
    """Makes tabs; at the end, whatever they wrote to the console as an error fails the test."""
    opened = []

    def make(width=1280, height=800) -> Tab:
        page = browser.new_page(viewport={"width": width, "height": height})
        opened.append(Tab(page, _name(request)))
        return opened[-1]

    yield make
    complaints = [text for tab in opened for text in tab.complaints]
    for tab in opened:
        tab.page.close()
    assert complaints == []


@pytest.fixture
def fresh_tab(new_tab, server):
    """A tab that a test may spoil."""
    return new_tab().open(server.url())


@pytest.fixture(scope="session")
def _shared(browser, server):
    return Tab(browser.new_page(viewport={"width": 1280, "height": 800}), "").open(server.url())


@pytest.fixture
def tab(_shared, request):
    """A tab that is open, and in which other tests have looked at other runs before."""
    _shared.name = _name(request)
    yield _shared
    complaints, _shared.complaints = _shared.complaints, []
    assert complaints == []


def _name(request) -> str:
    return re.sub(r"\W+", "_", request.node.name).strip("_")
