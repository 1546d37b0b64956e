"""Networks for images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.common import Built, Cases, Residual, images, labels

CASES = Cases()


def classified(model: nn.Module, size: int = 8, n: int = 3) -> Built:
    """A classifier of five kinds of images."""
    x, y = images(n, size=size), labels(n)
    return model, lambda: F.cross_entropy(model(x), y)


def convolved(i: int, o: int, kernel: int = 3, act: nn.Module | None = None, **options) -> nn.Sequential:
    """Convolution of the same size, batch normalization, activation."""
    padding = options.pop("padding", kernel // 2)
    layers = [nn.Conv2d(i, o, kernel, padding=padding, bias=False, **options), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act] if act is not None else []))


def head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, 5))


class Block(nn.Module):
    """A residual block as torchvision writes it: in-place ReLU, `out += identity`, a projection where shapes differ."""

    def __init__(self, i: int, o: int, stride: int = 1, bottleneck: int = 0, groups: int = 1) -> None:
        super().__init__()
        inner = bottleneck or o
        first, last = (1, 1) if bottleneck else (3, 3)
        self.conv1 = nn.Conv2d(i, inner, first, stride if not bottleneck else 1, first // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.middle = convolved(inner, inner, 3, nn.ReLU(inplace=True), stride=stride, groups=groups)
        self.has_middle = bool(bottleneck)
        if not bottleneck:
            self.middle = nn.Identity()
        self.conv2 = nn.Conv2d(inner, o, last, padding=last // 2, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = convolved(i, o, 1, stride=stride) if (i, stride) != (o, 1) else None

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(self.middle(out)))
        out += identity
        return self.relu(out)


def stem(o: int) -> nn.Sequential:
    return nn.Sequential(convolved(3, o, 3, nn.ReLU(inplace=True)), nn.MaxPool2d(3, 2, 1))


@CASES
def resnet_basic() -> Built:
    return classified(nn.Sequential(stem(4), Block(4, 4), Block(4, 8, 2), head(8)))


@CASES
def resnet_bottleneck() -> Built:
    return classified(nn.Sequential(stem(4), Block(4, 8, 1, 2), Block(8, 8, 2, 4), Block(8, 8, 1, 4), head(8)))


@CASES
def resnext() -> Built:
    return classified(nn.Sequential(stem(4), Block(4, 8, 1, 4, groups=4), Block(8, 8, 2, 8, groups=2), head(8)))


@CASES
def resnet_preactivation() -> Built:
    def block(c: int) -> Residual:
        norms = [nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1, bias=False)]
        return Residual(*norms, nn.BatchNorm2d(c), nn.ReLU(), nn.Dropout2d(0.3), nn.Conv2d(c, c, 3, padding=1))

    return classified(nn.Sequential(nn.Conv2d(3, 4, 3), block(4), block(4), nn.BatchNorm2d(4), nn.ReLU(), head(4)))


class Dense(nn.Module):
    """Each layer reads all that the earlier ones made."""

    def __init__(self, channels: int, growth: int, depth: int) -> None:
        super().__init__()
        counts = [channels + i * growth for i in range(depth)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(inplace=True), nn.Conv2d(c, growth, 3, padding=1)) for c in counts
        )

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.layers:
            features.append(F.dropout(layer(torch.cat(features, 1)), 0.2))
        return torch.cat(features, 1)


@CASES
def densenet() -> Built:
    transition = [nn.BatchNorm2d(10), nn.ReLU(inplace=True), nn.Conv2d(10, 5, 1), nn.AvgPool2d(2)]
    return classified(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Dense(4, 2, 3), *transition, Dense(5, 2, 2), head(9))
    )


class Branches(nn.ModuleList):
    """Several paths over one input, side by side in the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


class Inception(nn.Module):
    """GoogLeNet with its auxiliary classifier: two losses."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.first = Branches(
            [
                convolved(3, 2, 1, relu),
                nn.Sequential(convolved(3, 2, 1, relu), convolved(2, 3, 3, relu)),
                nn.Sequential(convolved(3, 2, 1, relu), convolved(2, 2, 5, relu)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), convolved(3, 2, 1, relu)),
            ]
        )
        self.second = nn.Sequential(
            nn.Conv2d(9, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, (7, 1), padding=(3, 0)), nn.ReLU()
        )
        self.main, self.auxiliary = head(4), nn.Sequential(nn.AvgPool2d(5, 3), nn.Flatten(), nn.Linear(36, 5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(x)
        return self.main(self.second(x)), self.auxiliary(x)


@CASES
def inception() -> Built:
    model, x, y = Inception(), images(size=10), labels(3)

    def loss() -> Tensor:
        main, auxiliary = model(x)
        return F.cross_entropy(main, y) + 0.3 * F.cross_entropy(auxiliary, y)

    return model, loss


@CASES
def squeezenet() -> Built:
    def fire(i: int, squeezed: int, o: int) -> nn.Sequential:
        wide = Branches([nn.Conv2d(squeezed, o, 1), nn.Conv2d(squeezed, o, 3, padding=1)])
        return nn.Sequential(nn.Conv2d(i, squeezed, 1), nn.ReLU(inplace=True), wide, nn.ReLU(inplace=True))

    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    last = [nn.Dropout(0.5), nn.Conv2d(8, 5, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()]
    return classified(nn.Sequential(nn.Conv2d(3, 4, 3, 1), nn.ReLU(), pool, fire(4, 2, 4), fire(8, 3, 4), *last))


class SqueezeExcite(nn.Module):
    def __init__(self, c: int, gate: nn.Module) -> None:
        super().__init__()
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, 2, 1), nn.ReLU(), nn.Conv2d(2, c, 1), gate)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale(x)


class StochasticDepth(nn.Module):
    """Drops a residual branch for a whole image (Huang et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.empty(x.shape[0], 1, 1, 1).bernoulli_(0.7).div_(0.7)
        return x * keep


def inverted(i: int, wide: int, o: int, stride: int, act: nn.Module, *extra: nn.Module) -> nn.Module:
    layers = [convolved(i, wide, 1, act), convolved(wide, wide, 3, act, stride=stride, groups=wide)]
    return (Residual if i == o and stride == 1 else nn.Sequential)(*layers, *extra, convolved(wide, o, 1))


@CASES
def mobilenet_v2() -> Built:
    act = nn.ReLU6(inplace=True)
    blocks = [inverted(4, 8, 4, 1, act), inverted(4, 8, 6, 2, act), inverted(6, 12, 6, 1, act)]
    return classified(nn.Sequential(convolved(3, 4, 3, act, stride=2), *blocks, convolved(6, 8, 1, act), head(8)))


class HardSigmoid(nn.Module):
    """As the paper writes it. Autograd's formula for `nn.Hardsigmoid` rounds 1/6 to single precision."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x + 3, inplace=True) / 6


@CASES
def mobilenet_v3() -> Built:
    act = nn.Hardswish(inplace=True)
    squeeze = SqueezeExcite(8, HardSigmoid())
    blocks = [inverted(4, 8, 4, 1, act, squeeze), inverted(4, 8, 6, 2, nn.ReLU(inplace=True))]
    return classified(nn.Sequential(convolved(3, 4, 3, act), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), act,
                                    nn.Linear(6, 5)))  # fmt: skip


@CASES
def efficientnet() -> Built:
    act = nn.SiLU(inplace=True)

    def block(i: int, o: int, stride: int) -> nn.Module:
        layers = [convolved(i, 8, 1, act), convolved(8, 8, 5, act, stride=stride, groups=8)]
        layers += [SqueezeExcite(8, nn.Sigmoid()), convolved(8, o, 1)]
        return Residual(*layers, StochasticDepth()) if i == o else nn.Sequential(*layers)

    return classified(nn.Sequential(convolved(3, 4, 3, act), block(4, 4, 1), block(4, 6, 2), block(6, 6, 1), head(6)))


class Shuffle(nn.Module):
    """Half of the channels pass a depthwise branch, then all are shuffled between the halves."""

    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.branch = nn.Sequential(
            convolved(h, h, 1, nn.ReLU(inplace=True)), convolved(h, h, 3, groups=h), convolved(h, h, 1, nn.ReLU())
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        x = torch.cat((kept, self.branch(worked)), dim=1)
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


@CASES
def shufflenet_v2() -> Built:
    return classified(nn.Sequential(convolved(3, 8, 3, nn.ReLU(inplace=True)), Shuffle(8), Shuffle(8), head(8)))


@CASES
def vgg_batchnorm() -> Built:
    def stage(i: int, o: int) -> list[nn.Module]:
        return [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)]

    last = [nn.Flatten(), nn.Linear(24, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 5)]
    return classified(nn.Sequential(*stage(3, 4), *stage(4, 6), *last))


@CASES
def alexnet() -> Built:
    norm = nn.LocalResponseNorm(3, alpha=1e-1, beta=0.75, k=2.0)
    first = [nn.Conv2d(3, 6, 3, 1, 2), nn.ReLU(inplace=True), norm, nn.MaxPool2d(3, 2)]
    second = [nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.ReLU(inplace=True), norm, nn.AdaptiveAvgPool2d((3, 2))]
    last = [nn.Flatten(), nn.Dropout(), nn.Linear(36, 8), nn.ReLU(inplace=True), nn.Linear(8, 5)]
    return classified(nn.Sequential(*first, *second, *last))


@CASES
def lenet_with_learned_pooling() -> Built:
    pool = [nn.LPPool2d(2, 2), nn.Tanh()]
    last = [nn.FractionalMaxPool2d(2, output_size=2), nn.Flatten(), nn.PReLU(16), nn.Linear(16, 5), nn.LogSoftmax(1)]
    model, x, y = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), *pool, nn.RReLU(), *last), images(size=10), labels(3)
    return model, lambda: F.nll_loss(model(x), y)


@CASES
def maxout_network() -> Built:
    class Maxout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 12, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).unflatten(1, (4, 3)).max(dim=2).values

    return classified(nn.Sequential(Maxout(), nn.AlphaDropout(0.2), head(4)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = convolved(3, 4, 3, nn.ReLU(True)), convolved(4, 6, 3, nn.ReLU(True))
        self.bottom = convolved(6, 8, 3, nn.ReLU(True))
        self.up2, self.up1 = nn.ConvTranspose2d(8, 6, 2, stride=2), nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1)
        self.merge2, self.merge1 = convolved(12, 6, 3, nn.ReLU(True)), convolved(8, 4, 3, nn.ReLU(True))
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = F.dropout2d(self.bottom(F.max_pool2d(b, 2)), 0.2)
        b = self.merge2(torch.cat([b, self.up2(c)], 1))
        return self.out(self.merge1(torch.cat([a, F.pad(self.up1(b), (0, 0, 0, 0))], 1)))


@CASES
def unet_with_dice_loss() -> Built:
    model, x, mask = UNet(), images(2), (images(2, 1) > 0).double()

    def loss() -> Tensor:
        p = model(x).sigmoid()
        dice = 1 - (2 * (p * mask).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
        return dice.mean() + F.binary_cross_entropy(p, mask)

    return model, loss


class FeaturePyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)])
        self.lateral = nn.ModuleList(nn.Conv2d(c, 4, 1) for c in (4, 6, 8))
        self.classes, self.boxes = nn.Conv2d(4, 2, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels = []
        for stage in self.stages:
            levels.append(x := F.relu(stage(x)))
        tops = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        for i in (1, 0):
            mode = {"mode": "nearest"} if i else {"mode": "bilinear", "align_corners": False}
            tops[i] = tops[i] + F.interpolate(tops[i + 1], size=tops[i].shape[-2:], **mode)
        flat = [(self.classes(t).flatten(2), self.boxes(t).flatten(2)) for t in tops]
        return {"classes": torch.cat([c for c, _ in flat], 2), "boxes": torch.cat([b for _, b in flat], 2)}


@CASES
def retinanet_with_focal_loss() -> Built:
    model, x = FeaturePyramid(), images(2, size=7)
    n = 7 * 7 + 4 * 4 + 2 * 2
    target, boxes = (torch.rand(2, 2, n) > 0.7).double(), torch.randn(2, 4, n)

    def loss() -> Tensor:
        out = model(x)
        plain = F.binary_cross_entropy_with_logits(out["classes"], target, reduction="none")
        p = torch.where(target > 0, out["classes"].sigmoid(), 1 - out["classes"].sigmoid())
        focal = (0.25 * (1 - p) ** 2 * plain).sum() / target.sum().clamp(min=1)
        positive = target.amax(1, keepdim=True).bool().expand_as(boxes)
        return focal + F.smooth_l1_loss(out["boxes"][positive], boxes[positive], beta=0.1)

    return model, loss


@CASES
def detector_with_giou_loss() -> Built:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(36, 16)), images(2)
    corner, size = torch.rand(2, 4, 2), torch.rand(2, 4, 2)
    wanted = torch.cat([corner, corner + size], -1)

    def area(box: Tensor) -> Tensor:
        return (box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1)

    def loss() -> Tensor:
        raw = model(x).view(2, 4, 4)
        boxes = torch.cat([raw[..., :2], raw[..., :2] + F.softplus(raw[..., 2:])], -1)
        low, high = torch.max(boxes, wanted), torch.min(boxes, wanted)
        shared = area(torch.cat([low[..., :2], high[..., 2:]], -1))
        hull = area(torch.cat([high[..., :2], low[..., 2:]], -1))
        union = area(boxes) + area(wanted) - shared
        return (1 - shared / union + (hull - union) / hull).mean()

    return model, loss


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling of DeepLab v3."""

    def __init__(self) -> None:
        super().__init__()
        rates = [nn.Conv2d(6, 4, 3, padding=r, dilation=r, bias=False) for r in (1, 2, 3)]
        self.branches = nn.ModuleList(nn.Sequential(c, nn.BatchNorm2d(4), nn.ReLU()) for c in rates)
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 4, 1), nn.ReLU())
        self.project = nn.Sequential(nn.Conv2d(16, 6, 1), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        whole = F.interpolate(self.whole(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.project(torch.cat([*(branch(x) for branch in self.branches), whole], dim=1))


@CASES
def deeplab() -> Built:
    up = nn.Upsample(scale_factor=2, mode="bicubic", align_corners=True)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), PyramidPooling(), nn.Conv2d(6, 5, 1), up)
    x, y = images(2), labels(2, 8, 8)
    y[:, :2] = 255
    return model, lambda: F.cross_entropy(model(x), y, ignore_index=255, label_smoothing=0.1)


class SegNet(nn.Module):
    """The decoder puts values back to where pooling found them."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x, places = F.max_pool2d(self.encode(x).relu_(), 2, return_indices=True)
        return self.decode(F.max_unpool2d(F.celu(x), places, 2))


@CASES
def segnet() -> Built:
    model, x, y = SegNet(), images(2), labels(2, 8, 8)
    return model, lambda: F.cross_entropy(model(x), y, weight=torch.arange(1.0, 6))


class ChannelsLast(nn.Module):
    """Layers that want channels last, between two permutations."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((c, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


@CASES
def convnext() -> Built:
    def block(c: int) -> Residual:
        inner = ChannelsLast(nn.LayerNorm(c), nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))
        return Residual(nn.Conv2d(c, c, 7, padding=3, groups=c), inner, LayerScale(c), StochasticDepth())

    patches = [nn.Conv2d(3, 4, 2, 2), ChannelsLast(nn.LayerNorm(4))]
    down = [ChannelsLast(nn.LayerNorm(4)), nn.Conv2d(4, 6, 2, 2)]
    return classified(nn.Sequential(*patches, block(4), *down, block(6), head(6)))


class GlobalResponseNorm(nn.Module):
    """ConvNeXt v2's normalization, over maps with channels last."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.randn(c)), nn.Parameter(torch.zeros(c))

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * (norm / (norm.mean(dim=-1, keepdim=True) + 1e-6))) + self.beta + x


@CASES
def convnext_v2_in_channels_last_memory() -> Built:
    inner = ChannelsLast(nn.LayerNorm(4), nn.Linear(4, 8), nn.GELU("tanh"), GlobalResponseNorm(8), nn.Linear(8, 4))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Residual(nn.Conv2d(4, 4, 3, padding=1, groups=4), inner), head(4))
    model = model.to(memory_format=torch.channels_last)
    x, y = images().to(memory_format=torch.channels_last), labels(3)
    return model, lambda: F.cross_entropy(model(x), y)


class VisionTransformer(nn.Module):
    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 4, 4)
        self.cls, self.place = nn.Parameter(torch.randn(1, 1, dim)), nn.Parameter(torch.randn(1, 5, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 2, 16, 0.1, F.gelu, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1) + self.place
        return self.head(self.encoder(F.dropout(tokens, 0.1))[:, 0])


@CASES
def vision_transformer() -> Built:
    return classified(VisionTransformer())


class WindowAttention(nn.Module):
    """Swin's attention within windows, shifted by torch.roll, with a table of relative position biases."""

    def __init__(self, dim: int, heads: int, window: int, shift: int, size: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv, self.out, self.norm = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.1)
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        relative = (at[:, :, None] - at[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("relative", relative[..., 0] * (2 * window - 1) + relative[..., 1])
        region = torch.zeros(1, size, size, 1)
        for i, rows in enumerate((slice(0, -window), slice(-window, -shift or None), slice(-shift, None))):
            for j, columns in enumerate((slice(0, -window), slice(-window, -shift or None), slice(-shift, None))):
                region[:, rows, columns] = 3 * i + j
        kinds = self.split(region).squeeze(-1)
        masked = torch.zeros_like(kinds[:, :, None] - kinds[:, None]).masked_fill(
            kinds[:, :, None] != kinds[:, None], -100.0
        )
        self.register_buffer("mask", masked if shift else torch.zeros_like(masked))

    def split(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        x = x.view(b, h // self.window, self.window, w // self.window, self.window, c)
        return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, self.window**2, c)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        s, n = self.window, self.window**2
        rolled = torch.roll(self.norm(x), shifts=(-self.shift, -self.shift), dims=(1, 2))
        windows = self.split(rolled)
        q, k, v = self.qkv(windows).reshape(-1, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.relative.view(-1)].view(n, n, -1).permute(2, 0, 1).contiguous()
        scores = scores + bias.unsqueeze(0)
        scores = scores.view(b, -1, self.heads, n, n) + self.mask[None, :, None]
        weights = F.dropout(scores.view(-1, self.heads, n, n).softmax(-1), 0.1)
        out = self.out((weights @ v).transpose(1, 2).reshape(-1, n, c))
        out = out.view(b, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(b, h, w, c)
        return x + torch.roll(out, shifts=(self.shift, self.shift), dims=(1, 2))


class PatchMerging(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduce(torch.cat(corners, -1))


@CASES
def swin() -> Built:
    layers = [WindowAttention(4, 2, 2, 0, 4), WindowAttention(4, 2, 2, 1, 4), PatchMerging(4)]
    body = ChannelsLast(*layers, nn.LayerNorm(8))
    return classified(nn.Sequential(nn.Conv2d(3, 4, 2, 2), body, head(8)))


@CASES
def mlp_mixer() -> Built:
    class Mixing(nn.Module):
        """An MLP over the patches, then one over the channels."""

        def __init__(self, n: int, c: int) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(c), nn.LayerNorm(c)])
            self.tokens = nn.Sequential(nn.Linear(n, 6), nn.GELU(), nn.Dropout(0.1), nn.Linear(6, n))
            self.channels = nn.Sequential(nn.Linear(c, 6), nn.GELU(), nn.Dropout(0.1), nn.Linear(6, c))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.tokens(self.norms[0](x).mT).mT
            return x + self.channels(self.norms[1](x))

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.body, self.head = nn.Conv2d(3, 6, 2, 2), Mixing(16, 6), nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(torch.einsum("bchw->bhwc", self.patch(x)).flatten(1, 2)).mean(1))

    return classified(Mixer())


@CASES
def conv_mixer() -> Built:
    def after(c: int) -> list[nn.Module]:
        return [nn.GELU(), nn.BatchNorm2d(c)]

    depthwise = Residual(nn.Conv2d(4, 4, 3, groups=4, padding="same"), *after(4))
    return classified(
        nn.Sequential(nn.Conv2d(3, 4, 2, 2), *after(4), depthwise, nn.Conv2d(4, 4, 1), *after(4), head(4))
    )


@CASES
def super_resolution_by_pixel_shuffle() -> Built:
    layers = [nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.PReLU(), nn.PixelUnshuffle(2)]
    up = [nn.Conv2d(16, 48, 3, padding=1, padding_mode="replicate"), nn.PixelShuffle(4)]
    model, x, y = nn.Sequential(*layers, *up), images(2, size=6), images(2, size=12)

    def loss() -> Tensor:
        made = model(x)
        variation = made.diff(dim=-1).abs().mean() + made.diff(dim=-2).abs().mean()
        return F.l1_loss(made, y) + 0.1 * variation + torch.sqrt((made - y) ** 2 + 1e-6).mean()

    return model, loss


@CASES
def style_transfer() -> Built:
    """Instance normalization, a loss over Gram matrices of a frozen network, and circular padding."""
    conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    generator = nn.Sequential(
        conv, nn.InstanceNorm2d(4, affine=True), nn.ELU(), nn.ReflectionPad2d(1), nn.Conv2d(4, 3, 3)
    )
    judge = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
    model, x, style = nn.ModuleList([generator, judge]), images(2), images(1)

    def gram(features: Tensor) -> Tensor:
        return torch.einsum("bchw,bdhw->bcd", features, features) / features[0].numel()

    def loss() -> Tensor:
        made = generator(x)
        return F.mse_loss(gram(judge(made)), gram(judge(style)).expand(2, -1, -1)) + F.mse_loss(judge(made), judge(x))

    return model, loss


class SpatialTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Sequential(
            nn.Conv2d(3, 2, 3), nn.MaxPool2d(2, 2), nn.ReLU(True), nn.Flatten(), nn.Linear(18, 6)
        )
        self.where[-1].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0]))
        self.rest = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), head(4))

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(self.where(x).view(-1, 2, 3), x.size(), align_corners=False)
        return self.rest(F.grid_sample(x, grid, align_corners=False))


@CASES
def spatial_transformer() -> Built:
    return classified(SpatialTransformer())


class Capsules(nn.Module):
    """Routing by agreement (Sabour et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.primary = nn.Conv2d(3, 8, 3, 2)
        self.weight = nn.Parameter(torch.randn(5, 18, 4, 6) * 0.3)

    @staticmethod
    def squash(x: Tensor) -> Tensor:
        square = (x**2).sum(-1, keepdim=True)
        return square / (1 + square) * x / (square.sqrt() + 1e-8)

    def forward(self, x: Tensor) -> Tensor:
        u = self.squash(self.primary(x).view(len(x), 18, 4))
        votes = torch.einsum("bic,jicd->bjid", u, self.weight)
        logits = votes.new_zeros(votes.shape[:3])
        for _ in range(3):
            out = self.squash((logits.softmax(1)[..., None] * votes).sum(2))
            logits = logits + (votes * out[:, :, None]).sum(-1)
        return out.norm(dim=-1)


@CASES
def capsules_with_margin_loss() -> Built:
    model, x, y = Capsules(), images(), F.one_hot(labels(3), 5)

    def loss() -> Tensor:
        length = model(x)
        return (y * F.relu(0.9 - length) ** 2 + 0.5 * (1 - y) * F.relu(length - 0.1) ** 2).sum(1).mean()

    return model, loss


@CASES
def siamese_with_triplet_loss() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6))
    a, p, n = images(), images(), images()

    def loss() -> Tensor:
        u, v, w = (F.normalize(model(x)) for x in (a, p, n))
        contrast = F.cosine_embedding_loss(u, w, torch.tensor([1.0, -1, -1]), margin=0.1)
        return nn.TripletMarginLoss(margin=1.0, swap=True)(u, v, w) + contrast + F.pairwise_distance(u, v).mean()

    return model, loss


class Deformable(nn.Module):
    """A deformable convolution by sampling at learned offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.offset, self.mask, self.mix = (
            nn.Conv2d(3, 18, 3, padding=1),
            nn.Conv2d(3, 9, 3, padding=1),
            nn.Linear(27, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        steps = torch.cartesian_prod(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w)).view(1, 1, h, w, 2).flip(-1)
        grid = steps + 0.1 * self.offset(x).view(b, 9, 2, h, w).permute(0, 1, 3, 4, 2)
        sampled = F.grid_sample(x, grid.flatten(1, 2), mode="bilinear", padding_mode="border", align_corners=True)
        sampled = sampled.view(b, c, 9, h, w) * self.mask(x).sigmoid().unsqueeze(1)
        return self.mix(sampled.flatten(1, 2).movedim(1, -1)).movedim(-1, 1)


@CASES
def deformable_convolution() -> Built:
    return classified(nn.Sequential(Deformable(), nn.ReLU(), head(4)), size=6)


class Involution(nn.Module):
    """A kernel of its own for every pixel, over unfolded patches."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(c, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        patches = F.unfold(x, 3, padding=1).view(b, c, 9, h, w)
        weighted = patches * self.kernel(x).softmax(1).unsqueeze(1)
        return F.fold(weighted.view(b, c * 9, h * w), (h, w), 3, padding=1)


@CASES
def involution() -> Built:
    return classified(nn.Sequential(nn.Conv2d(3, 4, 1), Involution(4), nn.Hardtanh(), head(4)))


class NetVLAD(nn.Module):
    def __init__(self, k: int, c: int) -> None:
        super().__init__()
        self.assign, self.centres = nn.Conv2d(c, k, 1), nn.Parameter(torch.randn(k, c))

    def forward(self, x: Tensor) -> Tensor:
        soft = self.assign(x).flatten(2).softmax(1)
        apart = x.flatten(2).unsqueeze(1) - self.centres[None, :, :, None]
        return F.normalize(F.normalize((apart * soft.unsqueeze(2)).sum(-1), dim=2).flatten(1))


@CASES
def netvlad() -> Built:
    return classified(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Softsign(), NetVLAD(3, 4), nn.Linear(12, 5)))


@CASES
def bilinear_cnn() -> Built:
    class Bilinear(nn.Module):
        """The outer product of two streams, signed square root, normalized."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 3, 3), nn.Linear(12, 5)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.a(x).flatten(2), self.b(x).flatten(2)
            product = torch.bmm(a, b.transpose(1, 2)).flatten(1) / a.shape[-1]
            return self.head(F.normalize(product.sign() * (product.abs() + 1e-5).sqrt()))

    return classified(Bilinear())


@CASES
def video_network_in_three_dimensions() -> Built:
    layers = [nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(inplace=True), nn.MaxPool3d((1, 2, 2))]
    down = [nn.Conv3d(4, 4, (3, 1, 1), stride=(2, 1, 1)), nn.Dropout3d(0.2), nn.ConvTranspose3d(4, 3, 2)]
    up = nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear")
    model = nn.Sequential(*layers, *down, up, nn.AdaptiveMaxPool3d((1, 2, 2)), nn.Flatten(), nn.Linear(12, 5))
    x, y = torch.randn(2, 2, 4, 6, 6), labels(2)
    return model, lambda: F.multi_margin_loss(model(x), y)


@CASES
def fourier_neural_operator() -> Built:
    class Spectral(nn.Module):
        """Multiplies the low frequencies by complex weights, written into a spectrum of zeros."""

        def __init__(self, c: int, modes: int) -> None:
            super().__init__()
            self.modes = modes
            self.low = nn.Parameter(torch.randn(c, c, modes, modes, dtype=torch.cfloat).cdouble() / c)
            self.high = nn.Parameter(torch.randn(c, c, modes, modes, dtype=torch.cfloat).cdouble() / c)
            self.local = nn.Conv2d(c, c, 1)

        def forward(self, x: Tensor) -> Tensor:
            m, spectrum = self.modes, torch.fft.rfft2(x)
            out = torch.zeros_like(spectrum)
            out[:, :, :m, :m] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :m, :m], self.low)
            out[:, :, -m:, :m] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, -m:, :m], self.high)
            return F.gelu(torch.fft.irfft2(out, s=x.shape[-2:]) + self.local(x))

    model = nn.Sequential(nn.Conv2d(3, 4, 1), Spectral(4, 2), Spectral(4, 2), nn.Conv2d(4, 1, 1))
    x, y = images(2), images(2, 1)
    return model, lambda: torch.linalg.vector_norm(model(x) - y, dim=(1, 2, 3)).div(y.norm()).mean()


@CASES
def masked_autoencoder() -> Built:
    class Masked(nn.Module):
        """Encodes a random quarter of the patches; the decoder fills the rest with a mask token."""

        def __init__(self, dim: int = 8) -> None:
            super().__init__()
            self.embed, self.token = nn.Linear(12, dim), nn.Parameter(torch.randn(1, 1, dim))
            self.encoder = nn.TransformerEncoderLayer(dim, 2, 12, 0.0, batch_first=True)
            self.decoder = nn.TransformerEncoderLayer(dim, 2, 12, 0.0, batch_first=True)
            self.out = nn.Linear(dim, 12)

        def forward(self, patches: Tensor) -> Tensor:
            b, n, _ = patches.shape
            order = torch.rand(b, n).argsort(1)
            back, kept = order.argsort(1), order[:, : n // 4]
            x = self.embed(patches)
            x = self.encoder(torch.gather(x, 1, kept.unsqueeze(-1).expand(-1, -1, x.shape[-1])))
            x = torch.cat([x, self.token.repeat(b, n - x.shape[1], 1)], 1)
            x = self.out(self.decoder(x.gather(1, back.unsqueeze(-1).expand(-1, -1, x.shape[-1]))))
            mask = (back >= n // 4).double()
            return (((x - patches) ** 2).mean(-1) * mask).sum() / mask.sum()

    model, x = Masked(), F.unfold(images(2), 2, stride=2).mT
    return model, lambda: model(x)


@CASES
def detr_with_hungarian_matching() -> Built:
    class Detr(nn.Module):
        def __init__(self, dim: int = 8) -> None:
            super().__init__()
            self.backbone, self.queries = nn.Conv2d(3, dim, 2, 2), nn.Embedding(4, dim)
            self.rows, self.columns = nn.Parameter(torch.rand(4, dim // 2)), nn.Parameter(torch.rand(4, dim // 2))
            self.transformer = nn.Transformer(dim, 2, 1, 1, 12, 0.1, batch_first=True)
            self.classes, self.boxes = nn.Linear(dim, 3), nn.Linear(dim, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.backbone(x)
            place = torch.cat([self.columns[None].repeat(4, 1, 1), self.rows[:, None].repeat(1, 4, 1)], -1).flatten(
                0, 1
            )
            seen = place + 0.1 * h.flatten(2).permute(0, 2, 1)
            out = self.transformer(seen, self.queries.weight.unsqueeze(0).repeat(len(x), 1, 1))
            return self.classes(out), self.boxes(out).sigmoid()

    from scipy.optimize import linear_sum_assignment

    model, x, y, boxes = Detr(), images(2), labels(2, 2, classes=2), torch.rand(2, 2, 4)

    def loss() -> Tensor:
        logits, found = model(x)
        with torch.no_grad():
            cost = torch.cdist(found, boxes, p=1) - torch.stack(
                [p[:, t] for p, t in zip(logits.softmax(-1), y, strict=True)]
            )
        pairs = [linear_sum_assignment(c.numpy()) for c in cost]
        total = x.new_zeros(())
        for i, (queries, targets) in enumerate(pairs):
            wanted = torch.full((4,), 2)
            wanted[queries] = y[i][targets]
            total += F.cross_entropy(logits[i], wanted) + F.l1_loss(found[i][queries], boxes[i][targets])
        return total

    return model, loss


@CASES
def ghost_network_with_blur_pool() -> Built:
    class Ghost(nn.Module):
        """Half of the maps are cheap functions of the other half; then a fixed blur before subsampling."""

        def __init__(self) -> None:
            super().__init__()
            self.primary, self.cheap = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)
            kernel = torch.tensor([1.0, 2, 1])
            self.register_buffer("blur", (kernel.outer(kernel) / 16).repeat(8, 1, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            x = self.primary(x)
            x = torch.cat([x, F.mish(self.cheap(x))], 1)
            return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.blur, stride=2, groups=8)

    return classified(nn.Sequential(Ghost(), nn.GroupNorm(2, 8), head(8)))


@CASES
def multi_label_network_with_mixup() -> Built:
    model = nn.Sequential(convolved(3, 4, 3, nn.LogSigmoid()), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(16, 5))
    x, y = images(4), labels(4)

    def loss() -> Tensor:
        share = torch.distributions.Beta(0.4, 0.4).sample()
        order = torch.randperm(4)
        logits = model(share * x + (1 - share) * x[order])
        soft = share * F.one_hot(y, 5) + (1 - share) * F.one_hot(y[order], 5)
        return F.cross_entropy(logits, soft) + F.multilabel_soft_margin_loss(logits, (soft > 0.3).double())

    return model, loss


@CASES
def depth_from_motion() -> Built:
    """A predicted depth warps one view into the other; structural similarity compares them."""

    class Depth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depth = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ELU(), nn.Conv2d(4, 1, 3, padding=1))
            self.pose = nn.Sequential(nn.Conv2d(6, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            n, _, h, w = a.shape
            depth = 1 / (0.1 + 10 * self.depth(a).sigmoid())
            y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
            points = torch.stack([x, y, torch.ones_like(x)]).expand(n, -1, -1, -1) * depth
            points = points + 0.01 * self.pose(torch.cat([a, b], 1))[:, :, None, None]
            grid = (points[:, :2] / points[:, 2:].clamp(min=1e-3)).permute(0, 2, 3, 1)
            return F.grid_sample(b, grid, padding_mode="reflection", align_corners=True)

    model, a, b = Depth(), images(2).sigmoid(), images(2).sigmoid()

    def loss() -> Tensor:
        x = model(a, b)
        mx, my = F.avg_pool2d(x, 3, 1), F.avg_pool2d(a, 3, 1)
        vx, vy = F.avg_pool2d(x * x, 3, 1) - mx**2, F.avg_pool2d(a * a, 3, 1) - my**2
        cov = F.avg_pool2d(x * a, 3, 1) - mx * my
        similar = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        return ((1 - similar) / 2).clamp(0, 1).mean() + (x - a).abs().mean()

    return model, loss


@CASES
def patches_attended_axially() -> Built:
    class Axial(nn.Module):
        """Attention along the rows, then along the columns, with the maps as a batch."""

        def __init__(self, c: int) -> None:
            super().__init__()
            self.rows = nn.MultiheadAttention(c, 2, 0.1, batch_first=True)
            self.columns = nn.MultiheadAttention(c, 2, 0.1, batch_first=True, kdim=c, vdim=c, add_bias_kv=True)

        def forward(self, x: Tensor) -> Tensor:
            b, c, h, w = x.shape
            rows = x.permute(0, 2, 3, 1).reshape(b * h, w, c)
            rows = rows + self.rows(rows, rows, rows, need_weights=False)[0]
            columns = rows.view(b, h, w, c).transpose(1, 2).reshape(b * w, h, c)
            columns = columns + self.columns(columns, columns, columns)[0]
            return columns.view(b, w, h, c).permute(0, 3, 2, 1)

    scale = 1 / math.sqrt(2)
    return classified(nn.Sequential(nn.Conv2d(3, 4, 2, 2), Axial(4), nn.Threshold(scale, 0.1), head(4)))
