"""Made-up data sets, drawn anew from the seed: two classes in the plane, and a curve."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradlab.data.table import TableData, seeded


class ToyData(TableData):
    """Base class of the made-up data sets: ``samples`` rows, with noise of standard deviation ``noise``.

    Args:
        batch_size, seed, features, outputs, image: as in ``TableData``.
        samples: rows of the table, at least 5 (so that a fifth of them is a row).
        noise: the standard deviation of what is added to each coordinate, at least 0.

    Raises:
        ValueError: ``samples`` or ``noise`` out of range, or as in ``TableData``.
    """

    def __init__(
        self,
        batch_size: int = 32,
        seed: int = 0,
        features: int | None = None,
        outputs: int | None = None,
        image: Sequence[int] | None = None,
        samples: int = 500,
        noise: float = 0.1,
    ) -> None:
        super().__init__(batch_size, seed, features, outputs, image)
        self.samples = checked_samples(samples)
        self.noise = checked_noise(noise)


class Moons(ToyData):
    """Two interleaved half circles, one class each: (cos t, sin t) and (1 − cos t, ½ − sin t), 0 ≤ t ≤ π.

    Example:
        >>> data = Moons()
        >>> data.setup()
        >>> data.x_train.shape
        torch.Size([400, 2])

    References:
        ``sklearn.datasets.make_moons``
    """

    option = "moons"
    features = 2
    outputs = classes = 2

    def table(self) -> tuple[Tensor, Tensor]:
        """Points [samples, 2] and classes [samples]."""
        from sklearn.datasets import make_moons

        x, y = make_moons(self.samples, noise=self.noise, random_state=self.seed)
        return torch.as_tensor(x), torch.as_tensor(y)


class Circles(ToyData):
    """Two circles about the origin, one class each: class 0 of radius 1 and class 1 of radius ½.

    Example:
        >>> data = Circles()
        >>> data.setup()
        >>> sorted(data.y_test.unique().tolist())
        [0, 1]

    References:
        ``sklearn.datasets.make_circles``
    """

    option = "circles"
    features = 2
    outputs = classes = 2

    def table(self) -> tuple[Tensor, Tensor]:
        """Points [samples, 2] and classes [samples]."""
        from sklearn.datasets import make_circles

        x, y = make_circles(self.samples, noise=self.noise, random_state=self.seed, factor=0.5)
        return torch.as_tensor(x), torch.as_tensor(y)


class Spiral(ToyData):
    """Two spirals: class k is t (cos φ, sin φ) with φ = 2π · 1.5 t + kπ, t uniform in [0, 1].

    Each makes one and a half turns; class 1 is class 0 turned by half a circle.

    Example:
        >>> data = Spiral(noise=0.0)
        >>> x, y = data.table()
        >>> bool((x.norm(dim=1) <= 1).all())
        True

    References:
        K. J. Lang, M. J. Witbrock, *Learning to tell two spirals apart*, Connectionist Models Summer School,
        1988.
    """

    option = "spiral"
    features = 2
    outputs = classes = 2

    def table(self) -> tuple[Tensor, Tensor]:
        """Points [samples, 2] and classes [samples], which alternate."""
        source = seeded(self.seed)
        t = torch.rand(self.samples, generator=source, dtype=torch.float64)
        k = torch.arange(self.samples) % 2
        angle = 2 * math.pi * 1.5 * t + math.pi * k
        points = torch.stack([t * angle.cos(), t * angle.sin()], dim=1)
        return points + self.noise * torch.randn(points.shape, generator=source, dtype=torch.float64), k


class Sine(ToyData):
    """A noisy curve to be fitted: y = sin x + noise, x uniform in [−π, π].

    Neither x nor y is scaled, so that what a network learns can be held against the formula.

    Example:
        >>> data = Sine(noise=0.0)
        >>> data.setup()
        >>> bool(torch.allclose(data.y_train, data.x_train.sin()))
        True
    """

    option = "sine"
    features = 1
    outputs = 1

    def table(self) -> tuple[Tensor, Tensor]:
        """x [samples, 1] and y [samples, 1]."""
        source = seeded(self.seed)
        x = math.pi * (2 * torch.rand(self.samples, 1, generator=source, dtype=torch.float64) - 1)
        return x, x.sin() + self.noise * torch.randn(x.shape, generator=source, dtype=torch.float64)

    def scale(self, x: Tensor, train: Tensor) -> Tensor:
        """x as it is."""
        return x


def checked_samples(samples: Any) -> int:
    """``samples`` itself where it is a whole number from 5 on; an error otherwise."""
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 5:
        raise ValueError(f"data.samples must be a whole number from 5 on, got {samples!r}")
    return samples


def checked_noise(noise: Any) -> float:
    """``noise`` itself where it is a finite number from 0 on; an error otherwise."""
    if not isinstance(noise, (int, float)) or not 0 <= noise < math.inf:
        raise ValueError(f"data.noise is a standard deviation, a finite number from 0 on, got {noise!r}")
    return noise
