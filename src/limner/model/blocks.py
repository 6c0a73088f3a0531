"""The parts of a U-Net: blocks, ways down and up, skips."""

from collections.abc import Sequence
from math import gcd

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.recipe import ModelSettings

GROUPS = 8
"""Channels are normalised in so many groups, or in as many as divide them (arXiv:1803.08494)."""


def conv_block(
    channels_in: int, channels_out: int, convolutions: int, settings: ModelSettings, stride: int = 1
) -> nn.Sequential:
    """Convolutions that keep the size (or divide it by `stride`), and what the settings put behind
    them.

    With an expansion, its output has `out_channels(channels_out, settings)` channels.
    """
    layers: list[nn.Module] = []
    if settings.block == "residual":
        layers.append(ResidualBlock(channels_in, channels_out, convolutions, settings, stride))
    else:
        for index in range(convolutions):
            layers += _convolution(
                channels_out if index else channels_in,
                channels_out,
                settings,
                1 if index else stride,
            )
    if settings.expansion_ratio:
        layers += _convolution(
            channels_out,
            block_out_channels(channels_out, settings),
            settings,
            dilation=settings.expansion_dilation,
        )
    if settings.dropout:
        layers.append(nn.Dropout2d(settings.dropout))
    return nn.Sequential(*layers)


def block_out_channels(width: int, settings: ModelSettings) -> int:
    """Channels that a block of this width gives."""
    return max(1, round(width * settings.expansion_ratio)) if settings.expansion_ratio else width


class ResidualBlock(nn.Module):
    """Normalisation and activation before each convolution, and a 1x1 convolution past them all
    (arXiv:1603.05027).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        convolutions: int,
        settings: ModelSettings,
        stride: int,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(convolutions):
            channels = channels_out if index else channels_in
            layers += [
                *_normalisation(channels, settings),
                _activation(settings),
                _conv(channels, channels_out, settings, 1 if index else stride),
            ]
        self.body = nn.Sequential(*layers)
        self.past = PointwiseConv2d(channels_in, channels_out, kernel_size=1, stride=stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        both: Tensor = self.body(x) + self.past(x)
        return both


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution over the pixels that its stride picks.

    With the stride left to it, oneDNN 3.12 writes past its memory where channels are fewer than a
    register holds (its issue 6035): gradients are wrong, or the process dies.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        rows, columns = self.stride
        picked = input if rows == columns == 1 else input[..., ::rows, ::columns]
        return F.conv2d(picked, self.weight, self.bias)


class DecoderBlock(nn.Module):
    """One level of a decoder: twice the size, the skips of that size if there are any, a block."""

    def __init__(
        self, channels_in: int, skips: Sequence[int], width: int, settings: ModelSettings
    ) -> None:
        super().__init__()
        grown = channels_in if settings.upsampling == "bilinear" else width
        self.grow = _upsample(channels_in, width, settings)
        self.skip = _skip(channels_in, [grown, *skips], width, settings) if skips else None
        merged = self.skip.out_channels if self.skip else grown
        self.block = conv_block(merged, width, settings.decoder_convolutions, settings)

    def forward(
        self, coarse: Float[Tensor, "b c h w"], skips: Sequence[Float[Tensor, "b _ h2 w2"]] = ()
    ) -> Float[Tensor, "b c2 h2 w2"]:
        grown = self.grow(coarse)
        merged: Tensor = self.block(self.skip(grown, coarse, skips) if self.skip else grown)
        return merged


class ConcatSkip(nn.Module):
    """Stack the encoder's outputs on the decoder's, to be convolved together. `channels` are those
    of all of them.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = sum(channels)

    def forward(
        self, grown: Tensor, _coarse: Tensor, skips: Sequence[Tensor]
    ) -> Float[Tensor, "b c h w"]:
        return torch.cat([grown, *skips], dim=1)


class AddSkip(nn.Module):
    """All through the same convolution, then added; what has another width is first brought to
    it.
    """

    def __init__(self, channels: Sequence[int], width: int, settings: ModelSettings) -> None:
        super().__init__()
        self.out_channels = width
        self.widths = nn.ModuleList(
            nn.Identity() if given == width else nn.Conv2d(given, width, kernel_size=1)
            for given in channels
        )
        self.shared = _conv(width, width, settings)

    def forward(
        self, grown: Tensor, _coarse: Tensor, skips: Sequence[Tensor]
    ) -> Float[Tensor, "b c h w"]:
        both: Tensor = sum(
            self.shared(widen(one)) for widen, one in zip(self.widths, [grown, *skips], strict=True)
        )
        return both


class AttentionSkip(nn.Module):
    """Additive attention gates: the coarser level tells where the encoder's output matters; then
    stacked (arXiv:1804.03999).
    """

    def __init__(self, coarse: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = sum(channels)
        self.gates = nn.ModuleList(AttentionGate(coarse, given) for given in channels[1:])

    def forward(
        self, grown: Tensor, coarse: Tensor, skips: Sequence[Tensor]
    ) -> Float[Tensor, "b c h w"]:
        return torch.cat(
            [grown, *(gate(coarse, skip) for gate, skip in zip(self.gates, skips, strict=True))],
            dim=1,
        )


class AttentionGate(nn.Module):
    """A weight from 0 to 1 for each pixel of `skip`, found at the coarser level's resolution."""

    def __init__(self, coarse: int, skip: int) -> None:
        super().__init__()
        inner = max(1, skip // 2)
        self.skip = nn.Conv2d(skip, inner, kernel_size=2, stride=2, bias=False)
        self.coarse = nn.Conv2d(coarse, inner, kernel_size=1)
        self.weight = nn.Conv2d(inner, 1, kernel_size=1)

    def forward(
        self, coarse: Float[Tensor, "b c h w"], skip: Float[Tensor, "b c2 h2 w2"]
    ) -> Float[Tensor, "b c2 h2 w2"]:
        weight = torch.sigmoid(self.weight(F.relu(self.skip(skip) + self.coarse(coarse))))
        return skip * F.interpolate(weight, scale_factor=2, mode="bilinear", align_corners=False)


def _skip(
    coarse: int, channels: Sequence[int], width: int, settings: ModelSettings
) -> ConcatSkip | AddSkip | AttentionSkip:
    if settings.skip == "add":
        return AddSkip(channels, width, settings)
    return AttentionSkip(coarse, channels) if settings.skip == "attention" else ConcatSkip(channels)


def _upsample(channels_in: int, channels_out: int, settings: ModelSettings) -> nn.Module:
    if settings.upsampling == "transpose":
        return nn.ConvTranspose2d(channels_in, channels_out, kernel_size=2, stride=2)
    if settings.upsampling == "bilinear":
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"), _conv(channels_in, channels_out, settings)
    )


def _convolution(
    channels_in: int, channels_out: int, settings: ModelSettings, stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    normed = settings.norm != "none"
    return [
        _conv(channels_in, channels_out, settings, stride, dilation, bias=not normed),
        *_normalisation(channels_out, settings),
        _activation(settings),
    ]


def _conv(
    channels_in: int,
    channels_out: int,
    settings: ModelSettings,
    stride: int = 1,
    dilation: int = 1,
    *,
    bias: bool = True,
) -> nn.Conv2d:
    kernel = settings.kernel
    if kernel == 1:
        return PointwiseConv2d(channels_in, channels_out, kernel, stride=stride, bias=bias)
    return nn.Conv2d(
        channels_in,
        channels_out,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        bias=bias,
    )


def _normalisation(channels: int, settings: ModelSettings) -> list[nn.Module]:
    if settings.norm == "none":
        return []
    if settings.norm == "batch":
        return [nn.BatchNorm2d(channels)]
    return [
        nn.GroupNorm(channels if settings.norm == "instance" else gcd(GROUPS, channels), channels)
    ]


def _activation(settings: ModelSettings) -> nn.Module:
    return {"relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU}[
        settings.activation
    ]()
