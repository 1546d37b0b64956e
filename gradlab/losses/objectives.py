"""Objectives: torch's losses, each of which first asks that the target fits the prediction.

The values are torch's own. What is added is a check, and an error that says what to choose instead.
"""

import math

from torch import Tensor, nn

from gradlab.losses.targets import WITH_CLASSES, as_numbers, check_classes, described, given, limits


class Mse(nn.MSELoss):
    """The mean squared error, L = mean (ŷ − y)²; ∂L/∂ŷᵢ = 2 (ŷᵢ − yᵢ) / N.

    Class numbers are compared as numbers with a prediction of one column, as one-hot rows with one of
    several.

    Example:
        >>> import torch
        >>> Mse()(torch.tensor([[1.0], [4.0]]), torch.tensor([[0.0], [2.0]])).item()
        2.5
    """

    def forward(self, input: Tensor, target: Tensor | None) -> Tensor:
        """The loss of a prediction [N, C] against a target [N, C], or class numbers [N].

        Raises:
            ValueError: no target, shapes that differ, or a class number without a column.
        """
        return super().forward(input, as_numbers("mse", input, target))


class L1(nn.L1Loss):
    """The mean absolute error, L = mean |ŷ − y|; ∂L/∂ŷᵢ = sign(ŷᵢ − yᵢ) / N, and 0 at the kink ŷᵢ = yᵢ.

    Example:
        >>> import torch
        >>> L1()(torch.tensor([[1.0], [4.0]]), torch.tensor([[0.0], [2.0]])).item()
        1.5
    """

    def forward(self, input: Tensor, target: Tensor | None) -> Tensor:
        """As ``Mse.forward``."""
        return super().forward(input, as_numbers("l1", input, target))


class Huber(nn.HuberLoss):
    """Huber's loss, the mean of ½ d² where |d| ≤ δ and δ (|d| − ½ δ) beyond, with d = ŷ − y.

    ∂L/∂ŷᵢ = clamp(dᵢ, −δ, δ) / N: an outlier pulls no harder than δ.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
        delta: where the parabola becomes a line, above 0.

    Raises:
        ValueError: ``delta`` is not above 0.

    Example:
        >>> import torch
        >>> Huber()(torch.tensor([[0.5], [4.0]]), torch.tensor([[0.0], [2.0]])).item()
        0.8125

    References:
        P. J. Huber, *Robust estimation of a location parameter*, Annals of Mathematical Statistics 35(1),
        1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        if not 0 < delta < math.inf:
            raise ValueError(f"huber needs a finite delta above 0 (loss.delta), got {delta}")
        super().__init__(reduction, delta)

    def forward(self, input: Tensor, target: Tensor | None) -> Tensor:
        """As ``Mse.forward``."""
        return super().forward(input, as_numbers("huber", input, target))


class CrossEntropy(nn.CrossEntropyLoss):
    """The cross entropy of logits z against class numbers y, L = mean −log softmax(z)_y.

    ∂L/∂zᵢ = (softmax(zᵢ) − one-hot(yᵢ)) / N. torch also takes a row of probabilities as a target; this class
    takes class numbers only, so that a regression target is an error and no strange loss.

    Where a row has a class at each of several places, the classes may stand last, [N, T, C], as a network over
    texts gives them, or second, [N, C, T], as torch wants them and a convolution gives them.

    Args:
        weight: of each class, shape [C]; ``None`` for equal ones.
        ignore_index: a class number that counts for nothing.
        reduction: ``mean``, ``sum`` or ``none``.
        label_smoothing: the share of a target that is spread over all classes.
        class_axis: where the classes stand, −1 or 1; ``None`` reads it off the shapes.

    Raises:
        ValueError: there is no such ``class_axis``.

    Example:
        >>> import torch
        >>> round(CrossEntropy()(torch.zeros(2, 10), torch.tensor([3, 7])).item(), 4)  # log 10
        2.3026
        >>> round(CrossEntropy()(torch.zeros(2, 5, 10), torch.zeros(2, 5, dtype=torch.int64)).item(), 4)
        2.3026
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        class_axis: int | None = None,
    ) -> None:
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)
        if class_axis not in (None, 1, -1):
            raise ValueError(f"cross_entropy finds the classes in axis 1 or −1 (loss.class_axis), got {class_axis!r}")
        self.class_axis = class_axis

    def forward(self, input: Tensor, target: Tensor | None) -> Tensor:
        """The loss of logits [N, C] (or [N, ..., C], [N, C, ...]) against class numbers [N] (or [N, ...]), integers.

        Raises:
            ValueError: no target, floating targets, a single column, shapes that do not fit or fit in two ways, or
                a class number outside 0 … C − 1.
        """
        target = given("cross_entropy", target)
        if target.is_floating_point():
            raise ValueError(
                f"cross_entropy takes class numbers (int64), got {described(target)}: choose loss=mse, "
                f"huber or l1, or data with classes: {WITH_CLASSES}"
            )
        axis = self._axis(input, target)
        self._check_shapes(input, target, axis)
        self._check_range(target, count=input.shape[axis])
        if input.ndim < 3 or axis == 1:
            return super().forward(input, target.long())
        # Every place is a row of its own: torch's way for [N, C] is the plainest, and its backward pass too.
        loss = super().forward(input.flatten(0, -2), target.flatten().long())
        return loss.unflatten(0, target.shape) if self.reduction == "none" else loss

    def _axis(self, logits: Tensor, target: Tensor) -> int:
        """Where the classes stand: the axis that the target does not have."""
        if logits.ndim < 3:
            return -1
        if self.class_axis is not None:
            return self.class_axis
        fits = [axis for axis in (1, -1) if list(target.shape) == _without(logits, axis)]
        if len(fits) == 2:
            raise ValueError(
                f"cross_entropy cannot tell whether the classes of logits {described(logits)} stand second or last, "
                f"since targets {described(target)} fit both: set loss.class_axis=1 or loss.class_axis=-1"
            )
        return fits[0] if fits else -1

    def _check_shapes(self, logits: Tensor, target: Tensor, axis: int) -> None:
        if logits.shape[axis] == 1:
            raise ValueError(
                f"cross_entropy compares the columns of a prediction, got {described(logits)}, where the "
                "only class is always right: set model.out_features to the number of classes, or use loss=bce"
            )
        if list(target.shape) != _without(logits, axis):
            raise ValueError(
                f"cross_entropy takes logits [N, C] and class numbers [N], got logits {described(logits)} "
                f"and targets {described(target)}: give one class number for every row"
            )

    def _check_range(self, target: Tensor, count: int) -> None:
        found = limits(target)
        if found is not None and found[0] <= self.ignore_index <= found[1]:
            target = target[target != self.ignore_index]
        advice = "set model.out_features to the number of classes, or use loss=mse, huber or l1"
        check_classes("cross_entropy", target, count, advice)


class Bce(nn.BCEWithLogitsLoss):
    """The binary cross entropy of logits z, L = −mean [y log σ(z) + (1 − y) log(1 − σ(z))].

    ∂L/∂zᵢ = (σ(zᵢ) − yᵢ) / N. The sigmoid is part of the loss, since log σ(z) computed in two steps is −∞ for
    a large negative z. Class numbers 0 and 1 become a column of floats under a prediction with one column;
    class numbers become one-hot rows under one with several.

    Example:
        >>> import torch
        >>> round(Bce()(torch.zeros(2, 1), torch.tensor([0, 1])).item(), 4)  # log 2
        0.6931
    """

    def forward(self, input: Tensor, target: Tensor | None) -> Tensor:
        """The loss of logits [N, C] against targets in [0, 1] of the same shape, or class numbers [N].

        Raises:
            ValueError: as in ``Mse.forward``, or a target outside [0, 1] (looked at on the CPU only).
        """
        target = as_numbers("bce", input, target)
        found = limits(target)
        if found is not None and not (found[0] >= 0 and found[1] <= 1):
            raise ValueError(
                f"bce takes the classes 0 and 1, or probabilities between them, got targets from "
                f"{found[0]:g} to {found[1]:g}: for several classes set model.out_features to their number, "
                "or use loss=cross_entropy; for other numbers use loss=mse, huber or l1"
            )
        return super().forward(input, target)


def _without(tensor: Tensor, axis: int) -> list[int]:
    """The shape, less one axis."""
    sizes = list(tensor.shape)
    del sizes[axis]
    return sizes
