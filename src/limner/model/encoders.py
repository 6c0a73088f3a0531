"""Encoders: what each gives, and the one of our own blocks."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

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


class PretrainedEncoder(Encoder):
    """An encoder whose weights were trained on other images.

    Args:
        name: timm's name of it.
    """

    pretrained = True
    body: nn.Module
    """The layers, with the names that timm gives their tensors."""
    first_convolutions: Sequence[str]
    """Names of the convolutions that see the image; their kernels depend on its channels."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def classifier_tensors(self) -> dict[str, Tensor]:
        """All tensors of the classifier that the encoder is a part of, in its order.

        Only names and shapes matter; the image has three channels.
        """
        raise NotImplementedError
