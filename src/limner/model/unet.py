"""The U-Net, for any height and width."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.model.blocks import UpBlock, conv_block
from limner.recipe import ModelSettings


class UNet(nn.Module):
    """Encoder, bottleneck, decoder with skips, and a refining block at full resolution (arXiv:1505.04597).

    Takes (b, c, h, w) and gives logits (b, k, h, w) of the same height and width, whatever they are: the image is padded
    inside to a multiple of 2**levels and the logits are cut back.
    """

    def __init__(self, settings: ModelSettings, channels: int, classes: int) -> None:
        super().__init__()
        widths = [settings.width * 2**level for level in range(settings.levels)] or [settings.width]
        inputs = [channels, *widths[:-1]]
        self.stride = 2**settings.levels
        levels = list(zip(inputs, widths, strict=True))[: settings.levels]
        self.encoder = nn.ModuleList(conv_block(c, width, settings.encoder_convolutions, settings) for c, width in levels)
        self.bottleneck = conv_block(widths[-1] if settings.levels else channels, widths[-1], settings.encoder_convolutions, settings)
        inputs = [widths[-1], *reversed(widths[1:])]
        outputs = list(reversed(widths))[: settings.levels]
        self.decoder = nn.ModuleList(UpBlock(c, width, settings) for c, width in zip(inputs, outputs, strict=False))
        self.refine = conv_block(widths[0], widths[0], settings.decoder_convolutions, settings)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        height, width = images.shape[-2:]
        x, skips = self._encode(_pad(images, self.stride))
        logits: Tensor = self.head(self.refine(self._decode(x, skips)))
        return logits[..., :height, :width]

    def _encode(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c2 h2 w2"], list[Tensor]]:
        skips = []
        for block in self.encoder:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        return self.bottleneck(x), skips

    def _decode(self, x: Float[Tensor, "b c h w"], skips: list[Tensor]) -> Float[Tensor, "b c2 h2 w2"]:
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        return x


def _pad(images: Float[Tensor, "b c h w"], stride: int) -> Float[Tensor, "b c h2 w2"]:
    below, right = -images.shape[-2] % stride, -images.shape[-1] % stride
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images
