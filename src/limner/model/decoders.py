"""Decoders: from the encoder's features back to full resolution."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import LimnerError
from limner.model.blocks import ConvBlock, block_out_channels, conv2d
from limner.model.encoders import Encoder, Features
from limner.model.skips import build_skip
from limner.recipe import ModelSettings


class DecoderBlock(nn.Module):
    """Upsample by two, take the skips of that size if there are any, and convolve."""

    def __init__(
        self, in_channels: int, skips: Sequence[int], width: int, settings: ModelSettings
    ) -> None:
        super().__init__()
        upsampled = in_channels if settings.upsampling == "bilinear" else width
        self.upsample = _upsample(in_channels, width, settings)
        self.skip = build_skip(in_channels, [upsampled, *skips], width, settings) if skips else None
        merged = self.skip.out_channels if self.skip else upsampled
        self.block = ConvBlock(merged, width, settings.decoder_convolutions, settings)

    def forward(
        self, coarse: Float[Tensor, "b c h w"], skips: Sequence[Float[Tensor, "b _ h2 w2"]] = ()
    ) -> Float[Tensor, "b c2 h2 w2"]:
        upsampled = self.upsample(coarse)
        merged = self.skip(upsampled, coarse, skips) if self.skip else upsampled
        features: Tensor = self.block(merged)
        return features


class Decoder(nn.Module):
    """Go up from the coarsest level, each step with the encoder's features of its size.

    With `refine_convolutions` a last block follows at full resolution.
    """

    def __init__(self, encoder: Encoder, settings: ModelSettings) -> None:
        super().__init__()
        skips = dict(zip(encoder.reductions, encoder.channels, strict=True))
        reduction, channels = encoder.reductions[-1], encoder.channels[-1]
        blocks: list[DecoderBlock] = []
        self.channels = [channels]
        while reduction > 1:
            reduction //= 2
            width = settings.widths[min(reduction.bit_length() - 1, len(settings.widths) - 1)]
            of_this_size = [skips[reduction]] if reduction in skips else []
            blocks.append(DecoderBlock(channels, of_this_size, width, settings))
            channels = block_out_channels(width, settings)
            self.channels.insert(0, channels)
        self.blocks = nn.ModuleList(blocks)
        self.refine: nn.Module = nn.Identity()
        if settings.refine_convolutions:
            width = settings.widths[0]
            self.refine = ConvBlock(channels, width, settings.refine_convolutions, settings)
            self.channels[0] = block_out_channels(width, settings)
        self._reductions = list(encoder.reductions)

    def forward(self, features: Features) -> Features:
        by_reduction = dict(zip(self._reductions, features, strict=True))
        decoded, reduction = [features[-1]], self._reductions[-1]
        for block in self.blocks:
            reduction //= 2
            skips = [by_reduction[reduction]] if reduction in by_reduction else []
            decoded.insert(0, block(decoded[0], skips))
        return [self.refine(decoded[0]), *decoded[1:]]


class NestedDecoder(nn.Module):
    """Decode through the triangle of U-Net++ (arXiv:1807.10165).

    Node (i, j) takes all earlier nodes of its level and the upsampled node below. Raises
    LimnerError where the encoder's levels do not halve from full resolution on.
    """

    def __init__(self, encoder: Encoder, settings: ModelSettings) -> None:
        super().__init__()
        depth = len(encoder.channels)
        if list(encoder.reductions) != [2**level for level in range(depth)]:
            raise LimnerError(
                f"the encoder has features at 1/{list(encoder.reductions)} of the image's side. A "
                "nested decoder needs levels that begin at full resolution and halve: leave "
                "model.nested or model.encoder."
            )
        node_channels = [block_out_channels(width, settings) for width in settings.widths]
        self.nodes = nn.ModuleDict()
        for j in range(1, depth):
            for i in range(depth - j):
                below = encoder.channels[i + 1] if j == 1 else node_channels[i + 1]
                skips = [encoder.channels[i]] + [node_channels[i]] * (j - 1)
                self.nodes[f"{i}-{j}"] = DecoderBlock(below, skips, settings.widths[i], settings)
        self.depth = depth
        self.channels = [node_channels[0]] * (depth - 1)

    def forward(self, features: Features) -> Features:
        levels = [[level_features] for level_features in features]
        for j in range(1, self.depth):
            for i in range(self.depth - j):
                node = self.nodes[f"{i}-{j}"]
                levels[i].append(node(levels[i + 1][j - 1], levels[i]))
        return levels[0][:0:-1]


def _upsample(in_channels: int, out_channels: int, settings: ModelSettings) -> nn.Module:
    if settings.upsampling == "transpose":
        return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
    if settings.upsampling == "bilinear":
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    nearest = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(nearest, conv2d(in_channels, out_channels, settings))
