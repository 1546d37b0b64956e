"""A data set that fits in memory, as a Lightning data module: split, scaled, and handed out in batches.

Every random choice (the made-up data, the split, the order of an epoch) is drawn from a generator that is
seeded with ``seed``, so it depends on nothing that ran before, and leaves the global random state alone.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from gradlab.data.batches import Batches

TRAIN_SHARE = 0.8


def seeded(seed: int) -> torch.Generator:
    """A new generator, on the CPU, that nothing else draws from."""
    return torch.Generator().manual_seed(seed)


def checked_seed(seed: Any) -> int:
    """``seed`` itself where NumPy's, torch's and Lightning's generators all take it; an error otherwise."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2³² − 1, got {seed!r}: set seed=0, for example")
    return seed


def checked_batch_size(batch_size: Any, rows: int | None = None) -> int:
    """``batch_size`` itself where it is a whole number from 1 to ``rows``; otherwise an error."""
    whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    if not whole or batch_size < 1 or (rows is not None and batch_size > rows):
        limit = "on" if rows is None else f"to {rows}, the rows of the train split"
        raise ValueError(f"data.batch_size must be a whole number from 1 {limit}, got {batch_size!r}")
    return batch_size


def standardized(values: Tensor, train: Tensor) -> Tensor:
    """(values − mean) / std, column by column, with the mean and std of ``train``; shapes [N, F].

    The test split is scaled by the train split's numbers, since nothing of it may be known in training. A
    column without spread is only centred, so it is 0 throughout the train split.

    Example:
        >>> table = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
        >>> standardized(table, train=table).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    spread, mean = torch.std_mean(train, dim=0, correction=0)
    # torch updates a running mean, so the spread of equal numbers is exactly 0, whatever they are.
    return (values - mean) / spread.masked_fill(spread == 0, 1.0)


class TableData(LightningDataModule):
    """Base class of the data sets; a subclass gives ``table`` and the class attributes.

    ``setup`` builds the table, splits it at random into 80 % for training and 20 % for testing, and scales
    both by what the train split shows.

    Args:
        batch_size: rows of a training batch, from 1 to the rows of the train split.
        seed: of the split, of the order of every epoch, and of made-up data.
        features: columns of x; it stands in the configuration because models read it there, and is checked.
        outputs: columns that a network should give; as ``features``.
        image: channels, height and width of a row, ``None`` where it is no image; as ``features``.

    Attributes:
        features, outputs, image: as above.
        classes: the number of classes, ``None`` for a regression.
        x_train, x_test: the features, float32, shape [N, features].
        y_train, y_test: class numbers, int64, shape [N]; or numbers, float32, shape [N, outputs].
        train_rows, test_rows: which rows of the table they are.

    Raises:
        ValueError: a batch size or seed out of range; or a shape that the data set does not have.
    """

    option: ClassVar[str]
    features: int
    outputs: int
    classes: int | None = None
    image: tuple[int, ...] | None = None

    def __init__(
        self,
        batch_size: int = 64,
        seed: int = 0,
        features: int | None = None,
        outputs: int | None = None,
        image: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = checked_batch_size(batch_size)
        self.seed = checked_seed(seed)
        self._check("features", features, self.features)
        self._check("outputs", outputs, self.outputs)
        self._check("image", None if image is None else tuple(image), self.image)
        self._ready = False

    def table(self) -> tuple[Tensor, Tensor]:
        """All rows, neither split nor scaled: x [N, features], and y [N] (classes) or [N, outputs]."""
        raise NotImplementedError(f"{type(self).__name__} is a data set without a table(): write one")

    def scale(self, x: Tensor, train: Tensor) -> Tensor:
        """The features as a network gets them; ``train`` are those of the train split."""
        return standardized(x, train)

    def scale_target(self, y: Tensor, train: Tensor) -> Tensor:
        """The targets as a loss gets them: as they are, where a subclass does not say otherwise."""
        return y

    def setup(self, stage: str | None = None) -> None:
        """Build, split and scale the table, once."""
        if self._ready:
            return
        x, y = self.table()
        self._check("features", self.features, x.shape[1])
        self._check("outputs", self.outputs, y.shape[1] if y.ndim == 2 else int(y.max()) + 1)
        order = torch.randperm(len(x), generator=seeded(self.seed))
        count = int(TRAIN_SHARE * len(x))
        checked_batch_size(self.batch_size, rows=count)
        self.train_rows, self.test_rows = order[:count], order[count:]
        self._split(x, y)
        self._ready = True

    def train_dataloader(self) -> Batches:
        """Batches of the train split, in a new order every epoch; each loader starts from the same seed."""
        return Batches(self.x_train, self.y_train, self.batch_size, seeded(self.seed))

    def test_dataloader(self) -> Batches:
        """The whole test split as one batch."""
        return Batches(self.x_test, self.y_test, batch_size=len(self.x_test))

    def _split(self, x: Tensor, y: Tensor) -> None:
        x = self.scale(x, x[self.train_rows]).float()
        y = self.scale_target(y, y[self.train_rows])
        y = y.float() if self.classes is None else y.long()
        self.x_train, self.x_test = x[self.train_rows], x[self.test_rows]
        self.y_train, self.y_test = y[self.train_rows], y[self.test_rows]

    def _check(self, key: str, stated: object, actual: object) -> None:
        if stated is not None and stated != actual:
            raise ValueError(
                f"data={self.option} has data.{key}={actual}, not {stated}: leave the key as it is; it "
                "describes the data set and does not change it"
            )
