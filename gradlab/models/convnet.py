"""A small convolutional network, again a plain sequence."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gradlab.models.activations import activation as activation_named
from gradlab.models.sizes import check_images, positive, widths


class ConvNet(nn.Sequential):
    """Blocks of 3 × 3 convolution, activation and 2 × 2 max-pooling, then an affine map of what is left.

    A convolution is padded and keeps height and width; a pooling halves them, rounding down. So an image of
    height and width 8 allows three blocks.

    Args:
        image: channels, height and width of an image, [C, H, W].
        hidden: the channels of each block; empty for none.
        out_features: columns of a prediction.
        activation: one of ``gradlab.models.ACTIVATIONS``.

    Raises:
        ValueError: ``image`` is no [C, H, W], it is too small for so many blocks, a size is no whole number
            above 0, or there is no such activation.

    Example:
        >>> import torch
        >>> network = ConvNet(image=[1, 8, 8], hidden=[8, 16], out_features=10)
        >>> network(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
        >>> [name for name, _ in network.named_parameters()]
        ['0.weight', '0.bias', '3.weight', '3.bias', '7.weight', '7.bias']
    """

    def __init__(
        self, image: Sequence[int] | None, hidden: Sequence[int], out_features: int, activation: str = "relu"
    ) -> None:
        shape = image_shape(image)
        sizes = [shape[0], *widths("convnet", hidden)]
        height, width = pooled(shape, blocks=len(sizes) - 1)
        classes = positive("convnet", "out_features", out_features)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1),
                activation_named(activation),
                nn.MaxPool2d(2),
            ]
        super().__init__(*layers, nn.Flatten(), nn.Linear(sizes[-1] * height * width, classes))
        self.image = shape

    def forward(self, input: Tensor | None) -> Tensor:
        """The prediction [B, out_features] for images [B, C, H, W], or rows of C·H·W numbers, floating.

        Raises:
            ValueError: there is no batch, or it has another shape.
        """
        return super().forward(check_images(input, self.image))


def image_shape(image: Sequence[int] | None) -> tuple[int, int, int]:
    """``image`` as (C, H, W), each a whole number above 0; an error otherwise."""
    sizes = tuple(image) if isinstance(image, Sequence) else ()
    if len(sizes) != 3 or not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(
            f"model=convnet needs images, model.image=[channels,height,width], got {image}: choose "
            "data=digits, or a network for features: model=linear, logistic, mlp"
        )
    return sizes


def pooled(image: tuple[int, int, int], blocks: int) -> tuple[int, int]:
    """Height and width after ``blocks`` poolings; an error where nothing would be left."""
    _, height, width = image
    if min(height, width) >> blocks == 0:
        # A side of length s can be halved floor(log2 s) times.
        most = min(height, width).bit_length() - 1
        raise ValueError(
            f"model=convnet halves the image once for each number in model.hidden, and {height} × {width} "
            f"pixels can be halved {most} times, not {blocks}: give at most {most} numbers"
        )
    return height >> blocks, width >> blocks
