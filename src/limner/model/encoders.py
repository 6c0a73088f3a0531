"""Encoders: our own blocks, or the features of any convolutional model of timm."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import LimnerError, requires_extra
from limner.model.blocks import ConvBlock, block_out_channels
from limner.recipe import ModelSettings

Features = list[Float[Tensor, "b _ _ _"]]
"""The feature maps of an encoder or decoder, the finest first."""


class Encoder(nn.Module):
    """Take (b, c, h, w) and give features, the finest first.

    Features i have `channels[i]` channels and one `reductions[i]`th of the image's side.
    """

    channels: Sequence[int]
    reductions: Sequence[int]
    pretrained: bool = False


class ConvEncoder(Encoder):
    """Encode by a block at full resolution and one after each halving; the last is the bottleneck.

    Args:
        settings: `widths` gives the channels of each level.
        channels: Image channels.
    """

    def __init__(self, settings: ModelSettings, channels: int) -> None:
        super().__init__()
        self.channels = [block_out_channels(width, settings) for width in settings.widths]
        self.reductions = [2**level for level in range(len(settings.widths))]
        strides = [1] + [2 if settings.pooling == "stride" else 1] * (len(settings.widths) - 1)
        in_channels = [channels, *self.channels[:-1]]
        self.levels = nn.ModuleList(
            ConvBlock(count, width, settings.encoder_convolutions, settings, stride)
            for count, width, stride in zip(in_channels, settings.widths, strides, strict=True)
        )
        self.pool = nn.MaxPool2d(2) if settings.pooling == "max" else nn.Identity()

    def forward(self, images: Float[Tensor, "b c h w"]) -> Features:
        features = [self.levels[0](images)]
        for level in self.levels[1:]:
            features.append(level(self.pool(features[-1])))
        return features


class TimmEncoder(Encoder):
    """Encode by the features of a timm model, untrained; see `pretrained` for its weights.

    Args:
        name: timm's name, such as "resnet34" or "tf_efficientnet_lite0".
        channels: Image channels.

    Raises LimnerError where timm is not installed, does not know the name, or the model gives no
    features that halve.
    """

    pretrained = True

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.body = _create_features_model(name, channels)
        _fix_padding(self.body)
        info = self.body.feature_info
        self.channels = info.channels()
        self.reductions = info.reduction()
        if not _halve(self.reductions):
            raise LimnerError(
                f"the encoder {name!r} gives features at 1/{self.reductions} of the side, "
                "which do not halve. Choose a convolutional one."
            )

    def forward(self, images: Float[Tensor, "b c h w"]) -> Features:
        features: list[Tensor] = self.body(images)
        return features


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
            _pair(conv.kernel_size),
            _pair(conv.stride),
            0,
            _pair(conv.dilation),
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


def import_timm() -> Any:
    """Import timm. Raises LimnerError naming the command that installs it."""
    with requires_extra("a pretrained encoder", "timm"):
        import timm
    return timm


def _create_features_model(name: str, channels: int) -> Any:
    timm = import_timm()
    try:
        return timm.create_model(name, pretrained=False, features_only=True, in_chans=channels)
    except Exception as error:
        # timm and its models raise exceptions of any kind
        similar = (
            ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:6])
            or "resnet34, convnext_tiny, tf_efficientnet_lite0"
        )
        raise LimnerError(
            f"timm has no encoder {name!r} that gives features ({error}). There are, for "
            f"example: {similar}."
        ) from error


def _halve(reductions: Sequence[int]) -> bool:
    """Whether each is twice the one before, and the first is a power of two."""
    halve = all(later == 2 * earlier for earlier, later in pairwise(reductions))
    return halve and reductions[0].bit_count() == 1


def _fix_padding(body: nn.Module) -> None:
    from timm.layers.conv2d_same import Conv2dSame

    for name, module in list(body.named_modules()):
        if isinstance(module, Conv2dSame):
            parent, _, attribute = name.rpartition(".")
            setattr(body.get_submodule(parent), attribute, FixedPaddingConv2d.from_conv(module))


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    return sides[0], sides[1]
