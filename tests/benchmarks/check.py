"""What `gradlab.check` costs, in ratios measured in one run.

    python tests/benchmarks/check.py           # both
    python tests/benchmarks/check.py mlp       # finite differences of every partial beside gradcheck's slow mode
    python tests/benchmarks/check.py large     # a model of 10 million parameters

The network is an MLP 20-50-10 with batch 8 in float64: 1,560 partial derivatives, nothing sampled. gradcheck gets the
same function of the same parameters, by its own defaults (slow mode: every entry of the Jacobian). Ratios are medians
of interleaved rounds on one thread. The large model gets two threads and the whole check.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

import gradlab
from gradlab.checking.targets import problem_of, target_of
from gradlab.witnesses.moves import Moves
from gradlab.witnesses.numeric import central_differences

ASKED_RATIO, ASKED_SECONDS = 5.0, 60.0


def network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 50), nn.Tanh(), nn.Linear(50, 10)).double(), torch.randn(8, 20).double()


def by_gradcheck(model: nn.Module, x: Tensor) -> None:
    names = [name for name, _ in model.named_parameters()]
    parameters = tuple(p.detach().clone().requires_grad_() for p in model.parameters())

    def forward(*values: Tensor) -> Tensor:
        return functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(forward, parameters)


def by_differences(model: nn.Module, x: Tensor) -> None:
    """Every partial by central differences, and nothing else."""
    problem = problem_of(target_of(model), (x,), {}, None)
    moves, count = Moves(problem), 0
    for name, variable in problem.variables.items():
        if variable.kind == "parameter":
            found = central_differences(moves, name, torch.arange(variable.tensor.numel()))
            count += len(found)
    assert count == 1560


def by_check(model: nn.Module, x: Tensor) -> None:
    """The whole check: both backward passes, every partial, double backward, other layouts and precisions."""
    report = gradlab.check(model, x)
    assert report.ok
    assert sum(f.compared["numeric"] for f in report.findings if f.kind == "parameter") == 1560


def seconds(run: Callable[..., None], *arguments: Any) -> float:
    begin = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - begin


def mlp(rounds: int = 5) -> None:
    torch.set_num_threads(1)
    model, x = network()
    ways = {"gradcheck (slow mode)": by_gradcheck, "finite differences": by_differences, "gradlab.check": by_check}
    for way in ways.values():
        way(model, x)  # warm up
    found = [{name: seconds(way, model, x) for name, way in ways.items()} for _ in range(rounds)]
    print(f"MLP 20-50-10, batch 8, float64, 1,560 partials: medians of {rounds} rounds (asked: {ASKED_RATIO:.0f} ×)")
    for name in ways:
        ratio = statistics.median(r["gradcheck (slow mode)"] / r[name] for r in found)
        print(f"  {name:24} {1e3 * statistics.median(r[name] for r in found):8.1f} ms   {ratio:6.1f} × as fast")


def large() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1000, 2400), nn.Tanh(), nn.Linear(2400, 2400), nn.Tanh(), nn.Linear(2400, 800))
    count = sum(p.numel() for p in model.parameters())
    begin = time.perf_counter()
    report = gradlab.check(model, torch.randn(32, 1000))
    took = time.perf_counter() - begin
    print(f"{count:,} parameters in float32, batch 32: {took:.1f} s (asked: {ASKED_SECONDS:.0f})\n{report}")


def main() -> None:
    warnings.filterwarnings("ignore")
    chosen = sys.argv[1:] or ["mlp", "large"]
    for name in chosen:
        {"mlp": mlp, "large": large}[name]()


if __name__ == "__main__":
    main()
