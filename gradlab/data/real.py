"""Real data sets, the small ones that scikit-learn ships: nothing is downloaded."""

import torch
from torch import Tensor

from gradlab.data.table import TableData, standardized


class Digits(TableData):
    """1,797 handwritten digits, 8 × 8 pixels, ten classes.

    Pixels 0 … 16 become 0 … 1 by one division, and not column by column: an image stays an image, and pixels
    that are always blank stay 0.

    Example:
        >>> data = Digits()
        >>> data.setup()
        >>> data.x_train.shape, data.x_test.shape
        (torch.Size([1437, 64]), torch.Size([360, 64]))

    References:
        E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository,
        1998.
    """

    option = "digits"
    features = 64
    outputs = classes = 10
    image = (1, 8, 8)

    def table(self) -> tuple[Tensor, Tensor]:
        """The images as rows [1797, 64] of pixels 0 … 16, and the digits [1797]."""
        # Here and not above: scikit-learn takes a second to import, and a run on a surface needs none of it.
        from sklearn.datasets import load_digits

        return tensors(*load_digits(return_X_y=True))

    def scale(self, x: Tensor, train: Tensor) -> Tensor:
        """Pixels as shares of the darkest one, 16."""
        return x / 16


class Iris(TableData):
    """150 flowers by four lengths (sepal and petal, in cm), three species.

    Example:
        >>> data = Iris(batch_size=30)
        >>> data.setup()
        >>> [len(x) for x, y in data.train_dataloader()]
        [30, 30, 30, 30]

    References:
        R. A. Fisher, *The use of multiple measurements in taxonomic problems*, Annals of Eugenics 7(2), 1936.
    """

    option = "iris"
    features = 4
    outputs = classes = 3

    def table(self) -> tuple[Tensor, Tensor]:
        """The lengths [150, 4] in cm, and the species [150]."""
        from sklearn.datasets import load_iris

        return tensors(*load_iris(return_X_y=True))


class Diabetes(TableData):
    """442 patients by ten measurements; the target is the progression of the disease after a year.

    The target (25 … 346 in the source) is standardized by the train split's mean and std, so that the
    losses are of order one: predicting the mean has a squared error of 1.

    Example:
        >>> data = Diabetes()
        >>> data.setup()
        >>> data.y_train.shape, round(data.y_train.std(correction=0).item(), 4)
        (torch.Size([353, 1]), 1.0)

    References:
        B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, *Least angle regression*, Annals of Statistics
        32(2), 2004.
    """

    option = "diabetes"
    features = 10
    outputs = 1

    def table(self) -> tuple[Tensor, Tensor]:
        """The measurements [442, 10], and the progression [442, 1]."""
        from sklearn.datasets import load_diabetes

        x, y = tensors(*load_diabetes(return_X_y=True))
        return x, y.unsqueeze(1)

    def scale_target(self, y: Tensor, train: Tensor) -> Tensor:
        """The progression in standard deviations from the train split's mean."""
        return standardized(y, train)


def tensors(x: object, y: object) -> tuple[Tensor, Tensor]:
    """Two NumPy arrays as tensors of the same type."""
    return torch.as_tensor(x), torch.as_tensor(y)
