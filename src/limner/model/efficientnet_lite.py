"""EfficientNet-Lite as an encoder: convolutional, small, and pretrained without timm.

The network is EfficientNet (arXiv:1905.11946) without squeeze-and-excitation and with ReLU6, as
TensorFlow's authors published it for small devices. Its tensors have the names that timm gives
them, so weights and models move between the two.
"""

import math
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import LimnerError
from limner.model.blocks import FixedPaddingConv2d
from limner.model.encoders import Features, PretrainedEncoder

WIDTH_AND_DEPTH = {
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}
"""Factors of the channels and of the blocks in a stage."""
STAGES = (
    # kernel, stride, expansion, channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
REDUCTIONS = [2 * stride for stride in accumulate((row[1] for row in STAGES), int.__mul__)]
"""Of the image's side, after each stage. The stem halves it before the first."""
OUTPUT_STAGES = [
    stage for stage, reduction in enumerate(REDUCTIONS) if reduction not in REDUCTIONS[stage + 1 :]
]
"""The last stage of each resolution gives its features."""
STEM_CHANNELS, HEAD_CHANNELS, IMAGENET_CLASSES = 32, 1280, 1000
BATCH_NORM_EPS = 1e-3
"""TensorFlow's."""
MEAN, STD = (0.5,) * 3, (0.5,) * 3
"""Of red, green and blue (0..1), with which the published weights were trained."""


class EfficientNetLite(PretrainedEncoder):
    """Encode by EfficientNet-Lite 0 to 4, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the side.

    Args:
        name: timm's name, "tf_efficientnet_lite0" to "tf_efficientnet_lite4".
        channels: Image channels.

    Raises LimnerError for another name.

    Example:
        >>> encoder = EfficientNetLite("tf_efficientnet_lite0", 3)
        >>> [tuple(features.shape[1:]) for features in encoder(torch.zeros(1, 3, 64, 64))]
        [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    """

    first_convolutions = ("conv_stem",)

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(name)
        if name not in WIDTH_AND_DEPTH:
            raise LimnerError(f"{name!r} is not one of {', '.join(WIDTH_AND_DEPTH)}.")
        self.body = _Body(channels, *WIDTH_AND_DEPTH[name])
        self.channels = [self.body.channels[stage] for stage in OUTPUT_STAGES]
        self.reductions = [REDUCTIONS[stage] for stage in OUTPUT_STAGES]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Features:
        features: Features = self.body(images)
        return features

    def classifier_tensors(self) -> dict[str, Tensor]:
        with torch.device("meta"):
            body = _Body(3, *WIDTH_AND_DEPTH[self.name])
            head = nn.ModuleDict(
                {
                    "conv_head": _conv(body.channels[-1], HEAD_CHANNELS, 1),
                    "bn2": nn.BatchNorm2d(HEAD_CHANNELS),
                    "classifier": nn.Linear(HEAD_CHANNELS, IMAGENET_CLASSES),
                }
            )
        return {**body.state_dict(), **head.state_dict()}


class _Body(nn.Module):
    """The stem and the stages, without the classifier."""

    def __init__(self, channels: int, width: float, depth: float) -> None:
        super().__init__()
        self.conv_stem = _conv(channels, STEM_CHANNELS, 3, stride=2)
        self.bn1 = _norm(STEM_CHANNELS)
        self.act = nn.ReLU6(inplace=True)
        self.channels = [_round_channels(row[3] * width) for row in STAGES]
        stages: list[nn.Module] = []
        in_channels = STEM_CHANNELS
        for stage, (kernel, stride, expansion, _, count) in enumerate(STAGES):
            # The first and the last stage keep their single block at any depth
            inner = 0 < stage < len(STAGES) - 1
            blocks: list[nn.Module] = []
            for index in range(math.ceil(count * depth) if inner else count):
                size = (in_channels, self.channels[stage], kernel, 1 if index else stride)
                blocks.append(
                    _InvertedResidual(*size, expansion)
                    if expansion > 1
                    else _DepthwiseSeparable(*size)
                )
                in_channels = self.channels[stage]
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _initialise(module)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Features:
        x = self.act(self.bn1(self.conv_stem(images)))
        features: Features = []
        for stage, blocks in enumerate(self.blocks):
            x = blocks(x)
            if stage in OUTPUT_STAGES:
                features.append(x)
        return features


class _DepthwiseSeparable(nn.Module):
    """A convolution of each channel for itself, then one of 1x1 (arXiv:1704.04861)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _conv(in_channels, in_channels, kernel, stride, groups=in_channels)
        self.bn1 = _norm(in_channels)
        self.act = nn.ReLU6(inplace=True)
        self.conv_pw = _conv(in_channels, out_channels, 1)
        self.bn2 = _norm(out_channels)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y: Tensor = self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(x)))))
        return x + y if self.residual else y


class _InvertedResidual(nn.Module):
    """Expand by 1x1, convolve each channel for itself, project by 1x1 (arXiv:1801.04381)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.conv_pw = _conv(in_channels, inner, 1)
        self.bn1 = _norm(inner)
        self.conv_dw = _conv(inner, inner, kernel, stride, groups=inner)
        self.bn2 = _norm(inner)
        self.act = nn.ReLU6(inplace=True)
        self.conv_pwl = _conv(inner, out_channels, 1)
        self.bn3 = _norm(out_channels)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = self.act(self.bn1(self.conv_pw(x)))
        y = self.act(self.bn2(self.conv_dw(y)))
        projected: Tensor = self.bn3(self.conv_pwl(y))
        return x + projected if self.residual else projected


def _conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
) -> nn.Conv2d:
    convolution = FixedPaddingConv2d if stride > 1 else nn.Conv2d
    padding = 0 if stride > 1 else kernel // 2
    return convolution(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        groups=groups,
        bias=False,
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)


def _initialise(convolution: nn.Conv2d) -> None:
    """Draw weights by the fan-out of each group, as TensorFlow's EfficientNet does."""
    fan_out = math.prod(convolution.kernel_size) * convolution.out_channels
    nn.init.normal_(convolution.weight, 0, math.sqrt(2 / (fan_out // convolution.groups)))


def _round_channels(channels: float) -> int:
    """Round to a multiple of 8, and not down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
