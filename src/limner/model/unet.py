"""The U-Net, for any height and width: an encoder, a decoder, and a 1x1 convolution to the
classes.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.model.blocks import DecoderBlock, block_out_channels, conv_block
from limner.recipe import ModelSettings

Features = list[Float[Tensor, "b _ _ _"]]
"""The outputs of an encoder or decoder, the finest first."""


class Encoder(nn.Module):
    """Takes (b, c, h, w) and gives features of `channels[i]` channels at one `reductions[i]`th of
    the image's side, the finest first.
    """

    channels: Sequence[int]
    reductions: Sequence[int]
    pretrained: bool = False


class UNet(nn.Module):
    """Encoder, decoder with skips, and a head (arXiv:1505.04597).

    Takes (b, c, h, w) and gives logits (b, k, h, w) of the same height and width, whatever they
    are: the image is padded inside to a multiple of the coarsest level's stride and the logits are
    cut back.
    """

    def __init__(self, encoder: Encoder, settings: ModelSettings, classes: int) -> None:
        super().__init__()
        self.stride = encoder.reductions[-1]
        self.encoder = encoder
        self.decoder = (NestedDecoder if settings.nested and self.stride > 1 else Decoder)(
            encoder, settings
        )
        deep = self.decoder.channels[1:] if settings.deep_supervision else []
        self.head = nn.Conv2d(self.decoder.channels[0], classes, kernel_size=1)
        self.deep_heads = nn.ModuleList(
            nn.Conv2d(channels, classes, kernel_size=1) for channels in deep
        )

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        height, width = images.shape[-2:]
        decoded = self.decoder(self.encoder(pad_to_stride(images, self.stride)))
        logits: Tensor = self.head(decoded[0])
        return logits[..., :height, :width]

    def forward_supervised(
        self, images: Float[Tensor, "b c h w"]
    ) -> list[Float[Tensor, "b k h w"]]:
        """The logits, and with deep supervision those of the coarser levels, brought to the same
        size (arXiv:1409.5185).
        """
        height, width = images.shape[-2:]
        larger = pad_to_stride(images, self.stride)
        decoded = self.decoder(self.encoder(larger))
        drawn = [
            self.head(decoded[0]),
            *(head(level) for head, level in zip(self.deep_heads, decoded[1:], strict=False)),
        ]
        whole = [
            drawn[0],
            *(
                F.interpolate(logits, larger.shape[-2:], mode="bilinear", align_corners=False)
                for logits in drawn[1:]
            ),
        ]
        return [logits[..., :height, :width] for logits in whole]


class ConvEncoder(Encoder):
    """A block at full resolution and after each halving; the last is the bottleneck."""

    def __init__(self, settings: ModelSettings, channels: int) -> None:
        super().__init__()
        self.channels = [block_out_channels(width, settings) for width in settings.widths]
        self.reductions = [2**level for level in range(len(settings.widths))]
        strides = [1] + [2 if settings.pooling == "stride" else 1] * (len(settings.widths) - 1)
        inputs = [channels, *self.channels[:-1]]
        self.levels = nn.ModuleList(
            conv_block(c, width, settings.encoder_convolutions, settings, stride)
            for c, width, stride in zip(inputs, settings.widths, strides, strict=True)
        )
        self.pool = nn.MaxPool2d(2) if settings.pooling == "max" else nn.Identity()

    def forward(self, images: Float[Tensor, "b c h w"]) -> Features:
        features = [self.levels[0](images)]
        for level in self.levels[1:]:
            features.append(level(self.pool(features[-1])))
        return features


class Decoder(nn.Module):
    """Up from the coarsest level, each with the encoder's output of its size, and a last block at
    full resolution.
    """

    def __init__(self, encoder: Encoder, settings: ModelSettings) -> None:
        super().__init__()
        skips = dict(zip(encoder.reductions, encoder.channels, strict=True))
        reduction, channels = encoder.reductions[-1], encoder.channels[-1]
        ups: list[DecoderBlock] = []
        self.channels = [channels]
        while reduction > 1:
            reduction //= 2
            width = settings.widths[min(reduction.bit_length() - 1, len(settings.widths) - 1)]
            ups.append(
                DecoderBlock(
                    channels, [skips[reduction]] if reduction in skips else [], width, settings
                )
            )
            channels = block_out_channels(width, settings)
            self.channels.insert(0, channels)
        self.ups = nn.ModuleList(ups)
        self.refine = (
            conv_block(channels, settings.widths[0], settings.refine_convolutions, settings)
            if settings.refine_convolutions
            else nn.Identity()
        )
        self.channels[0] = (
            block_out_channels(settings.widths[0], settings)
            if settings.refine_convolutions
            else channels
        )
        self._reductions = list(encoder.reductions)

    def forward(self, features: Features) -> Features:
        by_reduction = dict(zip(self._reductions, features, strict=True))
        decoded, reduction = [features[-1]], self._reductions[-1]
        for up in self.ups:
            reduction //= 2
            decoded.insert(
                0, up(decoded[0], [by_reduction[reduction]] if reduction in by_reduction else [])
            )
        return [self.refine(decoded[0]), *decoded[1:]]


class NestedDecoder(nn.Module):
    """The triangle of U-Net++: node (i, j) takes all earlier nodes of its level and the grown node
    below (arXiv:1807.10165).

    Raises ValueError where the encoder's levels do not halve from full resolution on.
    """

    def __init__(self, encoder: Encoder, settings: ModelSettings) -> None:
        super().__init__()
        depth = len(encoder.channels)
        if list(encoder.reductions) != [2**level for level in range(depth)]:
            raise ValueError(
                "a nested decoder needs an encoder whose levels begin at full resolution and halve"
            )
        gives = [block_out_channels(width, settings) for width in settings.widths]
        self.nodes = nn.ModuleDict()
        for j in range(1, depth):
            for i in range(depth - j):
                below = encoder.channels[i + 1] if j == 1 else gives[i + 1]
                self.nodes[f"{i}-{j}"] = DecoderBlock(
                    below,
                    [encoder.channels[i]] + [gives[i]] * (j - 1),
                    settings.widths[i],
                    settings,
                )
        self.depth = depth
        self.channels = [gives[0]] * (depth - 1)

    def forward(self, features: Features) -> Features:
        rows = [[feature] for feature in features]
        for j in range(1, self.depth):
            for i in range(self.depth - j):
                rows[i].append(self.nodes[f"{i}-{j}"](rows[i + 1][j - 1], rows[i]))
        return rows[0][:0:-1]


def pad_to_stride(images: Float[Tensor, "b c h w"], stride: int) -> Float[Tensor, "b c h2 w2"]:
    """To a multiple of the stride, and to twice of it at least, so that the coarsest level has more
    than one pixel to be normalised by.
    """
    height, width = images.shape[-2:]
    below, right = (
        max(2 * stride, height + -height % stride) - height,
        max(2 * stride, width + -width % stride) - width,
    )
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images
