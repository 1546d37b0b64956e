"""What an objective may be given as a target, and how class numbers become numbers.

torch broadcasts: a prediction of shape [64, 1] against a target of shape [64] is 4,096 differences, and the
wrong gradient that follows raises nothing. So every objective first asks here that target and prediction fit.
"""

import torch
from torch import Tensor

WITH_CLASSES = "data=digits, iris, moons, circles, spiral, characters"
WITH_TARGETS = "data=digits, iris, diabetes, moons, circles, spiral, sine, characters"
SURFACES = "loss=quadratic, rosenbrock, himmelblau, beale, booth, saddle, cliff, rastrigin, ackley, styblinski_tang"


def described(tensor: Tensor) -> str:
    """A tensor's type and shape in words: ``float32 of shape [64, 1]``."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}"


def limits(values: Tensor) -> tuple[float, float] | None:
    """The smallest and the largest value. ``None``: the tensor is empty, or reading it waits for a device."""
    if values.device.type != "cpu" or values.numel() == 0:
        return None
    low, high = values.detach().aminmax()
    return low.item(), high.item()


def given(loss: str, target: Tensor | None) -> Tensor:
    """The target itself; an error where there is none."""
    if target is None:
        raise ValueError(
            f"loss={loss} compares a prediction with a target, and there is none (data=none gives none): "
            f"choose data with targets: {WITH_TARGETS}; or a loss without one: {SURFACES}"
        )
    return target


def check_classes(loss: str, target: Tensor, count: int, advice: str) -> None:
    """Raise unless every class number lies in 0 … ``count`` − 1 (looked at on the CPU only)."""
    found = limits(target)
    if found is not None and (found[0] < 0 or found[1] >= count):
        raise ValueError(
            f"{loss} got class numbers from {found[0]} to {found[1]}, and the prediction has columns for "
            f"0 to {count - 1}: {advice}"
        )


def as_numbers(loss: str, prediction: Tensor, target: Tensor | None) -> Tensor:
    """The target as numbers of the prediction's shape.

    Floating targets stay as they are. Class numbers (integers, one fewer axis than the prediction) become a
    column of floats under a prediction with one column, and one-hot rows under one with several.

    Args:
        loss: the loss's name, for messages.
        prediction: shape [N, C], floating.
        target: shape [N, C], or class numbers of shape [N].

    Returns:
        The target, shape [N, C], floating.

    Raises:
        ValueError: there is no target, its shape does not fit, or a class number has no column.

    Example:
        >>> as_numbers("mse", torch.zeros(2, 3), torch.tensor([2, 0])).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
        >>> as_numbers("bce", torch.zeros(2, 1), torch.tensor([1, 0])).tolist()
        [[1.0], [0.0]]
    """
    target = given(loss, target)
    whole = not target.is_floating_point()
    if whole and target.shape == prediction.shape[:-1] and prediction.ndim > 0:
        target = _columns(loss, prediction, target)
    if target.shape != prediction.shape:
        raise ValueError(
            f"{loss} compares entry by entry, got a prediction {described(prediction)} and a target "
            f"{described(target)}, which torch would broadcast in silence or refuse: give both one shape, "
            "for instance by setting model.out_features to the number of target columns"
        )
    return target.to(prediction.dtype) if whole else target


def _columns(loss: str, prediction: Tensor, target: Tensor) -> Tensor:
    count = prediction.shape[-1]
    if count == 1:
        return target.unsqueeze(-1)
    check_classes(loss, target, count, "set model.out_features to the number of classes")
    # Not one_hot: it scatters in place, and asks the device for the largest class number.
    return target.unsqueeze(-1) == torch.arange(count, device=target.device)
