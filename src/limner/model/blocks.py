"""Convolution blocks: plain or residual, with the normalisation and activation of the settings."""

from math import gcd

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.recipe import ModelSettings

NORM_GROUPS = 8
"""Groups of a group normalisation, or as many as divide the channels (arXiv:1803.08494)."""
ACTIVATIONS = {"relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class ConvBlock(nn.Sequential):
    """Stack the convolutions of one level, and what the settings put behind them.

    The first convolution has the stride; all keep the size otherwise. With an expansion, a last
    dilated convolution gives `block_out_channels(out_channels, settings)` channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        convolutions: int,
        settings: ModelSettings,
        stride: int = 1,
    ) -> None:
        layers: list[nn.Module] = []
        if settings.block == "residual":
            layers.append(ResidualBlock(in_channels, out_channels, convolutions, settings, stride))
        else:
            layers += _conv_norm_activation(in_channels, out_channels, settings, stride)
            for _ in range(convolutions - 1):
                layers += _conv_norm_activation(out_channels, out_channels, settings)
        if settings.expansion_ratio:
            expanded, dilation = (
                block_out_channels(out_channels, settings),
                settings.expansion_dilation,
            )
            layers += _conv_norm_activation(out_channels, expanded, settings, dilation=dilation)
        if settings.dropout:
            layers.append(nn.Dropout2d(settings.dropout))
        super().__init__(*layers)


def block_out_channels(width: int, settings: ModelSettings) -> int:
    """Give the channels that a block of this width puts out."""
    return max(1, round(width * settings.expansion_ratio)) if settings.expansion_ratio else width


class ResidualBlock(nn.Module):
    """Add a 1x1 shortcut to pre-activated convolutions (arXiv:1603.05027).

    Normalisation and activation stand before each convolution. The shortcut spans them all.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        convolutions: int,
        settings: ModelSettings,
        stride: int,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(convolutions):
            channels = out_channels if index else in_channels
            layers += [
                *_normalisation(channels, settings),
                _activation(settings),
                conv2d(channels, out_channels, settings, 1 if index else stride),
            ]
        self.body = nn.Sequential(*layers)
        self.shortcut = PointwiseConv2d(in_channels, out_channels, kernel_size=1, stride=stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        total: Tensor = self.body(x) + self.shortcut(x)
        return total


class PointwiseConv2d(nn.Conv2d):
    """Convolve 1x1 over the pixels that the stride picks, which are picked beforehand.

    With the stride left to it, oneDNN 3.12 writes past its memory where there are fewer channels
    than a register holds (its issue 6035). Gradients are wrong then, or the process dies.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        rows, columns = self.stride
        picked = input if rows == columns == 1 else input[..., ::rows, ::columns]
        return F.conv2d(picked, self.weight, self.bias)


class FixedPaddingConv2d(nn.Conv2d):
    """Convolve with TensorFlow's "same" padding as a constant.

    Within a U-Net the stride divides every side, and then the padding is the same for all images.
    timm computes it anew from each image's size. That makes exported graphs slower, and
    torch.export takes minutes.
    """

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> "FixedPaddingConv2d":
        """Make the same convolution, sharing its weights."""
        fixed = cls(
            conv.in_channels,
            conv.out_channels,
            _two(conv.kernel_size),
            _two(conv.stride),
            0,
            _two(conv.dilation),
            conv.groups,
            device="meta",
        )
        fixed.weight, fixed.bias = conv.weight, conv.bias
        return fixed

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        rows, columns = (
            max(0, dilation * (side - 1) + 1 - stride)
            for side, stride, dilation in zip(
                self.kernel_size, self.stride, self.dilation, strict=True
            )
        )
        padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return super().forward(F.pad(input, padding))


def conv2d(
    in_channels: int,
    out_channels: int,
    settings: ModelSettings,
    stride: int = 1,
    dilation: int = 1,
    *,
    bias: bool = True,
) -> nn.Conv2d:
    """Make a convolution of the settings' kernel that keeps the size, or divides it by stride."""
    kernel = settings.kernel
    if kernel == 1:
        return PointwiseConv2d(in_channels, out_channels, kernel, stride=stride, bias=bias)
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        bias=bias,
    )


def _conv_norm_activation(
    in_channels: int,
    out_channels: int,
    settings: ModelSettings,
    stride: int = 1,
    dilation: int = 1,
) -> list[nn.Module]:
    # A normalisation takes away what a bias adds
    bias = settings.norm == "none"
    return [
        conv2d(in_channels, out_channels, settings, stride, dilation, bias=bias),
        *_normalisation(out_channels, settings),
        _activation(settings),
    ]


def _normalisation(channels: int, settings: ModelSettings) -> list[nn.Module]:
    if settings.norm == "none":
        return []
    if settings.norm == "batch":
        return [nn.BatchNorm2d(channels)]
    groups = channels if settings.norm == "instance" else gcd(NORM_GROUPS, channels)
    return [nn.GroupNorm(groups, channels)]


def _activation(settings: ModelSettings) -> nn.Module:
    return ACTIVATIONS[settings.activation]()


def _two(sides: tuple[int, ...]) -> tuple[int, int]:
    return sides[0], sides[1]
