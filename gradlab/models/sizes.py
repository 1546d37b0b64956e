"""What a network may be given as its sizes and as its batch, and the errors that say so."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

DATA_SETS = "data=digits, iris, diabetes, moons, circles, spiral, sine"
TEXTS = "data=characters"


def positive(model: str, key: str, value: Any, data_sets: str = DATA_SETS) -> int:
    """``value`` itself where it is a whole number above 0; an error that names the key otherwise.

    ``data_sets`` are those that state this size; empty for a size that belongs to the model alone.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        stated = f": leave it at what the data set says ({data_sets}), or give such a number" if data_sets else ""
        raise ValueError(f"model={model} needs a whole number above 0 as model.{key}, got {value!r}{stated}")
    return value


def share(model: str, key: str, value: Any) -> float:
    """``value`` itself where it is a number from 0 to below 1; an error that names the key otherwise."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"model={model} needs a number from 0 to below 1 as model.{key}, got {value!r}")
    return value


def widths(model: str, hidden: Sequence[int]) -> list[int]:
    """The hidden sizes as a list of whole numbers above 0; an error that shows the form otherwise."""
    listed = isinstance(hidden, Sequence) and not isinstance(hidden, str)
    good = listed and all(isinstance(w, int) and not isinstance(w, bool) and w > 0 for w in hidden)
    if not good:
        raise ValueError(
            f"model={model} needs a list of whole numbers above 0 as model.hidden, got {hidden!r}: write "
            "model.hidden=[32,16] for two hidden layers, model.hidden=[] for none"
        )
    return list(hidden)


def check_given(model: str, x: Tensor | None) -> Tensor:
    """The batch itself; an error where there is none."""
    if x is None:
        raise ValueError(
            f"model={model} needs a batch of features, and data=none gives none: choose {DATA_SETS}; or "
            "model=point with a surface such as loss=quadratic"
        )
    return x


def check_features(model: str, x: Tensor | None, features: int) -> Tensor:
    """The batch itself where its last axis is ``features`` long; an error otherwise."""
    x = check_given(model, x)
    if x.ndim == 0 or x.shape[-1] != features:
        raise ValueError(
            f"model={model} takes {features} features, got a batch of shape {list(x.shape)}: leave "
            "model.in_features at ${data.features}, or set it to the last number of that shape"
        )
    return x


def check_images(x: Tensor | None, image: tuple[int, int, int]) -> Tensor:
    """The batch as images [B, C, H, W]; an error where it is neither that nor rows of C·H·W numbers."""
    x = check_given("convnet", x)
    if x.ndim == 4 and tuple(x.shape[1:]) == image:
        return x
    if x.ndim != 2 or x.shape[1] != math.prod(image):
        raise ValueError(
            f"model=convnet takes images {list(image)} or rows of {math.prod(image)} numbers, got a batch of "
            f"shape {list(x.shape)}: leave model.image at ${{data.image}}, or set it to the image's shape"
        )
    return x.reshape(-1, *image)


def check_characters(model: str, x: Tensor | None, vocabulary: int) -> Tensor:
    """The batch itself where it is whole numbers [B, T] below ``vocabulary`` (looked at on the CPU only)."""
    if x is None:
        raise ValueError(f"model={model} needs a batch of characters, and data=none gives none: choose {TEXTS}")
    if x.ndim != 2 or x.numel() == 0 or x.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"model={model} takes windows of characters, whole numbers [B, T], got {x.dtype} of shape "
            f"{list(x.shape)}: choose {TEXTS}, or a network for features: model=linear, logistic, mlp"
        )
    if x.device.type != "cpu":  # looking at values would wait for the device
        return x
    low, high = (int(limit) for limit in x.aminmax())
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"model={model} knows the characters 0 to {vocabulary - 1}, got {low} to {high}: leave "
            "model.vocabulary at ${data.vocabulary}, or set it to the number of different characters"
        )
    return x
