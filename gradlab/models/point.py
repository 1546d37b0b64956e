"""The point: a model that is nothing but its parameter vector, which a surface takes as the prediction.

With ``population`` it is many points at once, a row each. They do not see each other: the sum of their losses is
descended, in whose gradient each row is that of its own point.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradlab.models.sizes import positive
from gradlab.models.starts import Box, starting_points

HELP = (
    "point is the parameter vector of a surface: choose loss=quadratic, rosenbrock, himmelblau, beale, "
    "booth, saddle, cliff, rastrigin, ackley or styblinski_tang, or give model.start"
)


class Point(nn.Module):
    """θ itself: ``model()`` returns the parameter ``theta``, so that ``loss(model(x), y)`` is f(θ).

    ``theta`` is float64: the descent on a surface is compared with closed forms, to ten digits.

    Args:
        start: where θ starts: one number for every coordinate, or a list of them.
        dimension: the number n of coordinates; may be left out where ``start`` is a list.
        population: the number P of points that are moved together, each for itself; None for a single one.
        starts: where those begin, ``random``, ``grid`` or ``same``; see `starting_points`.
        window: over what they are spread: an interval for each coordinate.

    Attributes:
        theta: the parameter, shape [n], or [P, n] for a population.
        population: P, or None.

    Raises:
        ValueError: there is no start, or it does not have ``dimension`` numbers; the population is no whole number
            above 0; or as in `starting_points`.

    Example:
        >>> Point([-1.2, 1.0])().tolist()
        [-1.2, 1.0]
        >>> Point(0.5, dimension=3).theta.tolist()
        [0.5, 0.5, 0.5]
        >>> Point([0.0, 0.0], population=9, starts="grid", window=[(-1, 1), (-1, 1)]).theta[:4].tolist()
        [[-1.0, -1.0], [-1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]]
    """

    def __init__(
        self,
        start: float | Sequence[float] | None = None,
        dimension: int | None = None,
        population: int | None = None,
        starts: str = "random",
        window: Box | None = None,
    ) -> None:
        super().__init__()
        first = coordinates(start, dimension)
        self.population = None if population is None else positive("point", "population", population, data_sets="")
        if self.population is None:
            theta = torch.tensor(first, dtype=torch.float64)
        else:
            theta = starting_points(starts, self.population, first, window)
        self.theta = nn.Parameter(theta)

    def forward(self, x: Tensor | None = None) -> Tensor:
        """θ, float64.

        Args:
            x: nothing: there is no batch. It is an argument because ``loss(model(x), y)`` gives one.

        Raises:
            ValueError: a batch was given.
        """
        if x is not None:
            raise ValueError(
                "model=point takes no data: use data=none, or a network: model=linear, mlp, convnet; with "
                "data=characters model=recurrent, transformer"
            )
        return self.theta


def coordinates(start: float | Sequence[float] | None, dimension: int | None) -> list[float]:
    """``start`` as ``dimension`` numbers.

    Raises:
        ValueError: as in ``Point``.
    """
    if start is None:
        raise ValueError(f"model=point has no start. {HELP}")
    if isinstance(start, (int, float)):
        if not isinstance(dimension, int) or dimension < 1:
            raise ValueError(f"model=point starts at {start} in every coordinate of {dimension}. {HELP} as a list")
        return [float(start)] * dimension
    if isinstance(start, str) or len(start) == 0 or dimension not in (None, len(start)):
        size = "numbers" if dimension is None else f"{dimension} numbers (model.dimension)"
        raise ValueError(f"model=point starts at {start}, which is not a list of {size}. {HELP} as such a list")
    return [float(value) for value in start]
