"""Partial derivatives: a gradient's entries one by one, each a curve over the steps; large gradients as pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from gradlab.probes.base import Need, Step
from gradlab.records import Array, Record, ScalarBlock
from gradlab.schedules import Schedule, either, every, log_spaced
from gradlab.tensors import dense

MOST_STEPS = 256
MOST_CELLS = 64  # along each side of a picture


class PartialsProbe:
    """∂L/∂θᵢ for every entry of small parameters, and for the most active entries of large ones.

    Curves ``partial/<parameter>[i,j]`` come in batches. Pictures show the whole of a matrix at chosen steps, as arrays
    [rows, columns] of at most 64 × 64 cells:

    | array | what a cell holds |
    |---|---|
    | ``partial/<parameter>`` | the gradient; of several entries in one cell, that of largest magnitude |
    | ``weight/<parameter>`` | the weight of the same entry, before the update |
    | ``entry/<parameter>`` | [2, rows, columns], of matrices beyond 64 × 64 alone: that entry's row and column |

    Args:
        schedule: the steps of the curves; every step by default.
        matrices: the steps of the pictures; few, since each copies tensors from the device.
        small: up to this many entries, all of a parameter's partials are recorded as curves.
        largest: of a larger parameter, this many: those of largest magnitude in its first gradient.
    """

    needs: Need = "gradients"

    def __init__(
        self, schedule: Schedule | None = None, matrices: Schedule | None = None, small: int = 64, largest: int = 8
    ) -> None:
        self._curves = schedule or every(1)
        self._matrices = matrices or log_spaced(2)
        self.schedule = either(self._curves, self._matrices)
        self.small = small
        self.largest = largest
        self._chosen: dict[str, tuple[Tensor | None, list[str]]] = {}
        self._tags: tuple[str, ...] = ()
        self._rows: dict[int, Tensor] = {}

    def measure(self, step: Step) -> Iterator[Record]:
        gradients = {name: dense(g) for name, g in step.gradients.items() if g is not None and g.numel()}
        if self._curves(step.index) and gradients:
            yield from self._add(step.index, gradients)
        if self._matrices(step.index):
            for name, gradient in gradients.items():
                if gradient.dim() > 1:
                    yield from _pictures(name, step.index, gradient, step.parameters[name])

    def updated(self, step: Step) -> Iterator[Record]:
        """Nothing: partials are complete before the update."""
        return iter(())

    def drain(self) -> Iterator[Record]:
        """The curves since the last drain."""
        if self._rows:
            values = torch.stack(list(self._rows.values())).cpu().double().numpy()
            yield ScalarBlock(self._tags, np.array(list(self._rows), np.int64), values)
            self._rows.clear()

    def _add(self, index: int, gradients: dict[str, Tensor]) -> Iterator[Record]:
        for name in gradients.keys() - self._chosen.keys():
            self._chosen[name] = self._choose(name, gradients[name])
        tags = tuple([tag for name in gradients for tag in self._chosen[name][1]])
        if tags != self._tags or len(self._rows) == MOST_STEPS:
            yield from self.drain()
            self._tags = tags
        places = [self._chosen[name][0] for name in gradients]
        device = next(iter(gradients.values())).device
        self._rows[index] = torch.cat([_taken(g, p, device) for g, p in zip(gradients.values(), places, strict=True)])

    def _choose(self, name: str, gradient: Tensor) -> tuple[Tensor | None, list[str]]:
        """The places in the flat gradient, None for all of it, and their tags."""
        flat = gradient.reshape(-1).abs()
        everything = flat.numel() <= self.small
        places = None if everything else flat.topk(min(self.largest, flat.numel())).indices.sort().values
        shown = torch.arange(flat.numel()) if places is None else places.cpu()
        if gradient.dim() == 0:
            return places, [f"partial/{name}"]
        each = zip(*(axis.tolist() for axis in torch.unravel_index(shown, gradient.shape)), strict=True)
        return places, [f"partial/{name}[{','.join(map(str, index))}]" for index in each]


def _taken(gradient: Tensor, places: Tensor | None, device: torch.device) -> Tensor:
    flat = gradient.real if gradient.is_complex() else gradient
    flat = flat.reshape(-1)
    return (flat if places is None else flat[places]).to(device)


def _pictures(name: str, index: int, gradient: Tensor, weight: Tensor) -> Iterator[Record]:
    gradient, weight = _matrix(gradient), _matrix(dense(weight))
    places = cells(gradient)
    for prefix, matrix in (("partial", gradient), ("weight", weight)):
        yield Array(f"{prefix}/{name}", index, _at(matrix, places).cpu().numpy())
    if places is not None:
        columns = gradient.shape[1]
        entries = torch.stack([places // columns, places % columns]).int()
        yield Array(f"entry/{name}", index, entries.cpu().numpy())


def picture(gradient: Tensor) -> Tensor:
    """A gradient as a matrix of at most 64 × 64 cells; of the entries in a cell, the one of largest magnitude.

    Args:
        gradient: at least two dimensions; the second and all that follow become the columns.

    Returns:
        [rows, columns], a copy; the real parts of complex numbers, and at least single precision.

    Example:
        >>> picture(torch.arange(-128.0, 128 * 127).reshape(128, 128)).shape
        torch.Size([64, 64])
        >>> picture(torch.tensor([[1.0, -3.0], [0.0, 2.0]]))
        tensor([[ 1., -3.],
                [ 0.,  2.]])
    """
    matrix = _matrix(gradient)
    return _at(matrix, cells(matrix))


def cells(matrix: Tensor) -> Tensor | None:
    """Which entry each cell of a picture shows: the one of largest magnitude among those that fall into it.

    Args:
        matrix: [rows, columns], real.

    Returns:
        Places in the flat matrix, int64 [at most 64, at most 64]; None where each entry has a cell of its own.

    Example:
        >>> matrix = torch.zeros(128, 2)
        >>> matrix[1, 0] = -5.0
        >>> cells(matrix)[0]
        tensor([2, 1])
    """
    size = [min(n, MOST_CELLS) for n in matrix.shape]
    if size == list(matrix.shape):
        return None
    _, places = adaptive_max_pool2d(matrix.abs().unsqueeze(0), size, return_indices=True)
    return places[0]


def _matrix(tensor: Tensor) -> Tensor:
    """What NumPy and the pooling take: two dimensions, real, at least single precision."""
    matrix = tensor.detach().flatten(1)
    matrix = matrix.real if matrix.is_complex() else matrix
    return matrix.float() if matrix.element_size() < 4 else matrix


def _at(matrix: Tensor, places: Tensor | None) -> Tensor:
    return matrix.clone() if places is None else matrix.flatten()[places]
