"""Runs for the Gradlab tab: small ones of every kind that it draws, and some that are hostile or damaged."""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from wrong_functions import WIDTH, WRONG, Slot

import gradlab
from gradlab.cli import main
from gradlab.losses import Himmelblau
from gradlab.models import Point
from gradlab.probes import AgreementProbe, GradientProbe, GraphProbe, PartialsProbe, PathProbe
from gradlab.records import Array, Graph, Scalar, ScalarBlock
from gradlab.schedules import every
from gradlab.sinks import MemorySink
from gradlab.sinks.tensorboard import TensorBoardSink
from gradlab.surfaces import surface_records

EVIL = '<img src=x onerror="window.hurt=1">'
ADAM = partial(torch.optim.Adam, lr=0.1)
WIDTHS = (12, 8, 8, 3)


def chain_rule(folder):
    """As the command line makes it."""
    assert main(["experiment=chain_rule", f"hydra.run.dir={folder}"]) == 0


def probes(nth=1):
    """Those that the tab is about."""
    return {
        "gradients": GradientProbe(),
        "partials": PartialsProbe(matrices=every(nth)),
        "agreement": AgreementProbe(every(nth)),
        "graph": GraphProbe(every(nth)),
    }


def backprop(folder, steps=60):
    """A network that learns to tell three classes, with a look at every tenth step."""
    torch.manual_seed(0)
    layers = [layer for a, b in pairwise(WIDTHS) for layer in (nn.Linear(a, b), nn.Tanh())]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch.randn(16, WIDTHS[0]), torch.arange(16) % WIDTHS[-1]
    with gradlab.watch(model, optimizer, folder, probes=probes(10)) as lab:
        for _ in range(steps):
            with lab.step():
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()


def masked(folder, bad=-math.inf):
    """One head of attention over a sequence: what comes later is masked by −∞, as every causal model does."""
    torch.manual_seed(0)
    model = nn.Linear(4, 12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    mask = torch.full((6, 6), bad).triu(1)
    with gradlab.watch(model, optimizer, folder, probes=probes()) as lab, lab.step():
        q, k, v = model(torch.randn(6, 4)).chunk(3, dim=1)
        ((q @ k.mT + mask).softmax(-1) @ v).square().mean().backward()
        optimizer.step()


def descent(folder, surface, make=ADAM, steps=60):
    """A descent from (0, 0), and the surface under it."""
    memory, model = MemorySink(), Point(start=[0.0, 0.0])
    optimizer = make(model.parameters())
    chosen = {**probes(), "path": PathProbe()}
    with gradlab.watch(model, optimizer, folder, probes=chosen, sinks=[memory]) as lab:
        for _ in range(steps):
            with lab.step():
                optimizer.zero_grad()
                surface(model()).sum().backward()
                optimizer.step()
    sink = TensorBoardSink(folder)
    sink.write(surface_records(surface, memory))
    sink.close()


def path_alone(folder, dimension=2):
    """A descent that is still going on: the surface is written at its end."""
    sink = TensorBoardSink(folder)
    sink.write([Array("path/point", step, np.full(dimension, step / 10)) for step in range(20)])
    sink.close()


def population(folder):
    """Three points over Himmelblau's function, of which one leaves every number behind."""
    sink, memory = TensorBoardSink(folder), MemorySink()
    paths = np.array([[[3 - 2**-t, 2], [1 + t, -(2**t)], [0, 0]] for t in np.arange(12.0)])
    paths[6:, 1] = math.nan
    steps = [Array("path/points", step, points) for step, points in enumerate(paths)]
    memory.write(steps)
    sink.write([*steps, *surface_records(Himmelblau(), memory)])
    sink.close()


class Growing:
    """A run that goes on while it is looked at: a wrong custom Function in a network."""

    def __init__(self, folder, case="factor", rate=0.01):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(WIDTH, WIDTH), Slot(*WRONG[case][:2]), nn.Linear(WIDTH, 1)).double()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)
        self.lab = gradlab.watch(self.model, self.optimizer, folder, probes=probes(), flush_secs=0.0)

    def step(self, count=1):
        x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for _ in range(count):
            with self.lab.step():
                self.optimizer.zero_grad()
                self.model(x).square().mean().backward()
                self.optimizer.step()
        return self


def structure(name=EVIL, **changes):
    """The structure of L = θ² for a parameter of any name; its numbers are `numbers()`."""
    content = {"l2": 1, "mean": 1, "numbers": {"at": 1, "shape": []}}
    gradient = {"l2": 2, "linf": 2, "mean": 2, "numbers": {"at": 2, "shape": []}}
    one = {"at": 0, "shape": []}
    upstream = {"l2": 3, "linf": 3, "mean": 3, "numbers": None}
    agreement = {"error": 4, "tolerance": 5, "entry": 6, "manual": 2, "autograd": 2, "numeric": 7}
    operation = {
        "name": "power #1",
        "operation": "power",
        "module": name,
        "formula": "y = x² " + name,
        "local": "∂y/∂x = 2x",
        "line": "",
        "outputs": ["power #1"],
        "shape": one,
        "value": content,
        "upstream": upstream,
        "downstream": 2,
        "gain": 2,
        "agreement": agreement,
    }
    edge = {
        "value": name,
        "operation": 0,
        "symbol": "x",
        "kind": "parameter",
        "how": [],
        "shape": one,
        "local": None,
        "is_jacobian": False,
        "downstream": gradient,
        "gain": 2,
    }
    value = {
        "name": name,
        "kind": "parameter",
        "made_by": None,
        "shape": one,
        "dtype": "float64",
        "value": content,
        "gradient": gradient,
        "contributions": [{"operation": 0, "symbol": "x", "gradient": gradient}],
        "agreement": None,
    }
    document = {"schema": 1, "loss": 0, "operations": [operation], "values": [value], "edges": [edge]}
    return json.dumps({**document, **changes})


def numbers(theta):
    """Loss, θ, 2θ, 1, error, tolerance, entry, numeric."""
    return np.array([theta**2, theta, 2 * theta, 1.0, 0.0, 1e-12, 0.0, math.nan])


def hostile(folder):
    """Names that are HTML, and numbers that are none."""
    sink = TensorBoardSink(folder)
    tags = (f"gradient/{EVIL}/l2", f"gradient/{EVIL}/nonfinite", f"agreement/{EVIL}/log10_error", f"partial/{EVIL}[0]")
    sink.write([ScalarBlock(tags, np.arange(3), np.array([[1.0] * 4, [math.nan] * 4, [math.inf] * 4]))])
    sink.write([Graph("graph/0", 0, structure())])
    sink.write([Array("graph/0/values", step, numbers(theta)) for step, theta in enumerate((3.0, math.nan, math.inf))])
    sink.write([Array(f"partial/{EVIL}", step, np.array([[1.0, math.nan], [math.inf, -2.0]])) for step in range(3)])
    sink.write([Scalar("loss/train", 0, 0.5)])
    sink.close()


def older(folder):
    """A structure of a schema that this version does not know."""
    _graph(folder, structure(schema=0))


def damaged_structure(folder):
    _graph(folder, structure()[:100])


def wrong_places(folder):
    """Fewer numbers than the structure has places for."""
    _graph(folder, structure(), values=np.zeros(2))


def dangling(folder):
    """An edge of an operation that is not there."""
    document = json.loads(structure())
    document["edges"][0]["operation"] = 7
    _graph(folder, json.dumps(document))


def wrong_module(folder):
    """A number where a module's path should stand."""
    document = json.loads(structure())
    document["operations"][0]["module"] = 5
    _graph(folder, json.dumps(document))


def _graph(folder, text, values=None):
    sink = TensorBoardSink(folder)
    sink.write([Graph("graph/0", 0, text)])
    sink.write([Array("graph/0/values", step, numbers(1.0) if values is None else values) for step in range(3)])
    sink.close()


def damaged_file(folder):
    """An event file of which a stretch near the end was overwritten, and the end is missing."""
    hostile(folder)
    (path,) = folder.glob("events*")
    content = bytearray(path.read_bytes())
    content[-600:-536] = b"\xff" * 64
    path.write_bytes(content[:-20])
