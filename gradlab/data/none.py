"""No data: for a surface, whose loss depends on the parameters alone."""

from lightning.pytorch import LightningDataModule

from gradlab.data.batches import NoBatches
from gradlab.data.table import checked_batch_size, checked_seed


class NoData(LightningDataModule):
    """Endless batches (None, None), one a step, so that ``trainer.max_steps`` alone bounds a run.

    It has no ``features`` and no ``outputs``, which networks would ask for.

    Args:
        batch_size: accepted because every data set has it; there is nothing to divide.
        seed: likewise.

    Raises:
        ValueError: a batch size or seed out of range.

    Example:
        >>> next(iter(NoData().train_dataloader()))
        (None, None)
    """

    classes: int | None = None

    def __init__(self, batch_size: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.batch_size = checked_batch_size(batch_size)
        self.seed = checked_seed(seed)

    def train_dataloader(self) -> NoBatches:
        """(None, None) without end."""
        return NoBatches()

    def test_dataloader(self) -> NoBatches:
        """(None, None) once: the loss at the point reached."""
        return NoBatches(steps=1)
