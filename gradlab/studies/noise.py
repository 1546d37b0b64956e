"""The noise of a mini-batch gradient: how far it is from the gradient of all data, for each size of the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlab.data.table import seeded
from gradlab.errors import BadInput
from gradlab.studies.base import Findings, Setting
from gradlab.studies.network import Network, distance

START, TRAINED = "at the start", "after training"


@dataclass(frozen=True, slots=True)
class Noise:
    """Mini-batch gradients g around the gradient G of all rows, at fixed weights.

    Attributes:
        rows: N, how many rows there are.
        length: ‖G‖.
        spread: tr(Σ), the mean of ‖gᵢ − G‖² over the gradients gᵢ of single rows.
        sizes: B, the rows of a mini-batch [n].
        apart: √(mean ‖g − G‖²) of batches without a row twice [n].
        replaced: the same of batches whose rows are drawn one by one from all [n].
        cosines: the mean cosine of the angle between g and G, of batches without a row twice [n].
    """

    rows: int
    length: float
    spread: float
    sizes: np.ndarray
    apart: np.ndarray
    replaced: np.ndarray
    cosines: np.ndarray

    @property
    def scale(self) -> float:
        """The simple noise scale tr(Σ)/‖G‖²: from this B on, a mini-batch gradient is more signal than noise."""
        return self.spread / self.length**2

    def predicted(self, sizes: np.ndarray, replaced: bool = False) -> np.ndarray:
        """√(tr(Σ)/B), times √((N − B)/(N − 1)) where no row is drawn twice."""
        left = 1.0 if replaced else (self.rows - sizes) / max(self.rows - 1, 1)
        return np.sqrt(self.spread / sizes * left)

    def predicted_cosines(self, sizes: np.ndarray) -> np.ndarray:
        """1/√(1 + (noise/‖G‖)²): signal and noise are at right angles, on average."""
        return 1 / np.sqrt(1 + (self.predicted(sizes) / self.length) ** 2)


class GradientNoise:
    """Draws mini-batches of several sizes, at the weights of the start and at those after training.

    Args:
        sizes: rows of a mini-batch; what is larger than the data is left out, and all of them is added.
        draws: how many mini-batches of each size.
        seed: of the draws.

    References:
        S. McCandlish, J. Kaplan, D. Amodei, *An empirical model of large-batch training*, 2018, arXiv:1812.06162.
    """

    def __init__(self, sizes: Sequence[int] = (1, 4, 16, 64, 256, 1024), draws: int = 300, seed: int = 0) -> None:
        if draws < 1 or not sizes or min(sizes) < 1:
            raise BadInput(f"study.sizes and study.draws are whole numbers from 1 on, got {list(sizes)} and {draws}")
        self._sizes, self._draws, self._seed = sorted(set(sizes)), draws, seed

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import noise as picture  # matplotlib is slow to import

        (run,) = setting.run({"training": []})
        networks = {START: Network.of(setting), TRAINED: Network.of(setting, run.model)}
        measured = {name: self._measure(network) for name, network in networks.items()}
        found = {name: noise for name, (noise, _) in measured.items()}
        return Findings(
            numbers={name: value for when, noise in found.items() for name, value in _numbers(when, noise)},
            title="mini-batch gradients around the gradient G of all rows",
            rows=[
                ("weights", "rows B", "noise ÷ ‖G‖", "predicted", "cosine", "predicted"),
                *(row for when, noise in found.items() for row in _rows(when, noise)),
            ],
            figures={"noise": picture.figure(found)},
            errors={
                **{f"the sweep {name}": distance(n.by_hand(), n.gradient()) for name, n in networks.items()},
                **{f"the mean of single rows {name}": error for name, (_, error) in measured.items()},
            },
            statuses={run.name: run.status},
        )

    def _measure(self, network: Network) -> tuple[Noise, float]:
        """The noise, and how far the mean of single rows' gradients is from autograd's gradient of the same rows."""
        count, source = len(network), seeded(self._seed)
        whole = network.gradient()
        single = torch.stack([network.gradient(torch.tensor([row])) for row in range(count)])
        sizes = [*(size for size in self._sizes if size < count), count]
        once, again, error = [], [], 0.0
        for size in sizes:
            rows = torch.stack([torch.randperm(count, generator=source)[:size] for _ in range(self._draws)])
            once.append(_means(single, rows))
            again.append(_means(single, torch.randint(count, (self._draws, size), generator=source)))
            error = max(error, distance(once[-1][0], network.gradient(rows[0])))
        noise = Noise(
            rows=count,
            length=float(whole.norm()),
            spread=_apart(single, whole) ** 2,
            sizes=np.array(sizes),
            apart=np.array([_apart(drawn, whole) for drawn in once]),
            replaced=np.array([_apart(drawn, whole) for drawn in again]),
            cosines=np.array([float(torch.cosine_similarity(drawn, whole[None]).mean()) for drawn in once]),
        )
        return noise, error


def _means(single: Tensor, rows: Tensor) -> Tensor:
    """The gradients of mini-batches [draws, P]: the means of their rows' gradients.

    Args:
        single: the gradient of each row [N, P].
        rows: which rows each mini-batch has [draws, B].
    """
    times = torch.zeros(len(rows), len(single), dtype=single.dtype)
    times.scatter_add_(1, rows, torch.ones_like(rows, dtype=single.dtype))
    return times @ single / rows.shape[1]


def _apart(drawn: Tensor, whole: Tensor) -> float:
    """√(mean ‖g − G‖²) over the rows g of ``drawn``."""
    return float((drawn - whole).square().sum(1).mean().sqrt())


def slope(sizes: np.ndarray, values: np.ndarray) -> float:
    """The exponent p of values ∝ sizesᵖ: the slope of a straight line through both logarithms.

    Example:
        >>> round(slope(np.array([1, 4, 16]), np.array([1.0, 0.5, 0.25])), 6)
        -0.5
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _numbers(when: str, noise: Noise) -> list[tuple[str, float]]:
    ratios = noise.apart[:-1] / noise.predicted(noise.sizes[:-1])
    gaps = np.abs(noise.cosines - noise.predicted_cosines(noise.sizes))
    return [
        (f"length of the gradient {when}", noise.length),
        (f"noise scale {when}", noise.scale),
        (f"slope {when}", slope(noise.sizes, noise.replaced)),
        (f"least measured ÷ predicted {when}", float(ratios.min(initial=math.inf))),
        (f"greatest measured ÷ predicted {when}", float(ratios.max(initial=0.0))),
        (f"noise of all rows {when}", float(noise.apart[-1]) / noise.length),
        *((f"cosine B={size} {when}", float(cosine)) for size, cosine in zip(noise.sizes, noise.cosines, strict=True)),
        (f"greatest gap of a cosine to its prediction {when}", float(gaps.max())),
    ]


def _rows(when: str, noise: Noise) -> list[tuple[str, ...]]:
    predicted, cosines = noise.predicted(noise.sizes) / noise.length, noise.predicted_cosines(noise.sizes)
    columns = zip(noise.sizes, noise.apart / noise.length, predicted, noise.cosines, cosines, strict=True)
    return [(when, f"{size}", *(f"{number:.3g}" for number in numbers)) for size, *numbers in columns]
